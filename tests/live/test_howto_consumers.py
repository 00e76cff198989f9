"""The consumers that the docs show read what a gateway publishes to real servers, and fetch what it stores."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import live_servers as live
from tests.command import EXAMPLES, Served, serving
from tests.docs.pages import ROOT, File, steps

pytestmark = pytest.mark.live

AVRO = EXAMPLES / "schemas" / "avro"
MESH = EXAMPLES / "binaries" / "files" / "spot_triangulated.obj"
PROGRAMS = {
    step.name: step.text
    for step in steps((ROOT / "docs" / "how-to" / "consumers-python.md").read_text())
    if isinstance(step, File)
}
SECONDS = 60


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway of its own on real servers, with three artists and a mesh published."""
    own = f"t{uuid.uuid4().hex}"
    with serving(tmp_path_factory.mktemp("served"), **live.deployment(own), OWN=own) as found:
        reference = f"--reference=example.heritage.Rights={own}.heritage.rights:1"
        for arguments in (
            ("tate.artist", AVRO / "tate_artist.avsc"),
            ("heritage.rights", AVRO / "rights.avsc"),
            ("heritage.digital_object", AVRO / "digital_object.avsc", reference),
        ):
            done = found.inlake("schemas", "add", *arguments)
            assert done.returncode == 0, done.stderr
        with gzip.open(EXAMPLES / "tate" / "artists.ndjson.gz") as file:
            done = found.inlake("send", "tate.artist", stdin=b"".join(file.readlines()[:3]))
        assert done.returncode == 0, done.stdout + done.stderr
        yield found


@pytest.fixture(scope="module")
def mesh(served: Served) -> dict[str, str]:
    """The resource of the mesh's receipt."""
    record = (EXAMPLES / "binaries" / "metadata.avro-untagged.ndjson").read_bytes().splitlines()[0]
    sent = served.inlake("send", "heritage.digital_object", "--binary", MESH, "--json", stdin=record)
    assert sent.returncode == 0, sent.stdout + sent.stderr
    resource: dict[str, str] = json.loads(sent.stdout)["resource"]
    return resource


@pytest.mark.parametrize("name", ["consume.py", "consume_async.py"])
def test_a_consumer_of_the_docs_prints_every_event(
    name: str, served: Served, mesh: dict[str, str], tmp_path: Path
) -> None:
    own = served.variables["OWN"]
    lines = first_lines(4, tmp_path, name, f"{own}.tate.artist", f"{own}.heritage.digital_object")
    assert sum("tate.artist" in line and "'fc':" in line for line in lines) == 3
    (found,) = (line for line in lines if "heritage.digital_object" in line)
    assert f"'__resource_path__': '{mesh['uri']}'" in found


def test_a_consumer_of_the_docs_prints_events_in_protobuf(served: Served, tmp_path: Path) -> None:
    (tmp_path / "note.proto").write_text(PROGRAMS["note.proto"])
    protoc = [sys.executable, "-m", "grpc_tools.protoc", "-I.", "--python_out=.", "note.proto"]
    subprocess.run(protoc, cwd=tmp_path, check=True)
    done = served.inlake("schemas", "add", "museum.note", tmp_path / "note.proto")
    assert done.returncode == 0, done.stderr
    done = served.inlake("send", "museum.note", stdin=b'{"title": "Spot", "views": "7"}\n{"title": "\xc3\xa9"}\n')
    assert done.returncode == 0, done.stdout + done.stderr
    lines = first_lines(2, tmp_path, "consume_protobuf.py", f"{served.variables['OWN']}.museum.note")
    assert [line.split(" ", 2)[1:] for line in lines] == [
        ["museum.note", '{"title": "Spot", "views": "7"}\n'],
        ["museum.note", '{"title": "\\u00e9"}\n'],
    ]


def test_the_binary_of_an_event_is_fetched_and_compared(served: Served, mesh: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "fetch.py").write_text(PROGRAMS["fetch.py"])
    fetch = [sys.executable, "fetch.py", mesh["uri"]]
    # the warnings of boto3 are not ours, and it wants the region by this name
    env = {**os.environ, **served.variables, "AWS_DEFAULT_REGION": live.S3_REGION}
    done = subprocess.run([*fetch, mesh["sha256"], "mesh.obj"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mesh.obj").read_bytes() == MESH.read_bytes()
    done = subprocess.run([*fetch, "0" * 64, "mesh.obj"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert "its event says 000" in done.stderr


def first_lines(count: int, folder: Path, name: str, *topics: str) -> list[str]:
    """Run a program until it has printed so many lines. Its consumer group is the test's own."""
    text = re.sub(r"catalogue-loader[-\d]*", f"t{uuid.uuid4().hex}", PROGRAMS[name])
    (folder / name).write_text(text)
    env = {**os.environ, "KAFKA_BOOTSTRAP": live.KAFKA_BOOTSTRAP, "SCHEMA_REGISTRY_URL": live.SCHEMA_REGISTRY_URL}
    process = subprocess.Popen([sys.executable, name, *topics], cwd=folder, env=env, stdout=subprocess.PIPE, text=True)
    timer = threading.Timer(SECONDS, process.kill)
    timer.start()
    try:
        assert process.stdout
        return [process.stdout.readline() for _ in range(count)]
    finally:
        timer.cancel()
        process.terminate()
        process.communicate()
