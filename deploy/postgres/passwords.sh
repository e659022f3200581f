#!/bin/sh
# For the db container: gives every role a password of its own, and the superuser none, so that nobody is one from outside.
set -eu
psql -X -q -v ON_ERROR_STOP=1 -U postgres -d "$POSTGRES_DB" \
    -v owner="$POSTGRES_PASSWORD" -v api="$API_PASSWORD" -v worker="$WORKER_PASSWORD" <<'SQL'
alter role lookout password :'owner';
alter role lookout_api password :'api';
alter role lookout_worker password :'worker';
alter role postgres password null;
SQL
