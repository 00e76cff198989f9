"""The commands against real Kafka, S3 and registry: the same words as on the embedded default."""

from __future__ import annotations

import gzip
import hashlib
import json
import uuid
from collections.abc import Iterator

import pytest

from tests import live_servers as servers
from tests.command import EXAMPLES, Served, serving

pytestmark = pytest.mark.live

AVRO = EXAMPLES / "schemas" / "avro"


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway whose topics, subjects and objects are its own."""
    own = f"t{uuid.uuid4().hex}"
    settings = {**servers.deployment(own), "INLAKE_SUBJECT": f"{own}.{{schema}}-value", "OWN": own}
    with serving(tmp_path_factory.mktemp("served"), **settings) as found:
        yield found


def test_schemas_records_and_a_binary_go_in_and_events_come_out(served: Served) -> None:
    own = served.variables["OWN"]
    added = served.inlake("schemas", "add", "tate.artist", AVRO / "tate_artist.avsc")
    assert added.stdout.startswith(f"{own}.tate.artist-value version 1, id "), added.stderr
    assert served.inlake("schemas", "add", "heritage.rights", AVRO / "rights.avsc").returncode == 0
    reference = f"--reference=example.heritage.Rights={own}.heritage.rights-value:1"
    added = served.inlake("schemas", "add", "heritage.digital_object", AVRO / "digital_object.avsc", reference)
    assert added.returncode == 0, added.stderr
    listed = served.inlake("schemas", "list", "--json").stdout
    assert f"{own}.heritage.digital_object-value" in listed

    with gzip.open(EXAMPLES / "tate" / "artists.ndjson.gz") as file:
        artists = file.readlines()[:25]
    sent = served.inlake("send", "tate.artist", "--json", stdin=b"".join(artists))
    assert sent.returncode == 0, sent.stdout + sent.stderr
    record = (EXAMPLES / "binaries" / "metadata.avro-untagged.ndjson").read_bytes().splitlines()[0]
    mesh = EXAMPLES / "binaries" / "files" / "spot_triangulated.obj"
    receipt = served.inlake("send", "heritage.digital_object", "--binary", mesh, "--json", stdin=record)
    assert receipt.returncode == 0, receipt.stdout + receipt.stderr
    assert json.loads(receipt.stdout)["resource"]["sha256"] == hashlib.sha256(mesh.read_bytes()).hexdigest()

    read = served.inlake("tail", "--json", "--from-start")  # of the broker's topics those that INLAKE_TOPIC names
    assert read.returncode == 0, read.stderr
    events = [json.loads(line) for line in read.stdout.splitlines()]
    names = [event["record"]["fc"] for event in events if event["key"] == "tate.artist"]
    assert names == [json.loads(line)["fc"] for line in artists]
    assert len(events) == 25 + 1
    (found,) = (event for event in events if event["key"] == "heritage.digital_object")
    assert found["record"]["__resource_path__"] == json.loads(receipt.stdout)["resource"]["uri"]
    assert len(served.inlake("tail", "--json").stdout.splitlines()) == 10


def test_an_incompatible_schema_is_refused_with_a_sentence(
    served: Served, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("schemas") / "letter.avsc"
    fields = [{"name": "text", "type": "string"}]
    file.write_text(json.dumps({"type": "record", "name": "Letter", "fields": fields}))
    assert served.inlake("schemas", "add", "letter", file).returncode == 0
    fields.append({"name": "year", "type": "int"})
    file.write_text(json.dumps({"type": "record", "name": "Letter", "fields": fields}))
    done = served.inlake("schemas", "add", "letter", file)
    assert done.returncode == 1
    assert done.stderr.startswith("inlake: ")
    assert "Traceback" not in done.stderr
    assert '+      "name": "year",' in done.stdout.splitlines()  # what differs from the latest version
