#!/bin/sh
# The demonstration in containers (docs/DEMO.md).
#
#   scripts/demo.sh up PROFILE…    starts these profiles, has lookout watch them, and makes some calls
#   scripts/demo.sh traffic        makes some calls more
#
# COMPOSE: what starts containers [default: docker-compose]. DEMO_RATE, DEMO_DURATION: calls a second,
# and for how long. Everything else is as in .env.tmpl.
set -eu
cd "$(dirname "$0")/.."
compose=${COMPOSE:-docker-compose}

# The value of $1, or $2 where nothing sets it.
value() {
    found=$(scripts/setup.sh value "$1")
    printf '%s' "${found:-$2}"
}

up() {
    API_TOKEN=$(value API_TOKEN '')
    # Of one's own where none is set: the story has to tell of commits.
    export API_TOKEN="${API_TOKEN:-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')}"
    # JSON is what the collector of logs takes apart. What is watched is not what .env may name.
    LOG_FORMAT=$(value LOG_FORMAT json)
    export LOG_FORMAT LOOKOUT_CONFIG=demo.yaml LOOKOUT_CONFIG_DIR=./examples
    flags='' profiles=" $* "
    for profile; do flags="$flags --profile $profile"; done
    # Unquoted: a command with its words, and flags.
    # shellcheck disable=SC2086
    $compose $flags up -d --build

    entry=http://localhost:$(value DEMO_PORT 8000)
    printf '\n  lookout     http://localhost:%s/\n' "$(value API_PORT 8080)"
    case $profiles in *' demo '* | *' blackbox '*) printf '  functions   %s/fibonacci/100/\n' "$entry" ;; esac
    printf '  Traefik     http://localhost:%s/dashboard/\n' "$(value TRAEFIK_PORT 8090)"
    case $profiles in *' observability '* | *' blackbox '*)
        printf '  Grafana     %s/grafana/    as %s, password in GRAFANA_PASSWORD [default: lookout]\n' \
            "$entry" "$(value GRAFANA_USER admin)"
        printf '  Prometheus  http://localhost:%s/\n' "$(value PROMETHEUS_PORT 9090)"
        ;;
    esac
    case $profiles in *' logs '*) printf '  Kibana      %s/kibana/     it takes a few minutes\n' "$entry" ;; esac
    printf '  to write:   API_TOKEN=%s\n\n' "$API_TOKEN"
    case $profiles in *' demo '*) traffic ;; esac
}

traffic() {
    # shellcheck disable=SC2086
    $compose run --rm -T --no-deps traffic \
        demo traffic --url http://traefik:8000 --rate "$(value DEMO_RATE 20)" --duration "$(value DEMO_DURATION 30s)"
}

case ${1:-} in
up)
    shift
    up "$@"
    ;;
traffic) traffic ;;
*)
    echo 'usage: scripts/demo.sh up PROFILE… | traffic' >&2
    exit 2
    ;;
esac
