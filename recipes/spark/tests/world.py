"""A deployment for tests, and what others see of it: messages are read with librdkafka, which publishes none here."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import boto3
from botocore.config import Config
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.schema_registry import Schema, SchemaReference
from tests import live_servers

from inlake.model import Label
from inlake.settings import load
from inlake.wiring import connect_registry
from inlake_spark import driver
from inlake_spark.job import Job

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
SCHEMAS = {s["name"]: s for s in json.loads((EXAMPLES / "index.json").read_text())["schemas"]}
OWN_TO_EACH = {"ce_id", "ce_time"}
"""Headers that no two runs of the gateway share."""

PATH_STYLE = Config(s3={"addressing_style": "path"})
S3_KEYS = {
    "aws_access_key_id": live_servers.AWS_ACCESS_KEY_ID,
    "aws_secret_access_key": live_servers.AWS_SECRET_ACCESS_KEY,
    "region_name": live_servers.S3_REGION,
}
NOTE = json.dumps({"type": "record", "name": "Note", "fields": [{"name": "title", "type": "string"}]})


class Message(NamedTuple):
    """A message as a consumer gets it."""

    partition: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]

    @property
    def id(self) -> str:
        return dict(self.headers)["ce_id"].decode()

    @property
    def shared(self) -> tuple[Any, ...]:
        """All of it that depends on record and settings alone."""
        own = tuple(header for header in self.headers if header[0] not in OWN_TO_EACH)
        return self.partition, self.key, self.value, own


class World:
    """A deployment."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)

    def register(self, *names: str) -> None:
        """Adds examples to the registry; what they refer to comes first."""
        settings = load(self.environment)

        async def add() -> None:
            registry = connect_registry(settings)
            try:
                for name in names:
                    told = SCHEMAS[name]
                    references = [
                        SchemaReference(r["name"], settings.subject_of(r["subject"]), r["version"])
                        for r in told.get("references", [])
                    ]
                    text = (EXAMPLES / told["file"]).read_text()
                    await registry.register(settings.subject_of(name), Schema(text, told["language"], references))
            finally:
                await registry.close()

        asyncio.run(add())

    def register_text(self, name: str, text: str, language: str = "AVRO") -> None:
        """Adds a schema of the test's own."""
        settings = load(self.environment)

        async def add() -> None:
            registry = connect_registry(settings)
            try:
                await registry.register(settings.subject_of(name), Schema(text, language))
            finally:
                await registry.close()

        asyncio.run(add())

    def delete(self, name: str) -> None:
        """Takes a schema out of the registry."""
        url = f"{self.environment['INLAKE_REGISTRY']}/subjects/{load(self.environment).subject_of(name)}"
        for query in ("", "?permanent=true"):
            request = urllib.request.Request(url + query, method="DELETE")
            urllib.request.urlopen(request, timeout=20).close()

    def put(self, key: str, content: bytes) -> str:
        """Puts an object into the lake, which is the bucket of the store beside its prefix; its URI for Spark."""
        bucket, own = self.environment["INLAKE_STORE"].removeprefix("s3://").split("/")
        client = boto3.client("s3", endpoint_url=live_servers.S3_ENDPOINT, config=PATH_STYLE, **S3_KEYS)
        client.put_object(Bucket=bucket, Key=f"lake-{own}/{key}", Body=content)
        return f"{self.lake}/{key}"

    @property
    def lake(self) -> str:
        """The lake's URI for Spark."""
        bucket, own = self.environment["INLAKE_STORE"].removeprefix("s3://").split("/")
        return f"s3a://{bucket}/lake-{own}"

    def topic(self, schema: str) -> str:
        return load(self.environment).topic_of(schema)

    def job(self, schema: str, **label: Any) -> Job:
        return asyncio.run(driver.prepare(self.environment, Label(schema, **label), "test"))

    def count(self, topic: str) -> int:
        """Messages in a topic. Raises KeyError where there is none."""
        with self._consumer() as consumer:
            return sum(self._ends(consumer, topic).values())

    def messages(self, topic: str) -> list[Message]:
        """All messages of a topic, read from its start."""
        found: list[Message] = []
        with self._consumer() as consumer:
            ends = {n: end for n, end in self._ends(consumer, topic).items() if end}
            consumer.assign([TopicPartition(topic, n, 0) for n in ends])
            left = set(ends)
            while left:
                for given in consumer.consume(1000, timeout=10):
                    message: Any = given
                    assert message.error() is None, message.error()
                    headers = tuple(message.headers() or ())
                    found.append(Message(message.partition(), message.key(), message.value(), headers))
                    if message.offset() + 1 >= ends[message.partition()]:
                        left.discard(message.partition())
        return found

    @contextmanager
    def _consumer(self) -> Iterator[Consumer]:
        bootstrap = self.environment["INLAKE_BUS"].removeprefix("kafka://")
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test", "enable.auto.commit": False})
        try:
            yield consumer
        finally:
            consumer.close()

    def _ends(self, consumer: Consumer, topic: str) -> dict[int, int]:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        return {n: consumer.get_watermark_offsets(TopicPartition(topic, n), timeout=10)[1] for n in partitions}
