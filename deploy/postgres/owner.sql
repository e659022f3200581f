-- For the db container: a role that owns lookout's database and the schema in it, and is nothing else. The superuser is
-- left to `docker-compose exec db psql -U postgres`.
do $$
begin
    create role lookout login nosuperuser nocreatedb nocreaterole;
    execute format('alter database %I owner to lookout', current_database());
end
$$;
