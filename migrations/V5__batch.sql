-- What was written together: one row for each flush of a worker and for each
-- accepted post of events or changes. Readers follow batches instead of rows.
--
-- Ids are given out before commit, so a smaller id may become visible later. A
-- reader that must miss nothing takes, in order of (xid, batch_id), only batches
-- whose xid lies below pg_snapshot_xmin(pg_current_snapshot()): nothing older
-- can still appear.

create type batch_kind as enum ('check', 'event', 'change');

create table batch (
    batch_id   int8 generated always as identity,
    kind       batch_kind not null,
    -- Null for what came through the API.
    worker_id  text,
    -- Earliest and latest moment in it.
    first_at   timestamptz not null,
    last_at    timestamptz not null,
    rows       int4 not null,
    xid        xid8 not null default pg_current_xact_id(),
    created_at timestamptz not null default now(),
    constraint batch_pkey primary key (batch_id)
);

-- For readers in commit order.
create index batch_xid on batch (xid, batch_id);
