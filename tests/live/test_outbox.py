"""Kafka gone under load, the gateway killed meanwhile, or its disk full: nothing is refused, lost, or out of order.

`INLAKE_TEST_OUTAGE=300` makes it five minutes.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import aiokafka
import httpx2
import psutil
import pytest

from inlake.bus.outbox.bus import OutboxBus
from inlake.model import Event, InOutbox
from tests import live_servers as live
from tests.away import AwayBus
from tests.command import Served, free_port, log_of, start, wait_until_alive
from tests.live.test_full_disk import small_disk
from tests.load import MIB
from tests.toxiproxy import kafka_proxy

pytestmark = pytest.mark.slow
OUTAGE = float(os.environ.get("INLAKE_TEST_OUTAGE", "6"))
"""Seconds for which Kafka is gone."""
PAUSE = 0.01
"""Seconds between two requests of a client, so that the machine is left something."""
LINES = 30
"""Records of a stream."""
NOTE = '{"type": "record", "name": "Note", "fields": [{"name": "n", "type": "int"}]}'


@dataclass
class Client:
    """Sends numbers under a key of its own, each until it is accepted, and remembers what it was told."""

    name: str
    url: str
    stop: threading.Event
    accepted: list[int] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    """0: the connection was lost."""
    slowest: float = 0.0

    def run(self) -> None:
        numbers = itertools.count()
        with httpx2.Client(timeout=60, trust_env=False) as http:
            for turn in itertools.count():
                if self.stop.is_set():
                    return
                wanted = list(itertools.islice(numbers, LINES if turn % 5 == 0 else 1))
                close = {"connection": "close"} if turn % 3 == 0 else {}  # the next may come to another worker
                while not self._send(http, wanted, close):
                    time.sleep(0.1)
                self.accepted += wanted
                time.sleep(PAUSE)

    def _send(self, http: httpx2.Client, wanted: list[int], headers: dict[str, str]) -> bool:
        body, began = "\n".join(json.dumps({"n": n}) for n in wanted), time.monotonic()
        kind = "application/x-ndjson" if len(wanted) > 1 else "application/json"
        try:
            answer = http.post(
                f"{self.url}&destination={self.name}", content=body, headers=headers | {"content-type": kind}
            )
        except httpx2.TransportError:
            self.statuses[0] += 1
            return False
        statuses = [answer.status_code]
        if len(wanted) > 1 and answer.status_code < 400:
            statuses = [json.loads(line)["status"] for line in answer.text.splitlines()[:-1]]
        self.statuses.update(statuses)
        self.slowest = max(self.slowest, time.monotonic() - began)
        return len(statuses) == len(wanted) and set(statuses) <= {201, 202}


def kill(served: Served) -> None:
    """The gateway and all its workers, at once."""
    processes = [psutil.Process(served.process.pid), *psutil.Process(served.process.pid).children(recursive=True)]
    for process in processes:
        process.send_signal(signal.SIGKILL)
    served.process.wait()
    psutil.wait_procs(processes, timeout=10)


def gateway(folder: Path, variables: dict[str, str]) -> Served:
    served = start(folder, **variables)
    wait_until_alive(served)
    return served


async def read(topic: str) -> list[aiokafka.ConsumerRecord[bytes, bytes]]:
    """All messages of a topic, those of a partition in their order."""
    consumer = aiokafka.AIOKafkaConsumer(topic, bootstrap_servers=live.KAFKA_BOOTSTRAP, auto_offset_reset="earliest")
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        found = []
        while any([await consumer.position(p) < end for p, end in ends.items()]):
            for messages in (await consumer.getmany(timeout_ms=1000)).values():
                found += messages
        return found
    finally:
        await consumer.stop()


def number(value: bytes) -> int:
    """The Avro int behind the five bytes of the wire format (zigzag, seven bits a byte)."""
    coded = sum((byte & 0x7F) << (7 * at) for at, byte in enumerate(value[5:]))
    return (coded >> 1) ^ -(coded & 1)


@pytest.mark.live
@pytest.mark.timeout(OUTAGE + 240)
def test_kafka_may_be_gone_under_load_and_the_gateway_be_killed(tmp_path: Path) -> None:
    live.require("Kafka", live.KAFKA_BOOTSTRAP)
    live.require("Toxiproxy", live.TOXIPROXY_URL)
    (tmp_path / "schemas").mkdir()
    (tmp_path / "schemas" / "note.avsc").write_text(NOTE)
    topic, port = f"outbox-{uuid4().hex[:12]}.note", free_port()
    with kafka_proxy() as kafka:
        variables = {
            "INLAKE_PORT": str(port),
            "INLAKE_URL": f"http://127.0.0.1:{port}",
            "INLAKE_WORKERS": "2",
            "INLAKE_BUS": f"kafka://{kafka.address}",
            "INLAKE_KAFKA_CREATE_TOPICS": "true",
            "INLAKE_TOPIC": topic.replace("note", "{schema}"),
            "INLAKE_STORE": f"file:{tmp_path / 'store'}",
            "INLAKE_REGISTRY": f"dir:{tmp_path / 'schemas'}",
            "INLAKE_OUTBOX": f"sqlite:{tmp_path / 'outbox.db'}",
            "INLAKE_LOG_LEVEL": "warning",
        }
        served, stop = gateway(tmp_path, variables), threading.Event()
        url = f"{served.url}/ingress/record-json?schema=note"
        end = time.monotonic() + 60
        while httpx2.post(url, json={"n": 0}, timeout=30).status_code != 201:  # the topic is being made
            assert time.monotonic() < end
            time.sleep(0.2)
        clients = [Client(f"client-{n}", url, stop) for n in range(4)]
        threads = [threading.Thread(target=client.run) for client in clients]
        try:
            for thread in threads:
                thread.start()
            time.sleep(1)
            kafka.poison("timeout", timeout=0)  # the connections stand, and nothing comes back
            time.sleep(OUTAGE / 3)
            kill(served)
            kafka.down()
            served = gateway(tmp_path, variables)
            time.sleep(OUTAGE / 3)
            kill(served)
            served = gateway(tmp_path, variables)
            time.sleep(OUTAGE / 3)
            ready = httpx2.get(f"{served.url}/health/ready", timeout=30)
            assert ready.status_code == 200, ready.text
            assert "wait in the outbox" in ready.text
            kafka.heal()
            wait_until_direct(url)
        finally:
            stop.set()
            for thread in threads:
                thread.join(90)
            served.process.terminate()
            code = served.process.wait(60)
        assert code == 0, log_of(served)
        check(clients, asyncio.run(read(topic)))


def wait_until_direct(url: str) -> None:
    """Until records go straight to Kafka again, under the same load."""
    end = time.monotonic() + 60 + OUTAGE
    in_a_row = 0
    while in_a_row < 20:
        assert time.monotonic() < end, "the outbox is not drained"
        answer = httpx2.post(url, json={"n": 0}, timeout=30)
        assert answer.status_code in {201, 202}, answer.text
        in_a_row = in_a_row + 1 if answer.status_code == 201 else 0


def check(clients: list[Client], messages: list[aiokafka.ConsumerRecord[bytes, bytes]]) -> None:
    """Nothing was refused, nothing lost, and the first appearances of each key are in the order of its client."""
    statuses = sum((client.statuses for client in clients), Counter[int]())
    ids = [dict(message.headers)["ce_id"] for message in messages]
    waited = sum(dict(message.headers).get("inlake_outbox") == b"true" for message in messages)
    slowest = max(client.slowest for client in clients)
    print(f"{OUTAGE:g} s: {dict(statuses)}, {len(ids):,} events, {len(ids) - len(set(ids))} repeats, {slowest:.1f} s")
    assert statuses.keys() <= {0, 201, 202}, statuses
    assert statuses[201] > 0
    assert 0 < statuses[202] <= waited
    for client in clients:
        key = f"note/{client.name}".encode()
        of_key = [number(message.value or b"") for message in messages if message.key == key]
        first = list(dict.fromkeys(of_key))
        assert first == sorted(first), client.name
        assert set(client.accepted) <= set(first), client.name


def events(count: int) -> Iterator[Event]:
    for n in range(count):
        yield Event(str(uuid4()), "notes", b"note", b"%06d" % n + bytes(20_000), ())


async def test_a_full_disk_refuses_what_comes_and_lets_go_of_what_waits(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 64 * MIB) as disk:
        inner = AwayBus(tmp_path / "events.db")
        bus = OutboxBus(inner, disk / "outbox.db", most_bytes=1 << 30, seconds=1)
        inner.state = "down"
        taken: list[bytes] = []
        for event in events(10_000):
            (result,) = await bus.publish([event])
            if not isinstance(result, InOutbox):
                assert "free some disk space" in result.detail  # type: ignore[union-attr]
                break
            taken.append(event.value[:6])
        assert len(taken) > 100
        filler = disk / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(16 << 10)):
                pass
        inner.state = "up"
        draining = asyncio.create_task(bus.drain())
        await asyncio.sleep(2)
        print("without a byte left:", bus._table.state().events, "of", len(taken), "wait")
        filler.unlink()
        end = time.monotonic() + 30
        while bus._table.state().waiting:
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        draining.cancel()
        await asyncio.wait([draining])
        found = [(message.value or b"")[:6] async for message in inner.read()]
        assert found == taken
        await bus.close()
