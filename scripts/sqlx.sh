#!/bin/sh
# Refreshes .sqlx, what sqlx knows about each checked query, against a new
# database with every migration applied.
#
# The database is on the server of TEST_DATABASE_URL if that is set, else on a
# private one that lives as long as this script. Nothing of lookout runs: a new
# query does not compile before .sqlx knows it. Where a step fails, .sqlx stays.
set -eu
cd "$(dirname "$0")/.."

die() {
    printf 'lookout: %s\n' "$*" >&2
    exit 1
}

work=$(mktemp -d)
server='' name=''

clean_up() {
    status=$?
    trap - EXIT
    [ -z "$name" ] || "$psql" -X -q "$admin" -c "drop database if exists $name with (force)" || :
    if [ -n "$server" ]; then
        kill -INT "$server" 2>/dev/null || :
        wait "$server" 2>/dev/null || :
    fi
    rm -rf "$work"
    exit $status
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

admin=$(scripts/setup.sh value TEST_DATABASE_URL)
if [ -n "$admin" ]; then
    psql=$(command -v psql) || die 'no psql found: install the PostgreSQL client (postgresql-client)'
    "$psql" -X -q "$admin" -c "create database lookout_sqlx_$$ template template0"
    name=lookout_sqlx_$$
    scheme=${admin%%://*} rest=${admin#*://} query=
    case $rest in *\?*) query="?${rest#*\?}" ;; esac
    url="$scheme://${rest%%[/?]*}/$name$query"
else
    bin=$(scripts/setup.sh find)
    psql=$bin/psql
    [ -x "$psql" ] || psql=$(command -v psql) || die 'no psql found: install the PostgreSQL client (postgresql-client)'
    # Postgres refuses to run as root.
    drop=
    if [ "$(id -u)" = 0 ]; then
        user=nobody
        ! id postgres >/dev/null 2>&1 || user=postgres
        chown "$user" "$work"
        drop="setpriv --reuid=$user --regid=$(id -g "$user") --clear-groups"
    fi
    # Unquoted: empty, or a command with its flags.
    # shellcheck disable=SC2086
    (
        cd "$work"
        $drop "$bin/initdb" -D "$work/data" -U lookout -A trust --no-sync -E UTF8 --locale=C >"$work/initdb.log" 2>&1
    ) || die "initdb failed: $(tail -n 3 "$work/initdb.log")"
    # shellcheck disable=SC2086
    (cd "$work" && exec $drop "$bin/postgres" -D "$work/data" -k "$work" -c listen_addresses= -c fsync=off) \
        >"$work/server.log" 2>&1 &
    server=$!
    url="postgresql:///postgres?host=$work&user=lookout"
    tries=0
    until "$psql" -X -q "$url" -c 'select' >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ $tries -gt 300 ] || ! kill -0 "$server" 2>/dev/null; then
            die "Postgres did not start: $(tail -n 3 "$work/server.log")"
        fi
        sleep 0.1
    done
fi

find migrations -name 'V*__*.sql' | sed 's|.*/V\([0-9]*\)__.*|\1 &|' | sort -n | cut -d ' ' -f 2 |
    while read -r migration; do
        "$psql" -X -q -1 -v ON_ERROR_STOP=1 "$url" -f "$migration" >/dev/null || die "$migration failed"
    done

mkdir "$work/sqlx"
# cargo does not know that the database counts too.
find crates/store -name '*.rs' -exec touch {} +
SQLX_OFFLINE=false DATABASE_URL=$url SQLX_OFFLINE_DIR=$work/sqlx \
    cargo check --locked -p store --all-targets --all-features
set -- "$work"/sqlx/query-*.json
[ -f "$1" ] || die 'sqlx wrote nothing'
mkdir -p .sqlx
rm -f .sqlx/query-*.json
cp "$@" .sqlx/
chmod 644 .sqlx/query-*.json
printf '.sqlx: %s queries\n' $#
