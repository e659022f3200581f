#!/bin/sh
# The demonstration without containers: fantastic and three functions, lookout with a private
# Postgres that watches them, calls for the functions, and one commit that breaks a function and
# one that mends it. Ctrl-C ends all of it.
#
#   scripts/run_local.sh [PROGRAM]    the lookout to run [default: what cargo built, in release]
#
# DEMO_RATE: calls a second. Everything else is as in .env.tmpl.
set -eu
cd "$(dirname "$0")/.."

lookout=${1:-${CARGO_TARGET_DIR:-target}/release/lookout}
[ -x "$lookout" ] || {
    printf 'lookout: there is no %s: make run_local builds it\n' "$lookout" >&2
    exit 1
}
API_ADDR=$(scripts/setup.sh value API_ADDR)
export API_ADDR="${API_ADDR:-127.0.0.1:8080}"
API_TOKEN=$(scripts/setup.sh value API_TOKEN)
# Of one's own, and for this run only, where none is set.
export API_TOKEN="${API_TOKEN:-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')}"
export LOG_LEVEL="${LOG_LEVEL:-warn}"

children=''
end() {
    trap '' INT TERM
    # Unquoted: a list of numbers.
    # shellcheck disable=SC2086
    [ -z "$children" ] || kill $children 2>/dev/null || :
    wait
}
trap end EXIT
trap 'exit 0' INT TERM

start() {
    "$@" &
    children="$children $!"
}

start env LOG_LEVEL=off "$lookout" demo fantastic
start env LOG_LEVEL=off "$lookout" demo functions --only fibonacci --port 8001 --control
start env LOG_LEVEL=off "$lookout" demo functions --only ackermann --port 8002
start env LOG_LEVEL=off "$lookout" demo functions --only factorial --port 8003
start env LOOKOUT_CONFIG=examples/demo-local.yaml "$lookout" up
watcher=$!
start "$lookout" demo traffic --only fibonacci --rate "${DEMO_RATE:-20}" --duration 1h
printf '\n  the dashboard: http://%s/\n  to write:      API_TOKEN=%s\n\n' "$API_ADDR" "$API_TOKEN"
# It waits for lookout, which first may have to set up its Postgres.
start "$lookout" demo story --lookout "http://$API_ADDR" --service fibonacci
wait "$watcher"
