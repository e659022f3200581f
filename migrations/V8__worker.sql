-- What each worker says about itself every second: all that the API, the metrics
-- and the dashboard know of workers.

create table worker (
    worker_id     text not null,
    started_at    timestamptz not null,
    seen_at       timestamptz not null,
    -- Null while it runs; set by a clean stop.
    stopped_at    timestamptz,
    version       text not null,
    -- Largest lateness of a start since the last report.
    lag_us        int8 not null default 0,
    -- Since the process started.
    missed        int8 not null default 0,
    in_flight     int4 not null default 0,
    -- Results that wait for Postgres: in memory, and on disk.
    queue_depth   int8 not null default 0,
    spool_depth   int8 not null default 0,
    -- Digest of the target list; two that differ are a warning.
    config_digest int8 not null,
    -- Why the last reload of the configuration was refused; null when it was not.
    config_error  text,
    constraint worker_pkey primary key (worker_id)
) with (fillfactor = 50);
