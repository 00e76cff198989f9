#!/usr/bin/env bash
# make test-pythons: the unit tests on each other Python that we say we run on, where it is installed; PYTHONS="..." names others.
set -euo pipefail
cd "$(dirname "$0")/.."

for python in ${PYTHONS:-python3.12 python3.13}; do
  if ! version=$("$python" -c 'import sys, venv, ensurepip; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); then
    echo "test-pythons: $python is not here, or lacks its venv module: left out"
    continue
  fi
  venv=build/python-$version
  [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
  "$venv/bin/python" -m pip --disable-pip-version-check --no-input install -q --require-hashes -r requirements.lock
  "$venv/bin/python" -m pip --disable-pip-version-check --no-input install -q --no-deps --no-build-isolation -e .
  echo "test-pythons: Python $version"
  "$venv/bin/python" -m pytest -q -n 2 --dist loadgroup -m 'not live and not slow' -p no:cacheprovider tests/unit
done
