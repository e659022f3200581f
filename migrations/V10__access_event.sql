-- Access events that others post. Checks of a bound target are events too, but
-- stay in check_result. Partitioned by the day they were received, like checks;
-- their own time is in nanoseconds because the incident engine compares those.

create table access_event (
    received_at timestamptz not null default now(),
    at_ns       int8 not null,
    batch_id    int8 not null,
    endpoint_id int4 not null,
    -- Place in the posted batch: events are folded in this order.
    ordinal     int4 not null,
    status      int2 not null,
    constraint access_event_pkey primary key (endpoint_id, received_at, batch_id, ordinal),
    constraint access_event_status_range check (status between 100 and 599)
) partition by range (received_at);

-- For readers that follow batches.
create index access_event_batch on access_event using brin (batch_id) with (pages_per_range = 16);
