-- Commits rolled out: what an incident may be blamed on, and what may have ended it.

create table change (
    change_id   int8 generated always as identity,
    service_id  int4 not null,
    commit_id   text not null,
    -- Null where the sender did not say.
    author      text,
    -- When it was rolled out, as the sender says; order is by batch, not by this.
    at          timestamptz not null,
    received_at timestamptz not null default now(),
    -- Who sent it: a deploy hook, an event stream.
    source      text not null,
    batch_id    int8 not null,
    -- Place in the posted batch.
    ordinal     int4 not null default 0,
    constraint change_pkey primary key (change_id),
    constraint change_service_fkey foreign key (service_id) references service (service_id),
    constraint change_batch_ordinal_unique unique (batch_id, ordinal)
);

-- For the changes near an incident, and the newest of a service.
create index change_service_time on change (service_id, at desc);
