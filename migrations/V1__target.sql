-- What to probe. Workers write it from their configuration (each its own list,
-- under one advisory lock), the API from requests.
--
-- A target is never removed: `deleted_at` takes it out of the schedule, and a
-- key that comes back revives its row and with it its history.

create type target_source as enum ('env', 'file', 'api');
create type target_connection as enum ('fresh', 'reuse');

create table target (
    target_id    int4 generated always as identity,
    -- Stable identity: the name in a file, the URL in URLS.
    key          text not null,
    name         text not null,
    -- As written, but without user and password: those never enter the database.
    url          text not null,
    method       text not null default 'GET',
    -- Header names only from a file or the environment (their values are null).
    headers      jsonb not null default '{}',
    -- Null where there is none, and where it came from a file or the environment.
    body         text,
    interval_ms  int4 not null,
    timeout_ms   int4 not null,
    degraded_ms  int4 not null,
    -- Accepted status codes as inclusive ranges, e.g. {200-299,301}.
    expect_status text[] not null,
    connection   target_connection not null default 'fresh',
    labels       jsonb not null default '{}',
    source       target_source not null,
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),
    -- Since when the slots of this interval are due: set when the target is new,
    -- comes back, or changes its interval. Nothing before it counts as missed.
    due_since    timestamptz not null default clock_timestamp(),
    -- Null while it is being probed.
    deleted_at   timestamptz,
    constraint target_pkey primary key (target_id),
    constraint target_key_unique unique (key),
    constraint target_interval_range check (interval_ms between 1000 and 86400000),
    constraint target_timeout_range check (timeout_ms between 1 and interval_ms)
);

-- For `/status?url=`: the targets of one URL.
create index target_url on target (url);
