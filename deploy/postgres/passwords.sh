#!/bin/sh
# For the db container: gives the roles of roles.sql the password of the database.
set -eu
psql -X -q -v ON_ERROR_STOP=1 -v password="$POSTGRES_PASSWORD" -U "$POSTGRES_USER" -d "$POSTGRES_DB" <<'SQL'
alter role lookout_api password :'password';
alter role lookout_worker password :'password';
SQL
