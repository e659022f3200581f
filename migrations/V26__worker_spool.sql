-- Whether a worker's results can go to disk while Postgres does not take them: where they cannot, they end with it.

-- True of a worker that does not say so yet.
alter table worker add column spool_usable boolean not null default true;
