#!/usr/bin/env bash
# The real servers for tests and for trying out: Kafka, a schema registry, an S3 server and toxiproxy in front of them.
# No Docker, all on 127.0.0.1. README.md beside this file tells the ports, the variables and how to use them.
set -euo pipefail

usage='usage: services.sh COMMAND [kafka registry s3 toxiproxy]

  install   fetch and build the pinned versions (once; 3-4 minutes on two cores)
  start     start what is not running, installing it first where needed
  status    what runs, where, with how much memory; ends with 1 if a server is stopped
  stop      stop what `start` started, and only that
  env       endpoints and keys as variables: eval "$(services/services.sh env)"
  run CMD   start all four on free ports with fresh data, run CMD with `env`, stop them, delete the data
  lacking   what is missing here for `install`, one sentence each; ends with 1 if something is

  install spark, lacking spark: the jars of the Spark recipe, which are nothing that runs
  install prometheus: Prometheus and promtool, which a test of the alert rules starts itself
  install helm: Helm and kubeconform, which a test of the chart runs'

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source-path=SCRIPTDIR
for part in settings install processes java kafka registry s3 toxiproxy prometheus helm spark run; do
  # shellcheck disable=SC1090
  source "$here/lib/$part.sh"
done

trap 'exit 130' INT
trap 'exit 143' TERM HUP

servers=(kafka registry s3 toxiproxy)

known() { # SERVER...: ends the script for a name that is none of ours
  local name
  for name in "$@"; do
    [[ " ${servers[*]} " == *" $name "* ]] || fail "there is no server called $name; there are: ${servers[*]}"
  done
}

print_env() {
  cat <<VARIABLES
export KAFKA_BOOTSTRAP=127.0.0.1:$KAFKA_PORT
export KAFKA_SASL_BOOTSTRAP=127.0.0.1:$KAFKA_SASL_PORT
export KAFKA_FAULT_BOOTSTRAP=127.0.0.1:$KAFKA_FAULT_PORT
export KAFKA_USERS='$KAFKA_USERS'
export SCHEMA_REGISTRY_URL=http://127.0.0.1:$REGISTRY_PORT/apis/ccompat/v7
export SCHEMA_REGISTRY_FAULT_URL=http://127.0.0.1:$REGISTRY_FAULT_PORT/apis/ccompat/v7
export S3_ENDPOINT=http://127.0.0.1:$S3_PORT
export S3_FAULT_ENDPOINT=http://127.0.0.1:$S3_FAULT_PORT
export S3_BUCKET=$S3_BUCKET
export S3_REGION=$S3_REGION
export AWS_ACCESS_KEY_ID=$S3_ACCESS_KEY
export AWS_SECRET_ACCESS_KEY=$S3_SECRET_KEY
export AWS_REGION=$S3_REGION
export AWS_ENDPOINT_URL_S3=http://127.0.0.1:$S3_PORT
export TOXIPROXY_URL=http://127.0.0.1:$TOXIPROXY_PORT
export PROMETHEUS_HOME='$prometheus_home'
export HELM_BIN='$helm_home'
export SPARK_JARS='$spark_home/libs'
VARIABLES
}

command=${1:-help}
[ $# -eq 0 ] || shift
case $command in
  run)
    [ $# -gt 0 ] || fail "run what? $0 run COMMAND..."
    run_with_servers "$@"
    ;;
  install | start | stop | status | lacking)
    [ $# -gt 0 ] || set -- "${servers[@]}"
    [[ "$command $*" =~ ^(install|lacking)\ (spark|prometheus|helm)$ ]] || known "$@"
    "${command}_servers" "$@"
    ;;
  env) print_env ;;
  help | -h | --help) printf '%s\n' "$usage" ;;
  *)
    printf '%s\n' "$usage" >&2
    exit 2
    ;;
esac
