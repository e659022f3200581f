-- Each minute of a target is written by its first flush and updated by those that follow. Where
-- the page has room the new version stays on it, no index has to hear of it, and the next one
-- takes the place of the old: the table stays smaller than if its pages were filled.
--
-- A flush updates the rows of a page together, so half of it is left free.

-- A busy table makes us give up and start again, not the table's users wait.
set local lock_timeout = '10s';

-- As V21 has it, and minute roll-ups get their room.
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
        -- A partitioned table has no storage of its own to copy this from.
        if parent::text = 'rollup_minute' then
            execute format('alter table %s set (fillfactor = 50)', part);
        end if;
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

do $$
declare
    part regclass;
begin
    -- Replacing the function took this from it. Who may call it stays as it was.
    execute format(
        'alter function make_partitions(regclass, date, date) set search_path = %I, pg_temp', current_schema()
    );
    -- For the pages that are yet to come of the partitions there are.
    for part in select inhrelid::regclass from pg_inherits where inhparent = 'rollup_minute'::regclass loop
        execute format('alter table %s set (fillfactor = 50)', part);
    end loop;
end
$$;
