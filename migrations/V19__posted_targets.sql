-- Targets that are posted: what was posted, for the workers to probe by, and the
-- version of a target's configuration, which `If-Match` is compared with.

set local lock_timeout = '10s';

-- Counts the changes of its configuration; one that is deleted and comes back goes on.
alter table target add column version int8 not null default 1;

-- What was posted, as JSON, with values of headers and the body, which may be secret:
-- only workers read it. Null unless the source is the API, and once it is deleted.
alter table target add column posted text;

-- For workers, which look every half second whether there is something new.
create index target_posted on target (target_id) include (version) where source = 'api' and deleted_at is null;
