#!/bin/bash
# Tells Elasticsearch the types of the fields, and Kibana the saved searches and the dashboard.
# May be run again: it replaces what it has made before, and nothing else.
#
#   setup.sh ELASTICSEARCH KIBANA     where they answer
set -euo pipefail
cd "$(dirname "$0")"
elasticsearch=$1 kibana=$2

post() {
    curl --fail --silent --show-error --retry 30 --retry-delay 2 --retry-connrefused --max-time 60 "$@"
}

post -X PUT "$elasticsearch/_index_template/lookout-logs" -H 'content-type: application/json' \
    --data-binary @template.json
echo
answer=$(post -X POST "$kibana/api/saved_objects/_import?overwrite=true" -H 'kbn-xsrf: lookout' \
    -F file=@saved-objects.ndjson)
echo "$answer"
# It answers 200 also where it took only some of them.
[[ $answer == *'"success":true'* ]]
