"""Kafka, registry and S3 absent at the start and taken away under load: bounded 503s, recovery without a restart."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiokafka
import httpx2
import pytest

from tests import live_servers as live
from tests.command import Served, serving
from tests.toxiproxy import Proxy, kafka_proxy, proxy_to

pytestmark = [pytest.mark.live, pytest.mark.slow]
NOTE = """{"type": "record", "name": "Note", "fields": [
  {"name": "n", "type": "int"}, {"name": "__resource_path__", "type": ["null", "string"], "default": null}]}"""
BOUND = 15.0
"""Seconds within which every request must have its answer: the bus may take 5 here, the store 5, the registry 5."""


@dataclass
class World:
    """A gateway whose three dependencies stand behind proxies."""

    served: Served
    kafka: Proxy
    registry: Proxy
    s3: Proxy
    topic: str

    def post(self, n: int, schema: str = "note") -> httpx2.Response:
        return httpx2.post(f"{self.served.url}/ingress/record-json?schema={schema}", json={"n": n}, timeout=60)

    def post_with_file(self, n: int) -> httpx2.Response:
        files: Any = {"record": (None, json.dumps({"n": n})), "file": ("a.bin", b"x" * 100_000)}
        return httpx2.post(f"{self.served.url}/ingress/record-json-and-binary?schema=note", files=files, timeout=60)


@contextlib.contextmanager
def world(folder: Path, *, absent: bool) -> Iterator[World]:
    for what, address in (
        ("Kafka", live.KAFKA_BOOTSTRAP),
        ("registry", live.SCHEMA_REGISTRY_URL),
        ("S3", live.S3_ENDPOINT),
        ("Toxiproxy", live.TOXIPROXY_URL),
    ):
        live.require(what, address)
    tag = uuid.uuid4().hex[:12]
    registry, s3 = urlsplit(live.SCHEMA_REGISTRY_URL), urlsplit(live.S3_ENDPOINT)
    with kafka_proxy() as kafka, proxy_to(registry.netloc) as registry_proxy, proxy_to(s3.netloc) as s3_proxy:
        proxies = (kafka, registry_proxy, s3_proxy)
        variables = {
            "INLAKE_BUS": f"kafka://{kafka.address}",
            "INLAKE_KAFKA_CREATE_TOPICS": "true",
            "INLAKE_STORE": f"s3://{live.S3_BUCKET}/{tag}",
            "INLAKE_REGISTRY": f"http://{registry_proxy.address}{registry.path}",
            "INLAKE_TOPIC": f"{tag}.{{schema}}",
            "INLAKE_SUBJECT": f"{{schema}}-{tag}",
            "INLAKE_BUS_TIMEOUT": "5",
            "INLAKE_STORE_TIMEOUT": "5",
            "INLAKE_SWEEP_SECONDS": "2",
            "AWS_ENDPOINT_URL_S3": f"http://{s3_proxy.address}",
            "AWS_REGION": live.S3_REGION,
            "AWS_ACCESS_KEY_ID": live.AWS_ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": live.AWS_SECRET_ACCESS_KEY,
        }
        schema = folder / "note.avsc"
        schema.write_text(NOTE)
        if absent:
            for proxy in proxies:
                proxy.down()
        with serving(folder, **variables) as served:
            if not absent:
                added = served.inlake("schemas", "add", "note", schema)
                assert added.returncode == 0, added.stderr
            yield World(served, *proxies, topic=f"{tag}.note")


def until_accepted(post: Callable[[int], httpx2.Response], seconds: float = 40) -> httpx2.Response:
    end = time.monotonic() + seconds
    while (answer := post(0)).status_code != 201:
        assert answer.status_code == 503, answer.text
        assert time.monotonic() < end, answer.text
        time.sleep(0.2)
    return answer


def expect_503(post: Callable[[int], httpx2.Response]) -> None:
    began = time.monotonic()
    answer = post(0)
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["retry-after"]) > 0
    assert time.monotonic() - began < BOUND


def test_a_gateway_starts_without_its_dependencies_and_works_when_they_come(tmp_path: Path) -> None:
    with world(tmp_path, absent=True) as w:
        ready = httpx2.get(f"{w.served.url}/health/ready", timeout=30)
        assert ready.status_code == 503
        assert [name for name, check in ready.json()["checks"].items() if check["ok"]] == [], ready.text
        expect_503(w.post)
        w.registry.up()
        assert w.served.inlake("schemas", "add", "note", tmp_path / "note.avsc").returncode == 0
        expect_503(w.post)
        expect_503(w.post_with_file)
        w.s3.up()
        expect_503(w.post_with_file)
        w.kafka.up()
        until_accepted(w.post)
        until_accepted(w.post_with_file)
        assert httpx2.get(f"{w.served.url}/health/ready", timeout=30).status_code == 200


@dataclass
class Load:
    """Clients that keep sending, and what they were told."""

    world: World
    stop: threading.Event = field(default_factory=threading.Event)
    accepted: list[str] = field(default_factory=list)
    answers: list[tuple[int, float]] = field(default_factory=list)

    def run(self) -> None:
        with httpx2.Client(timeout=60) as client:
            url = f"{self.world.served.url}/ingress/record-json?schema=note"
            while not self.stop.is_set():
                began = time.monotonic()
                answer = client.post(url, json={"n": 1})
                self.answers.append((answer.status_code, time.monotonic() - began))
                if answer.status_code == 201:
                    self.accepted.append(answer.json()["id"])
                else:
                    assert int(answer.headers["retry-after"]) > 0
                    time.sleep(0.05)


def test_each_dependency_may_go_and_come_back_under_load_and_nothing_answered_is_lost(tmp_path: Path) -> None:
    with world(tmp_path, absent=False) as w:
        until_accepted(w.post)
        load = Load(w)
        clients = [threading.Thread(target=load.run) for _ in range(4)]
        for client in clients:
            client.start()
        try:
            w.registry.down()
            assert w.post(1).status_code == 201, "the last known schema stands while the registry is away"
            expect_503(lambda n: w.post(n, schema="another"))
            w.registry.up()
            w.s3.down()
            expect_503(w.post_with_file)
            assert w.post(1).status_code == 201, "a record without a binary needs no store"
            w.s3.up()
            until_accepted(w.post_with_file)
            w.kafka.down()
            expect_503(w.post)
            expect_503(w.post_with_file)
            time.sleep(2)
            w.kafka.up()
            until_accepted(w.post)
            until_accepted(w.post_with_file)
        finally:
            load.stop.set()
            for client in clients:
                client.join(60)
        assert {status for status, _ in load.answers} == {201, 503}
        assert max(seconds for _, seconds in load.answers) < BOUND
        on_kafka = asyncio.run(_ids(w.topic))
        assert set(load.accepted) <= set(on_kafka)
        assert len(set(load.accepted)) == len(load.accepted)


async def _ids(topic: str) -> list[str]:
    consumer = aiokafka.AIOKafkaConsumer(topic, bootstrap_servers=live.KAFKA_BOOTSTRAP, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        found: list[str] = []
        while any([await consumer.position(p) < end for p, end in ends.items()]):
            for messages in (await consumer.getmany(timeout_ms=1000)).values():
                found += [dict(m.headers)["ce_id"].decode() for m in messages]
        return found
    finally:
        await consumer.stop()
