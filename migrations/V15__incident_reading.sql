-- What the incident folder and the posting of events need beside the tables of
-- V9 to V13. All three tables are small or empty until now.

-- The folder looks for endpoints whose objective or window changed.
alter table endpoint add column updated_at timestamptz not null default now();
create index endpoint_updated on endpoint (updated_at);

-- A restarted folder reads the window of each endpoint again, from its newest event back.
create index access_event_time on access_event (endpoint_id, at_ns);

-- The answer to each post that came with an idempotency key, so that a sender who
-- did not hear it can ask again. Kept for a day.
create table receipt (
    key        text not null,
    -- Of the body: another body under the same key is refused.
    digest     bytea not null,
    status     int2 not null,
    answer     jsonb not null,
    created_at timestamptz not null default now(),
    constraint receipt_pkey primary key (key)
);

-- For dropping what is older than a day.
create index receipt_time on receipt (created_at);
