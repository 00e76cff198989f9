#!/usr/bin/env bash
# make check: everything that can be said about the code without running it. Goes through all of it, then fails.
set -euo pipefail
cd "$(dirname "$0")/.."
report=$(mktemp)
trap 'rm -f "$report"' EXIT
failed=()

check() { # NAME COMMAND...
  local name=$1
  shift
  if "$@" >"$report" 2>&1; then
    echo "check: $name: ok"
  else
    cat "$report"
    echo "check: $name: FAILED ($*)"
    failed+=("$name")
  fi
}

syntax() { # SCRIPT...
  local script wrong=0
  for script in "$@"; do bash -n "$script" || wrong=1; done
  return $wrong
}

check format .venv/bin/ruff format --check
check lint .venv/bin/ruff check
check types .venv/bin/mypy
check "import contracts" .venv/bin/lint-imports
check "import contracts of recipes/spark" env PYTHONPATH=recipes/spark/src .venv/bin/lint-imports --config recipes/spark/pyproject.toml
check "generated pages" .venv/bin/python tools/docs.py --check
check "shell scripts" syntax services/services.sh services/lib/*.sh tools/*.sh .ci/run
check "bill of materials" tools/sbom.sh build/sbom.json
check "known vulnerabilities" .venv/bin/python tools/audit.py
[[ " ${failed[*]} " == *" known vulnerabilities "* ]] || sed 's/^/check: known vulnerabilities: /' "$report"
[ ${#failed[@]} -eq 0 ] || {
  echo "check: failed: ${failed[*]}"
  exit 1
}
