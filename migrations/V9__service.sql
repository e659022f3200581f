-- Who owns what, and what they promised: an endpoint is a verb and a resource of
-- a service, with an objective (the smallest healthy ratio of successes) over a
-- sliding window.

create table service (
    service_id  int4 generated always as identity,
    name        text not null,
    -- Null where nobody said.
    owner_name  text,
    owner_email text,
    created_at  timestamptz not null default now(),
    constraint service_pkey primary key (service_id),
    constraint service_name_unique unique (name)
);

create table endpoint (
    endpoint_id   int4 generated always as identity,
    service_id    int4 not null,
    verb          text not null,
    resource      text not null,
    -- Nanounits, because no decision may depend on binary floating point: 900000000 is 0.9.
    objective_nano int8 not null default 900000000,
    window_ns     int8 not null default 300000000000,
    -- The target whose checks are its events; null where events are only posted.
    target_id     int4,
    constraint endpoint_pkey primary key (endpoint_id),
    constraint endpoint_verb_resource_unique unique (verb, resource),
    constraint endpoint_service_fkey foreign key (service_id) references service (service_id),
    constraint endpoint_objective_range check (objective_nano between 0 and 1000000000),
    constraint endpoint_window_range check (window_ns between 1 and 9000000000000000000)
);

-- For the incident folder: the endpoint of a check.
create unique index endpoint_target on endpoint (target_id) where target_id is not null;
-- For lists by service.
create index endpoint_service on endpoint (service_id);
