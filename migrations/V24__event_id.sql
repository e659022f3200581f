-- What senders call single events: one that is sent again within a day is stored once.

create table event_id (
    id         text not null,
    -- Of what the event says, to tell a repetition from another event of the same id.
    digest     bytea not null,
    created_at timestamptz not null default now(),
    constraint event_id_pkey primary key (id)
);

-- For taking away what is over a day old.
create index event_id_time on event_id (created_at);

create or replace function grant_roles() returns void
language plpgsql
as $$
declare
    ours text := current_schema();
begin
    -- Two who change what is known of one table at once, its rights or its partitions, are an error.
    perform pg_advisory_xact_lock(hashtext('lookout partitions'), hashtext(parent))
        from unnest(array['check_result', 'rollup_minute', 'access_event']) as parent;
    if exists (select from pg_roles where rolname = 'lookout_api') then
        execute format('grant usage on schema %I to lookout_api', ours);
        execute format('grant select on all tables in schema %I to lookout_api', ours);
        grant insert, update on target, service, endpoint to lookout_api;
        grant insert on batch, access_event, change to lookout_api;
        -- Old ones are locked before they are deleted, which takes the right to update.
        grant insert, update, delete on receipt, event_id to lookout_api;
        -- It notes that a token was used, and makes none.
        grant update (last_used_at) on api_token to lookout_api;
        grant execute on function make_partitions(regclass, date, date) to lookout_api;
    end if;
    if exists (select from pg_roles where rolname = 'lookout_worker') then
        execute format('grant usage on schema %I to lookout_worker', ours);
        execute format('grant select on all tables in schema %I to lookout_worker', ours);
        revoke select on api_token from lookout_worker;
        grant insert, update on target, service, endpoint, incident, cursor to lookout_worker;
        grant insert, update, delete on
            check_result, rollup_second, rollup_minute, rollup_hour, rollup_day, gap, batch, worker to lookout_worker;
        grant update on shard_lease to lookout_worker;
        grant execute on function make_partitions(regclass, date, date), drop_partition(regclass, date)
            to lookout_worker;
    end if;
end
$$;

do $$
begin
    execute format('alter function grant_roles() set search_path = %I, pg_temp', current_schema());
end
$$;

select grant_roles();
