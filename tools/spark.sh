#!/usr/bin/env bash
# The Spark recipe: its environment in recipes/spark/.venv, its tests, its demo. PySpark is 450 MB, so nothing else has it.
#   tools/spark.sh setup | ready | test [PYTEST_ARGUMENTS] | demo | run COMMAND...
set -euo pipefail
cd "$(dirname "$0")/.."
venv=recipes/spark/.venv
python=$venv/bin/python

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "spark: $*"
  exit 1
}
java_version() { java -version 2>&1 | sed -nE '1s/.*"(1\.)?([0-9]+).*/\2/p'; }

setup() { # what the project itself needs is that of .venv, seen from here; Spark and pandas are here alone
  local version packages state
  version=$(java_version || true)
  ((${version:-0} >= 17)) || fail "Java 17 or newer is missing (found ${version:-none}); type: sudo apt install openjdk-17-jre-headless"
  services/services.sh install spark
  mapfile -t packages < <(.venv/bin/python -c 'import tomllib
print(*(d for d in tomllib.load(open("recipes/spark/pyproject.toml", "rb"))["project"]["dependencies"] if not d.startswith("inlake")), sep="\n")')
  state="${packages[*]} $PWD"
  if [ "$(cat $venv/state 2>/dev/null)" = "$state" ] && "$python" -c 'import pyspark' 2>/dev/null; then
    say "spark: $venv is up to date"
    return
  fi
  say "spark: installing ${packages[*]} into $venv (about a minute)"
  rm -rf "$venv"
  .venv/bin/python -m venv "$venv"
  "$python" -m pip install -q --disable-pip-version-check --no-input "${packages[@]}" || fail "pip could not install them; its words are above"
  "$python" - "$PWD" <<'PYTHON'
import pathlib, site, sys
root = pathlib.Path(sys.argv[1])
own = pathlib.Path(site.getsitepackages()[0])
of_project = root / ".venv" / own.relative_to(own.parents[2])
(own / "project.pth").write_text(f"import site; site.addsitedir({str(of_project)!r})\n{root}/recipes/spark/src\n")
PYTHON
  printf '#!/bin/sh\nexec "%s" -m inlake_spark "$@"\n' "$PWD/$python" >$venv/bin/inlake-spark
  chmod +x $venv/bin/inlake-spark
  echo "$state" >$venv/state
}

ready() { [ -e $venv/state ]; }

case ${1:-help} in
  setup) setup ;;
  ready) ready ;;
  test)
    shift
    ready || fail "recipes/spark/.venv is not there: make spark-setup"
    # Spark's first job and its start count to one test, and take minutes where others use the machine
    exec services/services.sh run env INLAKE_REQUIRE_LIVE=1 "$python" -m pytest recipes/spark/tests -o timeout=900 "$@"
    ;;
  demo)
    shift
    setup
    exec services/services.sh run "$python" recipes/spark/demo.py "$@"
    ;;
  run)
    shift
    setup
    exec services/services.sh run "$@"
    ;;
  *) fail "setup, ready, test, demo, or run COMMAND" ;;
esac
