-- Each status code of the fleet, second by second: `{"200": 95, "503": 5}`. Classes
-- alone do not tell a 502 from a 504. Per target the rows themselves tell it.

alter table rollup_second add column codes jsonb not null default '{}';

-- Two such objects added up, for the upsert of a flush.
create function add_codes(jsonb, jsonb) returns jsonb
language sql immutable parallel safe
as $$
    select coalesce(jsonb_object_agg(code, count), '{}')
    from (
        select key as code, sum(value::int8) as count
        from (select * from jsonb_each_text($1) union all select * from jsonb_each_text($2)) known
        group by key
    ) added
$$;

-- For the gaps of a window over all targets, and for dropping old ones.
create index gap_time on gap (to_at);
