#!/usr/bin/env bash
# make setup: the environment in .venv from requirements.lock. Does nothing when it is there and up to date.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "setup: $*"
  exit 1
}
version_of() { "$1" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null; } # PYTHON
new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }     # PYTHON

find_python() { # prints the first that will do; PYTHON names another
  local python seen=''
  for python in ${PYTHON:-python3.11 python3.12 python3.13 python3.14 python3}; do
    ! new_enough "$python" || {
      echo "$python"
      return
    }
    seen+=$(version_of "$python" | sed "s|^|, $python is |" || true)
  done
  fail "Python 3.11 or newer is missing${seen}; type: sudo apt install python3.11 python3.11-venv, or make setup PYTHON=/path/to/python3.11"
}

usable() { # whether .venv was made whole, here, and by a Python that still exists
  new_enough .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1 && grep -qF "$PWD/.venv/" .venv/bin/pip
}

make_venv() {
  local python
  python=$(find_python)
  say "setup: needs Python 3.11 or newer with venv and a package index; found Python $(version_of "$python") ($python)"
  "$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "$python lacks its venv module; type: sudo apt install python$(version_of "$python" | cut -d. -f1,2)-venv"
  rm -rf .venv
  "$python" -m venv .venv >&2 || fail "$python could not make .venv; its message is above"
}

install() { # PIP_ARGUMENTS...
  local log=.venv/setup.log
  .venv/bin/python -m pip --disable-pip-version-check --no-input install -q "$@" >>"$log" 2>&1 && return
  if grep -qE 'Retrying|No matching distribution|NewConnectionError|Could not fetch|ProxyError|SSLError' "$log"; then
    fail "no package index gave what requirements.lock asks for: look at the network, or at pip's index and proxy settings; pip's words are in $log"
  fi
  fail "pip could not install: $(grep -m 1 ERROR "$log" || echo 'no reason given'); all of its words are in $log"
}

exec 9<requirements.lock # two of us at once: the second waits and finds all done
flock 9
state=$(cat requirements.lock pyproject.toml | sha256sum)
if ! usable; then
  make_venv
elif [ "$(cat .venv/state 2>/dev/null)" = "$state" ]; then
  say "setup: .venv is up to date (Python $(version_of .venv/bin/python))"
fi
if [ "$(cat .venv/state 2>/dev/null)" != "$state" ]; then
  say "setup: installing the $(grep -c '==' requirements.lock) packages of requirements.lock into .venv (half a minute to two)"
  started=$SECONDS
  rm -f .venv/setup.log
  install --require-hashes -r requirements.lock
  install --no-deps --no-build-isolation -e .
  echo "$state" >.venv/state
  say "setup: done in $((SECONDS - started)) s; the command is .venv/bin/inlake"
fi
if [ -e .env.example ] && [ ! -e .env ]; then
  cp .env.example .env
  say "setup: copied .env.example to .env, where your settings go"
fi
