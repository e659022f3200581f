-- Who may what in the database: the owner of the schema keeps house through functions, so that the
-- roles of api and worker (deploy/postgres/roles.sql) need not own anything.
--
-- Functions with the owner's rights judge their arguments, and find tables in our schema alone,
-- whatever the caller's search_path says.

set local lock_timeout = '10s';

create or replace function make_partitions(parent regclass, from_day date, to_day date) returns int4
language plpgsql
security definer
-- A busy table makes us give up and be called again, not the table's users wait.
set lock_timeout = '1s'
as $$
declare
    day  date;
    part text;
    made int4 := 0;
begin
    if parent::text not in ('check_result', 'rollup_minute', 'access_event') then
        raise exception 'not a table of ours: %', parent using errcode = 'invalid_parameter_value';
    end if;
    if from_day is null or to_day is null or to_day - from_day > 1000 then
        raise exception 'more than 1000 days' using errcode = 'invalid_parameter_value';
    end if;
    perform pg_advisory_xact_lock(hashtext('lookout partitions'), hashtext(parent::text));
    for day in select generate_series(from_day, to_day, interval '1 day')::date loop
        part := format('%s_%s', parent, to_char(day, 'YYYYMMDD'));
        continue when to_regclass(part) is not null;
        execute format('create table %s (like %s including all)', part, parent);
        execute format(
            'alter table %s attach partition %s for values from (%L) to (%L)',
            parent, part,
            day::timestamp at time zone 'UTC', (day + 1)::timestamp at time zone 'UTC'
        );
        made := made + 1;
    end loop;
    return made;
end
$$;

-- Takes away one partition of a day before `keep_from`, for a worker that does not own it. An owner
-- detaches concurrently, which no function can: this waits for half a second at most, and is called again.
create function drop_partition(part regclass, keep_from date) returns void
language plpgsql
security definer
set lock_timeout = '500ms'
as $$
declare
    name   text := part::text;
    parent regclass;
    is_pending boolean;
begin
    if name !~ '^(check_result|rollup_minute|access_event)_[0-9]{8}$'
        or right(name, 8) >= to_char(least(keep_from, current_date), 'YYYYMMDD')
    then
        raise exception 'not a partition that is over its time: %', part using errcode = 'invalid_parameter_value';
    end if;
    select inhparent, inhdetachpending into parent, is_pending from pg_inherits where inhrelid = part;
    if parent is not null then
        execute format(
            'alter table %s detach partition %s %s', parent, part, case when is_pending then 'finalize' else '' end
        );
    end if;
    execute format('drop table %s', part);
end
$$;

-- Gives the roles of api and worker, where there are any, what they need of each table, and no more.
-- The api calls it after the migrations, roles.sql when it has made the roles. A migration that makes
-- a table which api or worker writes replaces this.
create function grant_roles() returns void
language plpgsql
as $$
declare
    ours text := current_schema();
begin
    if exists (select from pg_roles where rolname = 'lookout_api') then
        execute format('grant usage on schema %I to lookout_api', ours);
        execute format('grant select on all tables in schema %I to lookout_api', ours);
        grant insert, update on target, service, endpoint to lookout_api;
        grant insert on batch, access_event, change to lookout_api;
        grant insert, delete on receipt to lookout_api;
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

revoke execute on function make_partitions(regclass, date, date), drop_partition(regclass, date), grant_roles()
    from public;

do $$
declare
    ours text := current_schema();
begin
    -- Temporary tables are looked for last, or anybody could put one before ours.
    execute format('alter function make_partitions(regclass, date, date) set search_path = %I, pg_temp', ours);
    execute format('alter function drop_partition(regclass, date) set search_path = %I, pg_temp', ours);
    execute format('alter function grant_roles() set search_path = %I, pg_temp', ours);
end
$$;

-- Here and not only afterwards: a worker begins as soon as it sees this version.
select grant_roles();
