#!/bin/sh
# Holds a running api against its OpenAPI document: requests made from it, right and wrong ones, get
# no 5xx and no answer that it does not describe.
#
# Uses the lookout that `cargo build -p cli` made, with a Postgres and data of its own, and the
# schemathesis found on PATH, or one from PyPI in the target directory. EXAMPLES is how many
# requests for each operation, SEED the seed.
set -eu
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
tool=$(command -v schemathesis || :)
if [ -z "$tool" ]; then
    tool=$target/schemathesis/bin/schemathesis
    if [ ! -x "$tool" ]; then
        python3 -m venv "$target/schemathesis"
        "$target/schemathesis/bin/pip" install --quiet 'schemathesis==4.32.5'
    fi
fi

work=$(mktemp -d)
chmod 755 "$work"
lookout=''
clean_up() {
    status=$?
    trap - EXIT
    if [ -n "$lookout" ]; then
        kill "$lookout" 2>/dev/null || :
        wait "$lookout" 2>/dev/null || :
    fi
    rm -rf "$work"
    exit $status
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

token=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
# Everything that a request may lead to is on this machine, or is kept away from.
env DATABASE_URL= API_TOKEN="$token" LOOKOUT_DATA_DIR="$work/data" API_ADDR=127.0.0.1:0 PUBLIC_PAGE=on RATE_LIMIT=0 \
    LOG_LEVEL=warn "$target/debug/lookout" >"$work/out" 2>"$work/log" &
lookout=$!
base=''
for _ in $(seq 300); do
    base=$(sed -n 's/^ *answering *//p' "$work/out")
    if [ -n "$base" ] && python3 -c "import urllib.request as u; u.urlopen('$base/readyz')" 2>/dev/null; then
        break
    fi
    if ! kill -0 "$lookout" 2>/dev/null; then
        cat "$work/log" >&2
        exit 1
    fi
    sleep 0.2
done

# What it cannot know: how lines are sent.
export SCHEMATHESIS_HOOKS=scripts/schemathesis_hooks.py
if ! "$tool" run "$base/api/openapi.json" --header "Authorization: Bearer $token" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance \
    --phases examples,coverage,fuzzing --max-examples "${EXAMPLES:-15}" --seed "${SEED:-1}" \
    --request-timeout 20 --suppress-health-check all --generation-database none --no-color; then
    tail -n 20 "$work/log" >&2
    exit 1
fi
