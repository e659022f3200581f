#!/bin/sh
# Fuzzes each reader with RUNS inputs (10 million), from the seeds and what earlier runs found.
#
# TARGETS names some of them; SECONDS_EACH ends each after so long, whatever its number of runs.
# SANITIZER=none is several times as fast: our code has nothing unsafe, some of what it uses does.
set -eu
cd "$(dirname "$0")/.."

if ! command -v cargo-fuzz >/dev/null; then
    echo 'lookout: no cargo-fuzz found: cargo install --locked cargo-fuzz' >&2
    exit 1
fi

for target in ${TARGETS:-config event_line access_log stream}; do
    corpus=fuzz/corpus/$target
    mkdir -p "$corpus"
    case $target in
        config) seeds='fuzz/seeds/config examples' ;;
        stream) seeds=crates/engine/tests/streams ;;
        *) seeds=fuzz/seeds/$target ;;
    esac
    printf '\n== %s\n' "$target"
    # Unquoted: several folders.
    # shellcheck disable=SC2086
    cargo +nightly fuzz run --sanitizer "${SANITIZER:-address}" "$target" "$corpus" $seeds -- -runs="${RUNS:-10000000}" \
        -max_total_time="${SECONDS_EACH:-0}" -max_len="${MAX_LEN:-2048}" -timeout=5 -rss_limit_mb=1024 -print_final_stats=1
done
