"""The SDK of CloudEvents for Python reads the events that another Kafka client took, by its new and its old interface."""

from __future__ import annotations

import gzip
import io
import json
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import confluent_kafka
import fastavro
import httpx2
import pytest
from cloudevents.core.bindings import kafka
from cloudevents.v1.kafka import KafkaMessage, from_binary

from tests import live_servers as live
from tests.command import EXAMPLES, serving

pytestmark = pytest.mark.live

SCHEMA = EXAMPLES / "schemas" / "avro" / "tate_artist.avsc"
LINES = gzip.decompress((EXAMPLES / "tate" / "artists.ndjson.gz").read_bytes()).splitlines()[:200]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], list[KafkaMessage]]]:
    """Receipts by event id, and the messages of their topic."""
    own = f"t{uuid.uuid4().hex[:12]}"
    with serving(tmp_path_factory.mktemp("served"), INLAKE_SOURCE="/museum/gateway", **live.deployment(own)) as served:
        added = served.inlake("schemas", "add", "tate.artist", SCHEMA)
        assert added.returncode == 0, added.stderr
        answer = httpx2.post(
            f"{served.url}/ingress/record-json?schema=tate.artist&destination=museum",
            content=b"\n".join(LINES),
            headers={"content-type": "application/x-ndjson"},
            timeout=60,
        )
        assert answer.status_code == 201, answer.text
        receipts = [json.loads(line) for line in answer.text.splitlines()[:-1]]
        messages = messages_of(f"{own}.tate.artist", len(LINES))
        yield {receipt["id"]: receipt for receipt in receipts}, messages


def messages_of(topic: str, count: int) -> list[KafkaMessage]:
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": live.KAFKA_BOOTSTRAP, "group.id": topic, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    found: list[KafkaMessage] = []
    end = time.monotonic() + 30
    while len(found) < count and time.monotonic() < end:
        polled: list[Any] = consumer.consume(count, timeout=1)
        for m in polled:
            assert m.error() is None
            found.append(KafkaMessage(headers=dict(m.headers()), key=m.key(), value=m.value()))
    consumer.close()
    return found


def test_the_old_interface_reads_every_event_when_it_leaves_the_bytes_alone(
    read: tuple[dict[str, Any], list[KafkaMessage]],
) -> None:
    receipts, messages = read
    schema = fastavro.parse_schema(json.loads(SCHEMA.read_text()))
    lines = [json.loads(line) for line in LINES]
    seen = set()
    for message in messages:
        event = from_binary(message, data_unmarshaller=lambda data: data)
        receipt = receipts[event["id"]]
        seen.add(event["id"])
        assert (event["specversion"], event["source"]) == ("1.0", "/museum/gateway")
        assert (event["type"], event["partitionkey"]) == ("tate.artist", b"tate.artist/museum")
        assert event["datacontenttype"] == "application/vnd.confluent.avro"
        assert datetime.fromisoformat(event["time"]).tzinfo is not None
        assert event.data == message.value
        assert int.from_bytes(event.data[1:5], "big") == receipt["schema"]["id"]
        record: Any = fastavro.schemaless_reader(io.BytesIO(event.data[5:]), schema, None)
        assert record["fc"] == lines[receipt["line"] - 1]["fc"]
    assert seen == receipts.keys()


def test_the_new_interface_reads_every_event_and_makes_text_of_values_that_happen_to_be_utf_8(
    read: tuple[dict[str, Any], list[KafkaMessage]],
) -> None:
    receipts, messages = read
    for message in messages:
        given = kafka.KafkaMessage(message.headers, message.key, bytes(message.value))  # type: ignore[arg-type]
        event = kafka.from_binary_event(given)
        assert event.get_id() in receipts
        assert (event.get_source(), event.get_type()) == ("/museum/gateway", "tate.artist")
        assert event.get_datacontenttype() == "application/vnd.confluent.avro"
        assert event.get_time() == datetime.fromisoformat(message.headers["ce_time"].decode())
        assert event.get_extension("partitionkey") == "tate.artist/museum"
        data = event.get_data()
        assert (data.encode() if isinstance(data, str) else data) == message.value
