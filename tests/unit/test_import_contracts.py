"""The import contracts fail for what they forbid: one forbidden line for each, written into a copy of the tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
CONTRACTS = [
    contract["name"]
    for contract in tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
]
FORBIDDEN = [
    ("model.py", "import inlake.gateway", "Layers: each knows only what is below it"),
    ("promises/sweep.py", "import inlake.gateway", "Layers: each knows only what is below it"),
    ("web/request/exchange.py", "import inlake.web.app", "Layers of web"),
    ("web/routes/records.py", "import inlake.web.serving.server", "Layers of web"),
    ("promises/sweep.py", "from inlake.store.folder.store import FolderStore", "Adapters are known to the wiring only"),
    ("web/app.py", "import inlake.bus.kafka.bus", "Adapters are known to the wiring only"),
    ("cli/commands/serve.py", "import inlake.registry.confluent.registry", "Adapters are known to the wiring only"),
    ("web/routes/rejects.py", "import inlake.rejects.sqlite.log", "What keeps rejects is known to the wiring only"),
    ("gateway.py", "import obstore", "Libraries for S3"),
    ("store/folder/store.py", "import aiobotocore.session", "Libraries for S3"),
    ("bus/kafka/bus.py", "import botocore.session", "Library for AWS' credentials"),
    ("bus/sqlite/bus.py", "import confluent_kafka", "Libraries for Kafka"),
    ("bus/kafka/bus.py", "import inlake.bus.kafka.producer.batch", "The Kafka producer has one door"),
    ("web/request/auth.py", "import joserfc.jwt", "Library for tokens"),
    ("wiring.py", "import opentelemetry.trace", "Libraries for traces"),
    ("gateway.py", "import fastapi", "Libraries for HTTP"),
    ("gateway.py", "import jinja2", "Libraries for HTTP"),
    ("web/routes/records.py", "import inlake.web.console.page", "Layers of web"),
    ("bus/kafka/bus.py", "import sqlite3", "Library for SQLite"),
    ("formats/avro/codec.py", "import jsonschema_rs", "Library for JSON Schema"),
    ("codecs.py", "import protobuf", "Libraries for Protobuf"),
    ("client/tables/table.py", "import python_calamine", "Library for workbooks"),
    ("web/routes/resources.py", "import PIL", "Libraries for pictures"),
    ("client/gateway.py", "import pycurl", "Library for many PUTs"),
    ("client/connection.py", "import msgspec", "The client never imports a library of the server"),
]
"""A module, a line that it must not have, and the beginning of the name of the contract that it breaks."""


def lint(folder: Path) -> str:
    """What import-linter says of the tree in `folder`."""
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"}
    command = [sys.executable, "-c", program, "--no-cache", "--config", str(folder / "pyproject.toml")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)
    return done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(PROJECT / "src/inlake", tmp_path / "inlake", ignore=shutil.ignore_patterns("__pycache__", "static"))
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_tree_as_it_is_keeps_every_contract(copy: Path) -> None:
    said = lint(copy)
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in said, said


@pytest.mark.parametrize(("module", "line", "broken"), FORBIDDEN)
def test_a_forbidden_import_breaks_its_contract(copy: Path, module: str, line: str, broken: str) -> None:
    path = copy / "inlake" / module
    path.write_text(path.read_text() + f"\n{line}\n")
    (name,) = (name for name in CONTRACTS if name.startswith(broken) and (broken != "Layers" or ":" in name))
    assert f"{name} BROKEN" in lint(copy)


@pytest.mark.parametrize(("module", "broken"), [("heap.py", "Layers: each"), ("web/heap.py", "Layers of web")])
def test_a_module_without_a_layer_breaks_the_layers(copy: Path, module: str, broken: str) -> None:
    (copy / "inlake" / module).write_text("")
    assert "heap" in (said := lint(copy)), said
    assert f"{broken}" in said


def test_each_contract_has_a_line_that_breaks_it() -> None:
    for name in CONTRACTS:
        assert any(name.startswith(broken) for _, _, broken in FORBIDDEN), name
