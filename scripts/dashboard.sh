#!/bin/sh
# Builds and tests the dashboard, with Node.js; nothing else needs Node.js.
#
#   scripts/dashboard.sh build         into dashboard/dist, unless it is newer than all it is made of
#   scripts/dashboard.sh if-possible   the same, and only a line to say so where it cannot be
#   scripts/dashboard.sh test          its tests without a browser
#   scripts/dashboard.sh e2e           its tests in Chromium, against the lookout that cargo built
set -eu
cd "$(dirname "$0")/../dashboard"

# The oldest that the tools run on.
OLDEST_NODE=20.19

die() {
    printf 'lookout: %s\n' "$*" >&2
    exit 1
}

has_node() {
    command -v npm >/dev/null 2>&1 || return 1
    version=$(node --version 2>/dev/null) || return 1
    # v20.19.0
    version=${version#v}
    minor=${version#*.}
    minor=${minor%%.*}
    [ "${version%%.*}" -gt "${OLDEST_NODE%.*}" ] ||
        { [ "${version%%.*}" -eq "${OLDEST_NODE%.*}" ] && [ "$minor" -ge "${OLDEST_NODE#*.}" ]; }
}

need_node() {
    has_node || die "the dashboard needs Node.js $OLDEST_NODE or newer with npm: install it from https://nodejs.org"
}

# What the lock file names, unless it is there already. Packages run no code of theirs.
install() {
    [ node_modules/.package-lock.json -nt package-lock.json ] || npm ci --ignore-scripts --no-audit --no-fund
}

build() {
    [ ! -f dist/index.html ] ||
        [ -n "$(find src public index.html vite.config.ts package-lock.json -newer dist/index.html -print -quit)" ] ||
        return 0
    install
    npm run --silent build
}

case ${1:-} in
build)
    need_node
    build
    ;;
if-possible)
    if ! has_node; then
        printf 'lookout: without the dashboard, which needs Node.js %s or newer with npm\n' "$OLDEST_NODE" >&2
    else
        (build) >&2 || printf 'lookout: the dashboard could not be built; its reason is above\n' >&2
    fi
    ;;
test)
    need_node
    install
    npm run --silent test
    ;;
e2e)
    need_node
    install
    # The system's; no browser is downloaded.
    CHROMIUM=$(../scripts/setup.sh chromium)
    LOOKOUT=${LOOKOUT:-$(cd .. && cd "${CARGO_TARGET_DIR:-target}" && pwd)/debug/lookout}
    export CHROMIUM LOOKOUT
    npm run --silent e2e
    ;;
*)
    echo 'usage: scripts/dashboard.sh build | if-possible | test | e2e' >&2
    exit 2
    ;;
esac
