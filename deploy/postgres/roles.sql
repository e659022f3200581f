-- Roles for api and worker, so that neither can do more to the database than its work:
--
--   lookout_api     reads, takes targets, services, changes and events; cannot delete or change a check
--   lookout_worker  writes checks, roll-ups and incidents; cannot alter the schema, nor see tokens
--
-- Run it in lookout's database, before or after the first start, as the role that owns the schema (or a
-- superuser); running it again changes nothing. Then give both a password (psql: \password lookout_api) and
--
--   api:     DATABASE_URL=postgres://lookout_api:…@host/lookout
--            MIGRATION_DATABASE_URL=postgres://OWNER:…@host/lookout
--   worker:  DATABASE_URL=postgres://lookout_worker:…@host/lookout
--
-- OWNER is whoever owns the schema. A role for that alone, which nothing else uses:
--
--   create role lookout_owner login; create database lookout owner lookout_owner;

do $$
begin
    if not exists (select from pg_roles where rolname = 'lookout_api') then
        create role lookout_api login nosuperuser nocreatedb nocreaterole;
    end if;
    if not exists (select from pg_roles where rolname = 'lookout_worker') then
        create role lookout_worker login nosuperuser nocreatedb nocreaterole;
    end if;
    execute format('grant connect on database %I to lookout_api, lookout_worker', current_database());
    execute format('revoke temporary on database %I from public', current_database());
    -- Also of tables that are still to be made, so that a worker can see how far the migrations are. A superuser makes
    -- none: there it is the owner of the database.
    execute format(
        'alter default privileges for role %I in schema %I grant select on tables to lookout_api, lookout_worker',
        case when (select rolsuper from pg_roles where rolname = current_user)
            then (select pg_get_userbyid(datdba) from pg_database where datname = current_database())
            else current_user
        end,
        current_schema()
    );
    -- Before the first start there are no tables yet; the api gives the rights when it has made them.
    if to_regprocedure('grant_roles()') is not null then
        perform grant_roles();
    end if;
end
$$;
