-- How far a reader has followed the batches, saved in the same transaction as
-- what it made of them, so that a crash repeats and skips nothing.

create table cursor (
    reader     text not null,
    xid        xid8 not null,
    batch_id   int8 not null,
    -- What the reader needs to go on, in a form of its own.
    state      jsonb,
    updated_at timestamptz not null default now(),
    constraint cursor_pkey primary key (reader)
);
