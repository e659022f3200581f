-- Counts per bucket of time, kept by whoever writes the rows: second and minute
-- in the same transaction as the rows they count, hour and day recomputed from
-- minutes. They make every window longer than a few minutes cheap, and outlive
-- the rows.
--
-- Buckets are named by their start and by the slots in them (`slot_at`).

-- The whole fleet, second by second. Hot rows: half of each page stays free, so
-- that an update finds room beside the old version.
create table rollup_second (
    bucket_at    timestamptz not null,
    location_id  int2 not null default 0,
    up           int4 not null default 0,
    degraded     int4 not null default 0,
    missed       int4 not null default 0,
    unknown      int4 not null default 0,
    -- Down, by cause.
    down_dns        int4 not null default 0,
    down_refused    int4 not null default 0,
    down_timeout    int4 not null default 0,
    down_reset      int4 not null default 0,
    down_tls        int4 not null default 0,
    down_protocol   int4 not null default 0,
    down_body       int4 not null default 0,
    down_redirect   int4 not null default 0,
    down_status     int4 not null default 0,
    down_assertion  int4 not null default 0,
    -- Checks that got a response head, by status class.
    class_1xx   int4 not null default 0,
    class_2xx   int4 not null default 0,
    class_3xx   int4 not null default 0,
    class_4xx   int4 not null default 0,
    class_5xx   int4 not null default 0,
    constraint rollup_second_pkey primary key (bucket_at, location_id)
) with (fillfactor = 50);

create table rollup_minute (
    like rollup_second including defaults,
    target_id       int4 not null,
    -- Latency of the checks that got a response head: sum, largest, and counts
    -- in 24 fixed buckets. Their upper bounds in milliseconds are 1, 1.6, 2.5, 4,
    -- 6.3, 10 … 25000 (five a decade) and no bound for the last; they add up.
    latency_sum_us  int8 not null default 0,
    latency_max_us  int4 not null default 0,
    latency_buckets int4[] not null,
    -- One target's window; the target leads as in check_result.
    constraint rollup_minute_pkey primary key (target_id, bucket_at, location_id)
) partition by range (bucket_at);

-- For lists of many targets over the same window.
create index rollup_minute_time on rollup_minute (bucket_at, target_id);

create table rollup_hour (like rollup_minute including defaults);
alter table rollup_hour add constraint rollup_hour_pkey primary key (target_id, bucket_at, location_id);
create index rollup_hour_time on rollup_hour (bucket_at, target_id);

create table rollup_day (like rollup_minute including defaults);
alter table rollup_day add constraint rollup_day_pkey primary key (target_id, bucket_at, location_id);
create index rollup_day_time on rollup_day (bucket_at, target_id);

-- Adds two rows of latency buckets. Spelt out, so that the planner inlines it.
create function add_buckets(a int4[], b int4[]) returns int4[]
language sql immutable parallel safe as $$
    select array[
        a[1] + b[1], a[2] + b[2], a[3] + b[3], a[4] + b[4], a[5] + b[5], a[6] + b[6],
        a[7] + b[7], a[8] + b[8], a[9] + b[9], a[10] + b[10], a[11] + b[11], a[12] + b[12],
        a[13] + b[13], a[14] + b[14], a[15] + b[15], a[16] + b[16], a[17] + b[17], a[18] + b[18],
        a[19] + b[19], a[20] + b[20], a[21] + b[21], a[22] + b[22], a[23] + b[23], a[24] + b[24]
    ]
$$;

create aggregate sum_buckets(int4[]) (sfunc = add_buckets, stype = int4[], initcond = '{0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}', parallel = safe);
