-- Since when a worker's own network or name server is gone: what fails meanwhile is unknown,
-- and whoever reads should see why. Read with the other columns of a worker, so without an index.

-- Null while they are there, and of a worker that does not say so yet.
alter table worker add column offline_since timestamptz;
