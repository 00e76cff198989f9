#!/usr/bin/env bash
# sbom.sh FILE: a bill of materials (CycloneDX 1.6, JSON) of what the image installs, from requirements-server.lock.
set -euo pipefail
file=$(realpath -m "$1")
cd "$(dirname "$0")/.."
mkdir -p "$(dirname "$file")"
# the lock lists all packages and not who asks for whom: the warning says that the graph of dependencies is not there
PYTHONWARNINGS=ignore .venv/bin/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application \
  --output-reproducible --no-validate --of JSON -o "$file" requirements-server.lock
