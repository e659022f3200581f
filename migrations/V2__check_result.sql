-- One row a slot and location: the record of every check, and of every slot
-- that got none (`missed`, `unknown`). The largest table by far, so it is
-- narrow, ordered from wide columns to slim ones, and cut into one partition a day.

create type outcome as enum ('up', 'degraded', 'down', 'missed', 'unknown');
create type cause as enum (
    'dns', 'refused', 'timeout', 'reset', 'tls', 'protocol', 'body', 'redirect', 'status', 'assertion'
);

create table check_result (
    slot_at       timestamptz not null,
    -- First network operation; null when the slot never started.
    started_at    timestamptz,
    batch_id      int8 not null,
    target_id     int4 not null,
    -- To the response head; for a timeout the time waited; null when the slot never started.
    elapsed_us    int4,
    -- Phases are null where they did not happen or cannot be told apart.
    dns_us        int4,
    connect_us    int4,
    first_byte_us int4,
    outcome       outcome not null,
    -- Null unless down.
    cause         cause,
    -- 0 is here; agents elsewhere get numbers of their own.
    location_id   int2 not null default 0,
    -- Null without a response head.
    code          int2,
    -- One target's rolling window, and the guarantee of one outcome a slot. The
    -- target leads, so that a distributed Postgres can shard on it.
    constraint check_result_pkey primary key (target_id, slot_at, location_id),
    constraint check_result_cause check ((outcome = 'down') = (cause is not null))
) partition by range (slot_at);

-- For `/status` and `/api/v1/checks` over all targets: keyset pages in time order.
create index check_result_time on check_result (slot_at, target_id);

-- For readers that follow batches: their rows lie together, so a block range is enough.
create index check_result_batch on check_result using brin (batch_id) with (pages_per_range = 16);
