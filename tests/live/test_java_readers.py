"""Java programs read the events: kafka-clients, Apache Avro's library and the SDK of CloudEvents, from Maven Central."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import fastavro
import httpx2
import pytest

from tests import live_servers as live
from tests.command import EXAMPLES, Served, serving
from tests.live.test_real_data import filled

pytestmark = [pytest.mark.live, pytest.mark.slow]

AVRO = EXAMPLES / "schemas" / "avro"
SCHEMAS = {
    "tate.artwork": AVRO / "tate_artwork.avsc",
    "tate.artist": AVRO / "tate_artist.avsc",
    "heritage.rights": AVRO / "rights.avsc",
    "heritage.digital_object": AVRO / "digital_object.avsc",
}


@dataclass(frozen=True)
class Sent:
    """A record that was accepted, its object's URI filled in, and its receipt."""

    record: Any
    receipt: Any


@dataclass(frozen=True)
class Read:
    """What went in, and by topic what came out in Java."""

    sent: dict[str, Sent]
    lines: dict[str, list[Any]]

    def of(self, schema: str) -> list[Any]:
        (lines,) = [lines for topic, lines in self.lines.items() if topic.endswith(f".{schema}")]
        return lines


@pytest.fixture(scope="module")
def read(java: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Read]:
    """Real artworks, artists and binaries, sent through a gateway and read in Java."""
    own = f"t{uuid.uuid4().hex[:12]}"
    compressed = {"INLAKE_KAFKA_COMPRESSION_TYPE": "snappy"}  # whose framing is Java's own
    with serving(tmp_path_factory.mktemp("served"), **live.deployment(own), **compressed) as served:
        for name, file in SCHEMAS.items():
            reference = [f"--reference=example.heritage.Rights={own}.heritage.rights:1"] * (
                name == "heritage.digital_object"
            )
            added = served.inlake("schemas", "add", name, file, *reference)
            assert added.returncode == 0, added.stderr
        sent = send_lines(served, "tate.artwork", "tate/artworks.ndjson.gz")
        sent |= send_lines(served, "tate.artist", "tate/artists.ndjson.gz")
        sent |= send_binaries(served)
        topics = [f"{own}.{name}" for name in SCHEMAS if name != "heritage.rights"]
        command = [*java, "Read", live.KAFKA_BOOTSTRAP, live.SCHEMA_REGISTRY_URL, *topics]
        done = subprocess.run(command, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr.decode()
        lines: dict[str, list[Any]] = {topic: [] for topic in topics}
        for line in map(json.loads, done.stdout.splitlines()):
            lines[line["topic"]].append(line)
        yield Read(sent, lines)


def send_lines(served: Served, schema: str, file: str) -> dict[str, Sent]:
    body = gzip.decompress((EXAMPLES / file).read_bytes())
    records = [json.loads(line) for line in body.splitlines()]
    url = f"{served.url}/ingress/record-json?schema={schema}&destination=java/archive"
    answer = httpx2.post(url, content=body, headers={"content-type": "application/x-ndjson"}, timeout=60)
    *receipts, last = [json.loads(line) for line in answer.text.splitlines()]
    accepted = [receipt for receipt in receipts if receipt["status"] == 201]
    assert last["complete"]
    assert len(accepted) == last["summary"]["accepted"] > 0
    return {receipt["id"]: Sent(records[receipt["line"] - 1], receipt) for receipt in accepted}


def send_binaries(served: Served) -> dict[str, Sent]:
    sent = {}
    for line in (EXAMPLES / "binaries/metadata.avro-untagged.ndjson").read_text().removesuffix("\n").split("\n"):
        record = json.loads(line)
        with (EXAMPLES / "binaries/files" / record["file"]["name"]).open("rb") as file:
            answer = httpx2.post(
                f"{served.url}/ingress/record-json-and-binary?schema=heritage.digital_object",
                files={"record": (None, line), "file": (record["file"]["name"], file, record["file"]["media_type"])},
                timeout=60,
            )
        assert answer.status_code == 201, answer.text
        receipt = answer.json()
        sent[receipt["id"]] = Sent({**record, "__resource_path__": receipt["resource"]["uri"]}, receipt)
    assert len(sent) == 18
    return sent


@pytest.mark.parametrize("schema", ["tate.artwork", "tate.artist", "heritage.digital_object"])
def test_avro_in_java_reads_every_record_as_it_was_sent(read: Read, schema: str) -> None:
    references = [json.loads(SCHEMAS["heritage.rights"].read_text())] * (schema == "heritage.digital_object")
    own = json.loads(SCHEMAS[schema].read_text())
    names: dict[str, Any] = {}
    for text in [*references, own]:
        parsed = fastavro.parse_schema(text, names)
    lines = read.of(schema)
    expected = {i: sent.record for i, sent in read.sent.items() if sent.receipt["topic"] == lines[0]["topic"]}
    for line in lines:
        record = filled(expected.pop(line["headers"]["ce_id"]), own, *references)
        assert filled(untagged(line["record"], parsed, names), own, *references) == record
    assert expected == {}


def test_every_event_is_where_its_receipt_says_and_where_a_java_producer_would_put_its_key(read: Read) -> None:
    """The reader fails when the partition is not the one that kafka-clients computes for the key."""
    lines = [line for lines in read.lines.values() for line in lines]
    assert len(lines) == len(read.sent)
    for line in lines:
        receipt = read.sent[line["headers"]["ce_id"]].receipt
        assert {name: line[name] for name in ("topic", "partition", "offset", "key")} == {
            name: receipt[name] for name in ("topic", "partition", "offset", "key")
        }


def test_the_cloudevents_sdk_in_java_reads_every_event(read: Read) -> None:
    for schema in ("tate.artwork", "tate.artist", "heritage.digital_object"):
        for line in read.of(schema):
            event, headers = line["cloudevent"], line["headers"]
            assert event["id"] == headers["ce_id"]
            assert event["data"] == event["value"]
            assert base64.b64decode(event["data"])[:1] == b"\0"
            assert datetime.fromisoformat(event["time"]) == datetime.fromisoformat(headers["ce_time"])
            assert (event["specversion"], event["source"], event["type"]) == ("1.0", "/inlake", schema)
            assert event["datacontenttype"] == "application/vnd.confluent.avro"
            assert event["extensions"] == []


def test_the_headers_that_java_reads_name_the_object_as_the_receipt_does(read: Read) -> None:
    for line in read.of("heritage.digital_object"):
        resource, headers = read.sent[line["headers"]["ce_id"]].receipt["resource"], line["headers"]
        assert headers["inlake_puuid"] == resource["puuid"]
        assert headers["inlake_resource_uri"] == resource["uri"]
        assert headers["inlake_resource_size"] == str(resource["size"])
        assert headers["inlake_resource_sha256"] == resource["sha256"]
        assert headers["inlake_resource_type"] == resource["content_type"]
        assert headers["inlake_resource_filename"] == quote(resource["filename"], safe="")
        file = EXAMPLES / "binaries/files" / resource["filename"]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == headers["inlake_resource_sha256"]


def untagged(value: Any, schema: Any, names: dict[str, Any]) -> Any:
    """A value of Avro's JSON encoding without the names of branches, which are those of the schema, with no field left
    out. fastavro reads this encoding too, but no recursive schemas."""
    schema = names.get(schema, schema) if isinstance(schema, str) else schema
    if isinstance(schema, list):
        if value is None:
            assert "null" in schema
            return None
        ((tag, inner),) = value.items()
        return untagged(inner, {name_of(branch): branch for branch in schema}[tag], names)
    kind = schema if isinstance(schema, str) else schema["type"]
    if kind == "record":
        types = {field["name"]: field["type"] for field in schema["fields"]}
        assert value.keys() == types.keys()
        return {name: untagged(inner, types[name], names) for name, inner in value.items()}
    if kind == "array":
        return [untagged(item, schema["items"], names) for item in value]
    if kind == "map":
        return {key: untagged(item, schema["values"], names) for key, item in value.items()}
    return value


def name_of(branch: Any) -> str:
    return branch if isinstance(branch, str) else str(branch.get("name", branch["type"]))
