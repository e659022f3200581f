-- Tokens for the API, besides the one of API_TOKEN: `lookout token` makes, lists and
-- revokes them. What is kept of one is enough to recognise it and not to use it.

-- What a token may do, each what the one before may: read; tell what happened (changes,
-- events); say what is watched (targets, services).
create type token_scope as enum ('read', 'write', 'admin');

create table api_token (
    api_token_id int4 generated always as identity,
    name         text not null,
    scope        token_scope not null,
    -- SHA-256 of the token, which is random in all of its 256 bits: guessing it is as hard
    -- as it can be, so nothing slower is needed.
    digest       bytea not null,
    created_at   timestamptz not null default clock_timestamp(),
    -- Null where it is good for ever.
    expires_at   timestamptz,
    -- Null while it is good. The row stays, to be listed.
    revoked_at   timestamptz,
    -- To the minute; null before the first time.
    last_used_at timestamptz,
    constraint api_token_pkey primary key (api_token_id),
    constraint api_token_digest_length check (length(digest) = 32),
    constraint api_token_name_length check (length(name) between 1 and 100)
);

-- For whoever brings a token.
create unique index api_token_digest on api_token (digest);
-- A name that is free again once its token is revoked; also for revoking it.
create unique index api_token_name on api_token (name) where revoked_at is null;
