"""Events as other people's clients read them, each decoded with the schema that the id in its value names.

Nothing of ours decodes here: aiokafka or SQLite reads, Confluent's deserializers, fastavro and google's Protobuf decode.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiokafka
import confluent_kafka
import fastavro
from aiobotocore.session import get_session
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from tests import live_servers as live
from tests.command import Served
from tests.google_protobuf import Google

SUFFIXES = {"AVRO": ".avsc", "PROTOBUF": ".proto", "JSON": ".json"}


@dataclass(frozen=True)
class Event:
    """What is on the bus."""

    topic: str
    key: str
    headers: dict[str, str]
    value: bytes

    @property
    def schema_id(self) -> int:
        assert self.value[0] == 0
        return int.from_bytes(self.value[1:5], "big")


def events_of(served: Served, topic: str) -> list[Event]:
    """All events of a topic."""
    if "INLAKE_BUS" in served.variables:
        return asyncio.run(_read_kafka(topic))
    return list(sqlite_events(served, topic))


def sqlite_events(served: Served, topic: str) -> Iterator[Event]:
    """Those of an embedded gateway, one by one."""
    sql = 'select key, headers, value from events where topic = ? order by "offset"'
    with contextlib.closing(sqlite3.connect(served.folder / ".inlake/events.db")) as db:
        for key, headers, value in db.execute(sql, (topic,)):
            yield Event(topic, key.decode(), dict(json.loads(headers)), value)


def kafka_events(topic: str) -> Iterator[Event]:
    """Those on Kafka, one by one, read by librdkafka: in the order of a partition, and of no two."""
    settings = {"bootstrap.servers": live.KAFKA_BOOTSTRAP, "group.id": topic, "enable.partition.eof": True}
    consumer = confluent_kafka.Consumer({**settings, "auto.offset.reset": "earliest"})
    partitions, ended = consumer.list_topics(topic, timeout=10).topics[topic].partitions, set[int]()
    consumer.subscribe([topic])
    while len(ended) < len(partitions):
        polled: list[Any] = consumer.consume(10_000, timeout=1)
        for m in polled:
            if m.error():
                assert m.error().code() == confluent_kafka.KafkaError._PARTITION_EOF
                ended.add(m.partition())
            else:
                yield Event(topic, m.key().decode(), {k: v.decode() for k, v in m.headers()}, m.value())
    consumer.close()


async def _read_kafka(topic: str) -> list[Event]:
    consumer = aiokafka.AIOKafkaConsumer(topic, bootstrap_servers=live.KAFKA_BOOTSTRAP, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        found: list[Event] = []
        while any([await consumer.position(p) < end for p, end in ends.items()]):
            for messages in (await consumer.getmany(timeout_ms=1000)).values():
                for m in messages:
                    headers = {k: v.decode() for k, v in m.headers}
                    found.append(Event(topic, m.key.decode(), headers, m.value))
        return found
    finally:
        await consumer.stop()


class Reader:
    """`with Reader(served) as reader:` decodes events by their id: with the schemas of the real registry, or those that
    `ids.json` keeps for the embedded one."""

    def __init__(self, served: Served, *, validate: bool = True) -> None:
        """`validate`: JSON against its schema too; Confluent's deserializer takes milliseconds for a nested record."""
        self._folder = served.folder / ".inlake/schemas"
        self._client: SchemaRegistryClient | None = None
        if "INLAKE_REGISTRY" in served.variables:
            self._client = SchemaRegistryClient({"url": live.SCHEMA_REGISTRY_URL})
            self._avro = AvroDeserializer(self._client)
            conf = {"validate": validate}
            self._json = JSONDeserializer(None, schema_registry_client=self._client, conf=conf)
        self._parsed: dict[int, Any] = {}
        self._protobuf: dict[tuple[int, tuple[int, ...]], ProtobufDeserializer] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._client:
            self._client.__exit__()

    def decode(self, event: Event) -> Any:
        """A Protobuf message, or plain values."""
        kind = self.schema(event.schema_id).schema_type or "AVRO"
        where = SerializationContext(event.topic, MessageField.VALUE)
        if kind == "PROTOBUF":
            return self._message(event)
        if kind == "JSON":
            return self._json(event.value, where) if self._client else json.loads(event.value[5:])
        return self._avro(event.value, where) if self._client else self._fastavro(event)

    def schema(self, schema_id: int) -> Schema:
        if self._client:
            return self._client.get_schema(schema_id)
        return Schema.from_dict(json.loads((self._folder / "ids.json").read_bytes())["schemas"][str(schema_id)])

    def references(self, schema: Schema) -> dict[str, str]:
        """Texts by name, what is referred to first."""
        found: dict[str, str] = {}
        for reference in schema.references or []:
            target = self._version(str(reference.subject), reference.version or 0)
            found |= {**self.references(target), str(reference.name): str(target.schema_str)}
        return found

    def _version(self, subject: str, version: int) -> Schema:
        if self._client:
            return self._client.get_version(subject, version).schema
        (path,) = [p for s in SUFFIXES.values() if (p := self._folder / subject / f"{version}{s}").is_file()]
        beside = path.with_suffix(".references.json")
        listed = json.loads(beside.read_bytes()) if beside.is_file() else []
        return Schema(path.read_text(), None, [SchemaReference(**entry) for entry in listed])

    def _fastavro(self, event: Event) -> Any:
        if event.schema_id not in self._parsed:
            schema = self.schema(event.schema_id)
            named: dict[str, Any] = {}
            for text in self.references(schema).values():
                fastavro.parse_schema(json.loads(text), named)
            self._parsed[event.schema_id] = fastavro.parse_schema(json.loads(str(schema.schema_str)), named)
        stream = io.BytesIO(event.value[5:])
        value = fastavro.schemaless_reader(stream, self._parsed[event.schema_id], None)
        assert stream.read() == b""
        return value

    def _message(self, event: Event) -> Any:
        key = event.schema_id, _message_path(event.value)
        if key not in self._protobuf:
            schema = self.schema(event.schema_id)
            google = Google(str(schema.schema_str), key[1], self.references(schema))
            self._protobuf[key] = ProtobufDeserializer(google.type, {"use.deprecated.format": False})
        return self._protobuf[key](event.value)


def _message_path(value: bytes) -> tuple[int, ...]:
    """Confluent's message indexes behind the schema's id: how many, then each, as zigzag varints; one 0 is (0,)."""
    stream = io.BytesIO(value[5:])
    return tuple(_varint(stream) for _ in range(_varint(stream))) or (0,)


def _varint(stream: io.BytesIO) -> int:
    number = shift = 0
    while (byte := stream.read(1)[0]) >= 0x80:
        number |= (byte & 0x7F) << shift
        shift += 7
    number |= byte << shift
    return (number >> 1) ^ -(number & 1)


def register(served: Served, subject: str, text: str, kind: str, references: Sequence[SchemaReference] = ()) -> None:
    """Version 1 of a subject: by Confluent's client, or as files in the folder."""
    if "INLAKE_REGISTRY" in served.variables:
        with SchemaRegistryClient({"url": live.SCHEMA_REGISTRY_URL}) as client:
            client.register_schema(subject, Schema(text, kind, list(references)))
        return
    path = served.folder / ".inlake/schemas" / subject / f"1{SUFFIXES[kind]}"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    if references:
        path.with_suffix(".references.json").write_text(json.dumps([r.to_dict() for r in references]))


def topic_of(served: Served, schema: str) -> str:
    return served.variables["INLAKE_TOPIC"].replace("{schema}", schema)


def read_object(served: Served, uri: str) -> bytes:
    """The content of an object by the URI in its event."""
    if uri.startswith("file://"):
        return Path(uri.removeprefix("file://")).read_bytes()
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return asyncio.run(_read_s3(bucket, key))


async def _read_s3(bucket: str, key: str) -> bytes:
    client = get_session().create_client(
        "s3",
        endpoint_url=live.S3_ENDPOINT,
        region_name=live.S3_REGION,
        aws_access_key_id=live.AWS_ACCESS_KEY_ID,
        aws_secret_access_key=live.AWS_SECRET_ACCESS_KEY,
    )
    async with client as s3:
        response = await s3.get_object(Bucket=bucket, Key=key)
        async with response["Body"] as body:
            return bytes(await body.read())
