-- Stretches of time in which nobody watched a target: too long to write one
-- `missed` row for each slot. Slots in [from_at, to_at) were due and have no verdict.

create type gap_reason as enum ('no_worker', 'overflow');

create table gap (
    target_id   int4 not null,
    location_id int2 not null default 0,
    from_at     timestamptz not null,
    to_at       timestamptz not null,
    -- no_worker: nobody held the target's shard. overflow: Postgres was away for
    -- longer than a worker could keep results.
    reason      gap_reason not null,
    constraint gap_pkey primary key (target_id, from_at, location_id),
    constraint gap_order check (from_at < to_at)
);
