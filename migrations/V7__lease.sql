-- Who probes what. Targets are dealt into 256 shards by a stable hash of their
-- key; a worker probes the shards it holds an unexpired lease on.

create table shard_lease (
    shard_id       int2 not null,
    -- Grows with every change of hands; an old epoch may not schedule or back-fill.
    epoch          int8 not null default 0,
    -- Null while nobody holds it.
    holder         text,
    -- In database time; workers never compare it with a clock of their own.
    expires_at     timestamptz not null default '-infinity',
    -- Set by a clean hand-over: the last holder sees to every slot before this, also
    -- those whose rows are not there yet. Null while held, and when a lease just ran out.
    released_at    timestamptz,
    -- Every slot before this has its row; the next holder starts looking here.
    -- Null until somebody has held the shard.
    complete_until timestamptz,
    constraint shard_lease_pkey primary key (shard_id),
    constraint shard_lease_range check (shard_id between 0 and 255)
) with (fillfactor = 50);

insert into shard_lease (shard_id) select generate_series(0, 255);
