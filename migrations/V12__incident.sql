-- From the event that broke an endpoint's objective to the one that restored it.
-- Nanoseconds beside dates, because the engine decides on those.

create table incident (
    incident_id        int8 generated always as identity,
    endpoint_id        int4 not null,
    started_at         timestamptz not null,
    started_ns         int8 not null,
    -- Null while open.
    ended_at           timestamptz,
    ended_ns           int8,
    -- The newest change of the service before each end; null if there was none.
    breaking_change_id int8,
    fixing_change_id   int8,
    -- Events in the window when it opened.
    good_count         int8 not null,
    total_count        int8 not null,
    constraint incident_pkey primary key (incident_id),
    constraint incident_order check (ended_ns is null or ended_ns >= started_ns),
    constraint incident_end_both check ((ended_at is null) = (ended_ns is null))
);

-- At most one is open for an endpoint.
create unique index incident_open on incident (endpoint_id) where ended_at is null;
-- For lists by time.
create index incident_time on incident (started_at desc, incident_id desc);
create index incident_endpoint_time on incident (endpoint_id, started_at desc);
