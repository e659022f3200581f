#!/bin/sh
# Runs every test and stops the Postgres they share; exits as the tests did.
# Arguments go to cargo test; without any, the dashboard's tests are run too, those in a browser with
# the program that the tests of the Rust code were built with.
set -u
cd "$(dirname "$0")/.." || exit

TEST_DATABASE_URL=$(scripts/setup.sh value TEST_DATABASE_URL)
PG_BIN=$(scripts/setup.sh value PG_BIN)
export TEST_DATABASE_URL
# An empty one would not count as unset.
if [ -n "$PG_BIN" ]; then export PG_BIN; else unset PG_BIN; fi

# Arguments ask for some tests of the Rust code. The program takes in the pages as they are when it is built.
if [ $# = 0 ]; then scripts/dashboard.sh build || exit; fi
cargo test --workspace --locked "$@"
status=$?
# The tests have built the program: cargo run would build it anew, with fewer features.
stop=${CARGO_TARGET_DIR:-target}/debug/examples/test_postgres
if [ -x "$stop" ]; then
    "$stop" stop >/dev/null
elif [ $status = 0 ]; then
    cargo run -q --locked -p store --features testing --example test_postgres -- stop >/dev/null
fi
if [ $# = 0 ]; then
    scripts/dashboard.sh test || status=1
    # Without that program there is nothing to try; cargo has said why.
    [ $status != 0 ] || scripts/dashboard.sh e2e || status=1
fi
exit $status
