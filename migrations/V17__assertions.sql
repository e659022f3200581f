-- Assertions: what an answer has to be beyond its status, and what was seen when
-- one failed.

-- A busy table makes us give up and start again, not the table's users wait. None
-- of these writes a row: a column without a default is a note in the catalogue.
set local lock_timeout = '10s';

-- As the file has them, `{"all": [...]}`; null where the status says it all.
-- Expected texts that hold a secret of the target are `***`.
alter table target add column expectations jsonb;

-- Which assertion failed and what was seen, in at most 400 characters and without a
-- secret; null unless the cause is `assertion`, so that ordinary rows stay as narrow
-- as they were. Every partition gets the column.
alter table check_result add column detail text;
