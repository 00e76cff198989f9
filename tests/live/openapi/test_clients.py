"""Programs that check OpenAPI documents find nothing in ours, and clients that are made from it send what there is to send."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.command import Served, environment, serving

pytestmark = [pytest.mark.live, pytest.mark.slow]
HERE = Path(__file__).parent
GENERATOR = "org.openapitools:openapi-generator-cli:7.25.0"
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
PYTHON_CLIENT = "openapi-python-client==0.29.1"
OVERRIDES = """content_type_overrides:
  application/offset+octet-stream: application/octet-stream
  application/problem+json: application/json
  application/x-ndjson: application/octet-stream
  "*/*": application/octet-stream
"""
NOTE = {
    "type": "record",
    "name": "Note",
    "fields": [
        {"name": "title", "type": "string"},
        {"name": "__resource_path__", "type": ["null", "string"], "default": None},
    ],
}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("gateway")
    with serving(folder) as served:
        (folder / "note.avsc").write_text(json.dumps(NOTE))
        assert served.inlake("schemas", "add", "note", folder / "note.avsc").returncode == 0
        yield served


@pytest.fixture(scope="module")
def project(gateway: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the document and what npm brings."""
    _need("node", "npm")
    folder = shutil.copytree(HERE, tmp_path_factory.mktemp("openapi") / "project")
    (folder / "openapi.json").write_bytes(httpx2.get(f"{gateway.url}/openapi.json", trust_env=False).content)
    run(folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    return folder


def run(folder: Path, *command: str | Path, **variables: str) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env=environment(**variables), capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stdout[-5_000:] + done.stderr[-5_000:]
    return done.stdout + done.stderr if command[0] == "npx" else done.stdout


def _need(*programs: str) -> None:
    if not all(map(shutil.which, programs)):
        sentence = f"{' and '.join(programs)} are needed"
        if os.environ.get("INLAKE_REQUIRE_LIVE") == "1":
            pytest.fail(sentence, pytrace=False)
        pytest.skip(sentence)


def assert_all_went_in(printed: str) -> None:
    told: dict[str, Any] = json.loads(printed)
    assert told["record"]["topic"] == "inlake.note"
    first, second, last = map(json.loads, told["stream"].splitlines())
    assert (first["status"], second["status"], second["errors"][0]["pointer"]) == (201, 422, "/title")
    assert last["summary"] == {"accepted": 1, "pending": 0, "rejected": 1, "failed": 0}
    assert (told["binary"]["state"], told["binary"]["filename"]) == ("stored", "spot.obj")
    assert told["upload"] == [201, 204]
    assert told["claimed"]["resource"]["size"] == 8


def test_redocly_finds_nothing(project: Path) -> None:
    said = run(project, "npx", "redocly", "lint", "--config=redocly.yaml", "openapi.json", REDOCLY_TELEMETRY="off")
    assert "Your API description is valid" in said
    assert "warning" not in said.partition("validating")[2]


def test_spectral_finds_nothing(project: Path) -> None:
    lint = ("npx", "spectral", "lint", "--ruleset=spectral.yaml", "--fail-severity=hint", "openapi.json")
    assert "No results" in run(project, *lint)


def test_a_client_with_the_types_of_openapi_typescript_sends_all_there_is(gateway: Served, project: Path) -> None:
    run(project, "npx", "openapi-typescript", "openapi.json", "-o", "generated.d.ts")
    run(project, "npx", "tsc")
    assert_all_went_in(run(project, "node", "fetch.mjs", gateway.url))


def test_a_client_of_openapi_generator_sends_all_there_is(gateway: Served, project: Path) -> None:
    _need("mvn", "java")
    jar = f"-Dartifact={GENERATOR}", f"-DoutputDirectory={project}", "-Dmdep.stripVersion=true"
    run(project, "mvn", "-q", "-B", COPY, *jar)
    make = ("generate", "-i", "openapi.json", "-g", "python", "-o", "python", "--package-name", "generated")
    only = "--global-property=apiTests=false,modelTests=false,apiDocs=false,modelDocs=false"
    run(project, "java", "-jar", "openapi-generator-cli.jar", *make, only)
    python = str(project / "python")
    assert_all_went_in(run(project, sys.executable, "generated_client.py", gateway.url, PYTHONPATH=python))


@pytest.mark.skipif(
    os.environ.get("INLAKE_TEST_GENERATORS") != "1", reason="INLAKE_TEST_GENERATORS=1 installs openapi-python-client"
)
def test_openapi_python_client_makes_a_client_of_every_route(project: Path) -> None:
    install = (sys.executable, "-m", "pip", "install", "-q", "--target", "tool", PYTHON_CLIENT, "ruff")
    run(project, *install)
    (project / "overrides.yaml").write_text(OVERRIDES)
    make = ("generate", "--path", "openapi.json", "--output-path", "made", "--meta", "none", "--fail-on-warning")
    path = f"{project / 'tool' / 'bin'}:{os.environ['PATH']}"
    command = (sys.executable, "-m", "openapi_python_client", *make, "--config", "overrides.yaml")
    run(project, *command, PYTHONPATH=str(project / "tool"), PATH=path)
    operations = json.loads((project / "openapi.json").read_text())["paths"].values()
    made = [each for each in (project / "made" / "api").rglob("*.py") if each.name != "__init__.py"]
    assert len(made) == sum(map(len, operations))
