"""What is really on the bus and in the store, read without the gateway's code, and whether it is what was promised."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import aiokafka
import boto3
import fastavro

from tests import live_servers as live
from tests.command import inlake
from tests.load import Accepted

NOTE = {
    "type": "record",
    "name": "Note",
    "fields": [
        {"name": "n", "type": "long"},
        {"name": "__resource_path__", "type": ["null", "string"], "default": None},
    ],
}


class Seen(NamedTuple):
    """An event as it stands on the bus."""

    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]

    def header(self, name: str) -> str:
        return dict(self.headers).get(name, b"").decode()


class Witness(Protocol):
    """Reads bus and store."""

    def events(self) -> list[Seen]: ...

    def all_keys(self) -> list[str]:
        """All keys of the store, the gateway's own too."""
        ...

    def data(self, key: str) -> bytes: ...

    def key_of(self, uri: str) -> str:
        """Key of the object that a URI names."""
        ...


@dataclass(frozen=True)
class Deployment:
    """Settings of a gateway whose schema `note` is registered, and the witness of what it does."""

    folder: Path
    variables: dict[str, str]
    witness: Witness


class Files:
    """Of an embedded gateway: sqlite3 and plain files."""

    def __init__(self, events: Path, store: Path) -> None:
        self._events, self._store = events, store

    def events(self) -> list[Seen]:
        with contextlib.closing(sqlite3.connect(self._events)) as log:
            rows = log.execute('SELECT topic, "offset", key, value, headers FROM events ORDER BY 2').fetchall()
        return [
            Seen(topic, 0, offset, key, value, tuple((name, text.encode()) for name, text in json.loads(headers)))
            for topic, offset, key, value, headers in rows
        ]

    def all_keys(self) -> list[str]:
        # os.walk passes over folders that the gateway removes meanwhile, where rglob would fail
        found = [Path(folder, name) for folder, _, names in os.walk(self._store) for name in names]
        return [str(path.relative_to(self._store)) for path in found]

    def data(self, key: str) -> bytes:
        return (self._store / key).read_bytes()

    def key_of(self, uri: str) -> str:
        return str(Path(unquote(urlsplit(uri).path)).relative_to(self._store))

    def integrity(self) -> str:
        with contextlib.closing(sqlite3.connect(self._events)) as log:
            return str(log.execute("PRAGMA integrity_check").fetchone()[0])


class Servers:
    """Of a gateway on Kafka and S3: aiokafka and boto3."""

    def __init__(self, topic: str, prefix: str) -> None:
        self._topic, self._prefix = topic, prefix
        self.s3: Any = boto3.client(
            "s3",
            endpoint_url=live.S3_ENDPOINT,
            region_name=live.S3_REGION,
            aws_access_key_id=live.AWS_ACCESS_KEY_ID,
            aws_secret_access_key=live.AWS_SECRET_ACCESS_KEY,
        )

    def events(self) -> list[Seen]:
        return asyncio.run(_consume(self._topic))

    def all_keys(self, prefix: str = "") -> list[str]:
        pages = self.s3.get_paginator("list_objects_v2").paginate(
            Bucket=live.S3_BUCKET, Prefix=f"{self._prefix}/{prefix}"
        )
        return [found["Key"].removeprefix(f"{self._prefix}/") for page in pages for found in page.get("Contents", [])]

    def data(self, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=live.S3_BUCKET, Key=f"{self._prefix}/{key}")["Body"].read())

    def key_of(self, uri: str) -> str:
        return uri.removeprefix(f"s3://{live.S3_BUCKET}/{self._prefix}/")

    def unfinished(self) -> int:
        """Multipart uploads that nobody completes: a lifecycle rule of the bucket removes them (docs/adr/0001)."""
        found = self.s3.list_multipart_uploads(Bucket=live.S3_BUCKET, Prefix=f"{self._prefix}/")
        return len(found.get("Uploads", []))

    def remove(self) -> None:
        for upload in self.s3.list_multipart_uploads(Bucket=live.S3_BUCKET, Prefix=f"{self._prefix}/").get(
            "Uploads", []
        ):
            self.s3.abort_multipart_upload(Bucket=live.S3_BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
        with ThreadPoolExecutor(8) as pool:
            list(
                pool.map(
                    lambda k: self.s3.delete_object(Bucket=live.S3_BUCKET, Key=f"{self._prefix}/{k}"), self.all_keys()
                )
            )
        self.s3.close()


async def _consume(topic: str) -> list[Seen]:
    consumer = aiokafka.AIOKafkaConsumer(topic, bootstrap_servers=live.KAFKA_BOOTSTRAP, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        found: list[Seen] = []
        while any([await consumer.position(p) < end for p, end in ends.items()]):
            for messages in (await consumer.getmany(timeout_ms=1000)).values():
                found += [Seen(m.topic, m.partition, m.offset, m.key, m.value, tuple(m.headers)) for m in messages]
        return found
    finally:
        await consumer.stop()


@contextlib.contextmanager
def embedded(folder: Path, *, disk: Path | None = None, **settings: str) -> Iterator[Deployment]:
    """The events are in `events.db`, the objects in `store`, both in the folder `disk`."""
    disk = disk or folder
    variables = {
        "INLAKE_BUS": f"sqlite:{disk}/events.db",
        "INLAKE_STORE": f"file:{disk}/store",
        "INLAKE_REGISTRY": f"dir:{folder}/schemas",
        **settings,
    }
    _register(folder, variables)
    yield Deployment(folder, variables, Files(disk / "events.db", disk / "store"))


@contextlib.contextmanager
def on_servers(folder: Path, **settings: str) -> Iterator[Deployment]:
    """Kafka, registry and S3 with a topic, a subject and a prefix of its own; the objects are removed at the end."""
    for what, address in (
        ("Kafka", live.KAFKA_BOOTSTRAP),
        ("registry", live.SCHEMA_REGISTRY_URL),
        ("S3", live.S3_ENDPOINT),
    ):
        live.require(what, address)
    tag = uuid4().hex[:12]
    variables = {
        "INLAKE_BUS": f"kafka://{live.KAFKA_BOOTSTRAP}",
        "INLAKE_KAFKA_CREATE_TOPICS": "true",
        "INLAKE_STORE": f"s3://{live.S3_BUCKET}/{tag}",
        "INLAKE_REGISTRY": live.SCHEMA_REGISTRY_URL,
        "INLAKE_TOPIC": f"{tag}.{{schema}}",
        "INLAKE_SUBJECT": f"{{schema}}-{tag}",
        "AWS_ENDPOINT_URL_S3": live.S3_ENDPOINT,
        "AWS_REGION": live.S3_REGION,
        "AWS_ACCESS_KEY_ID": live.AWS_ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": live.AWS_SECRET_ACCESS_KEY,
        **settings,
    }
    _register(folder, {**variables, "INLAKE_REGISTRY": live.SCHEMA_REGISTRY_URL})
    witness = Servers(f"{tag}.note", tag)
    try:
        yield Deployment(folder, variables, witness)
    finally:
        witness.remove()


def _register(folder: Path, variables: dict[str, str]) -> None:
    schema = folder / "note.avsc"
    schema.write_text(json.dumps(NOTE))
    added = inlake("schemas", "add", "note", schema, code="", stdin=b"", cwd=folder, **variables)
    assert added.returncode == 0, added.stderr


def wait_until_settled(witness: Witness, seconds: float) -> None:
    """Return when no promise has work left."""
    end = time.monotonic() + seconds
    while still := [key for key in witness.all_keys() if key.startswith(".inlake/open/")]:
        assert time.monotonic() < end, f"still open after {seconds:g} s: {still}"
        time.sleep(0.5)


def check(accepted: Iterable[Accepted], witness: Witness, *, settled: bool) -> str:
    """Everything that was answered 201 is true; with `settled` also that no promise is open and each object belongs to
    one that is published. A summary to print."""
    events = witness.events()
    _check_receipts(accepted, events)
    repeats = _check_repeats(events)
    objects = {key: witness.data(key) for key in witness.all_keys() if not key.startswith(".inlake/")}
    _check_objects(events, witness, objects)
    total = sum(map(len, objects.values())) >> 20
    facts = dict(_check_explained(witness, set(objects))) if settled else "not settled"
    return f"{len(events)} events ({repeats} repeats), {len(objects)} objects of {total} MiB, promises: {facts}"


def _uri(event: Seen) -> str:
    return event.header("inlake_resource_uri")


def _check_receipts(accepted: Iterable[Accepted], events: list[Seen]) -> None:
    at = {event[:3]: event for event in events}
    for a in accepted:
        event = at.get(a.place)
        assert event is not None, f"{a} is not on the bus"
        assert event.header("ce_id") == a.id
        assert event.header("inlake_resource_sha256") == (a.sha256 or "")
        record: Any = fastavro.schemaless_reader(io.BytesIO(event.value[5:]), NOTE, None)
        assert record["n"] == a.n
        assert record["__resource_path__"] == (_uri(event) or None)


def _check_repeats(events: list[Seen]) -> int:
    """How many events are repeats; each is the same event, and a promise has one event."""
    of_id: dict[str, Seen] = {}
    of_promise: dict[str, str] = {}
    for event in events:
        first = of_id.setdefault(event.header("ce_id"), event)
        assert first[3:] == event[3:], "a repeat has the same key, value and headers"
        if puuid := event.header("inlake_puuid"):
            assert of_promise.setdefault(puuid, event.header("ce_id")) == event.header("ce_id")
    return len(events) - len(of_id)


def _check_objects(events: list[Seen], witness: Witness, objects: dict[str, bytes]) -> None:
    """Every object that an event names is there, and whole."""
    digests = {key: (len(data), hashlib.sha256(data).hexdigest()) for key, data in objects.items()}
    for event in events:
        if uri := _uri(event):
            said = (int(event.header("inlake_resource_size")), event.header("inlake_resource_sha256"))
            assert digests.get(witness.key_of(uri)) == said, uri


def _check_explained(witness: Witness, objects: set[str]) -> Counter[str]:
    """Every object belongs to a promise that is published, every promise has come to an end. Counts by last fact."""
    logs: dict[str, list[str]] = {}
    for key in witness.all_keys():
        if key.startswith(".inlake/promises/"):
            logs.setdefault(key.split("/")[2], []).append(key)
    facts, published = Counter[str](), set()
    with ThreadPoolExecutor(8) as pool:
        for first, last in pool.map(lambda keys: _ends(witness, keys), logs.values()):
            facts[last["fact"]] += 1
            if last["fact"] == "published":
                published.add(first["key"])
    assert facts.keys() <= {"published", "expired", "failed"}, facts
    assert objects == published
    return facts


def _ends(witness: Witness, keys: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The first entry of a log, and the last that says how it ended; who removes what is left may note that after it."""
    keys.sort(key=lambda key: int(Path(key).stem))
    assert [int(Path(key).stem) for key in keys] == list(range(len(keys)))
    first = json.loads(witness.data(keys[0]))
    while (last := json.loads(witness.data(keys.pop())))["fact"] == "removing":
        assert keys, "it has ended before"
    return first, last
