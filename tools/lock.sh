#!/usr/bin/env bash
# make lock: the locks from pyproject.toml, for every platform, with hashes and no package index's address:
# requirements.lock for developers, requirements-server.lock and requirements-build.lock for the image.
# Versions stay as they are where they still fit; ARGS=--upgrade takes the newest.
set -euo pipefail
cd "$(dirname "$0")/.."
UV_VERSION=${UV_VERSION:-}

tools/setup.sh
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
.venv/bin/python -m venv "$scratch/venv"
pip=("$scratch/venv/bin/python" -m pip --disable-pip-version-check)
"${pip[@]}" install -q "uv${UV_VERSION:+==$UV_VERSION}" || {
  echo "lock: uv cannot be installed: look at the network, or at pip's index settings" >&2
  exit 1
}
# uv does not read pip's settings
index=${PIP_INDEX_URL:-$("${pip[@]}" config get global.index-url 2>/dev/null || true)}
[ -z "$index" ] || export UV_DEFAULT_INDEX=${UV_DEFAULT_INDEX:-$index}
[ -z "${PIP_FIND_LINKS:-}" ] || export UV_FIND_LINKS=${UV_FIND_LINKS:-$PIP_FIND_LINKS}
[ -z "${PIP_CERT:-}" ] || export SSL_CERT_FILE=${SSL_CERT_FILE:-$PIP_CERT}
compile() { # LOCK ARGUMENTS...
  local lock=$1
  shift
  "$scratch/venv/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-emit-find-links --no-header "$@" -o "$lock"
  echo "lock: $lock is written"
}
compile requirements.lock --all-extras --group dev pyproject.toml "$@"
# the versions that the tests run with: nothing newer
compile requirements-server.lock --extra server --extra otel --constraint requirements.lock pyproject.toml "$@"
.venv/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' |
  compile requirements-build.lock --constraint requirements.lock - "$@"
echo "lock: make setup installs requirements.lock"
