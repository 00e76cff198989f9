#!/usr/bin/env bash
# make test: all tests, with the real servers on free ports; where those cannot be had, all but the live ones.
set -euo pipefail
cd "$(dirname "$0")/.."

found() { if command -v "$1" >/dev/null; then echo "$2"; else echo "no $2"; fi; } # COMMAND NAME

echo "test: needs Maven and Go for the real servers, on the first run only; found $(found mvn Maven), $(found go Go)"
if lacking=$(services/services.sh lacking); then
  # two at a time: half of the tests wait for faults and time-outs; ARGS="-n 0" runs one after the other
  services/services.sh run env INLAKE_REQUIRE_LIVE=1 \
    .venv/bin/python -m pytest -n 2 --dist loadgroup --no-loadscope-reorder "$@"
  [ $# -eq 0 ] || exit 0
  if tools/spark.sh ready; then exec tools/spark.sh test; fi
  echo "test: the tests of recipes/spark did not run: make spark-setup installs Spark, and then they do"
  exit 0
fi
printf '%s\n' "$lacking"
if [ "${INLAKE_REQUIRE_LIVE:-0}" = 1 ]; then
  echo "test: INLAKE_REQUIRE_LIVE=1 asks for the live tests, and they cannot run"
  exit 1
fi
echo "test: running all but the live tests"
.venv/bin/python -m pytest -m 'not live' "$@"
echo "test: the live tests (real Kafka, registry and S3) did not run, for what is missing above"
