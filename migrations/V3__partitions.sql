-- Makes the daily partitions of a table ahead of time.
--
-- `create table … like` + `attach` instead of `partition of`, because attach
-- takes a lock that lets reads and writes of the parent go on. Safe to call by
-- anyone, any number of times at once: what exists is left alone, and callers
-- take turns on an advisory lock.

create function make_partitions(parent regclass, from_day date, to_day date) returns int4
language plpgsql
-- A busy table makes us give up and be called again, not the table's users wait.
set lock_timeout = '1s'
as $$
declare
    day  date;
    part text;
    made int4 := 0;
begin
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
