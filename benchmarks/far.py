"""The gateway's own Kafka producer beside librdkafka's, with 50 ms to the brokers, through toxiproxy.

    services/services.sh run .venv/bin/python -m benchmarks.far [SECONDS] [ROUNDS]

The two take turns. Each is the bus as a deployment has it, with windows as streams make them; the last column is
librdkafka in a loop that does nothing else.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Literal
from uuid import uuid4

import uvloop
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from benchmarks.produce import produce_loop
from inlake.bus.kafka.bus import KafkaBus
from inlake.model import Event, Position

LATENCY_MS = 50
PRODUCERS: tuple[Literal["own", "librdkafka"], ...] = ("own", "librdkafka")


@dataclass(frozen=True, slots=True)
class Far:
    """Events of one size to one topic."""

    partitions: int
    size: int
    window: int
    """Events of a call."""
    calls: int
    """How many wait at the same time."""


CASES = (
    Far(partitions=1, size=120, window=250, calls=32),
    Far(partitions=1, size=900_000, window=1, calls=32),
    Far(partitions=12, size=120, window=250, calls=96),
    Far(partitions=12, size=900_000, window=1, calls=64),
)


def main() -> None:
    seconds, rounds = (float(sys.argv[1]) if sys.argv[1:] else 10.0), int((sys.argv[2:] or ["3"])[0])
    servers = os.environ["KAFKA_FAULT_BOOTSTRAP"]
    delay("POST")
    try:
        print("| partitions | bytes | own, events/s | librdkafka | ratio | librdkafka alone | CPU, us, of each |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for case in CASES:
            measured: list[list[dict[str, float]]] = [[], [], []]
            for _ in range(rounds):
                for column, producer in zip(measured, PRODUCERS, strict=False):
                    column.append(uvloop.run(measure(servers, case, producer, seconds)))
                name = topic(servers, case)
                events = [event for _ in range(case.calls) for event in window(name, case)]
                measured[-1].append(produce_loop(servers, events, seconds))
            own, other, alone = ([each["rate"] for each in column] for column in measured)
            ratio = statistics.median([a / b for a, b in zip(own, other, strict=True)])
            rates = " | ".join(f"{statistics.median(each):,.0f}" for each in (own, other))
            cpu = ", ".join(f"{statistics.median([each['cpu_us'] for each in column]):,.1f}" for column in measured)
            case_ = f"{case.partitions} | {case.size:,}"
            print(f"| {case_} | {rates} | {ratio:.2f} | {statistics.median(alone):,.0f} | {cpu} |", flush=True)
    finally:
        delay("DELETE")


def delay(method: Literal["POST", "DELETE"]) -> None:
    """Has every answer of Kafka come so much later, or at once again."""
    toxics = f"{os.environ['TOXIPROXY_URL']}/proxies/kafka/toxics"
    toxic = {"name": "far", "type": "latency", "stream": "downstream", "attributes": {"latency": LATENCY_MS}}
    address, body = (toxics, json.dumps(toxic).encode()) if method == "POST" else (f"{toxics}/far", None)
    urllib.request.urlopen(urllib.request.Request(address, body, method=method)).close()


def topic(servers: str, case: Far) -> str:
    name = f"far-{uuid4().hex}"
    made = NewTopic(name, case.partitions, 1, config={"retention.bytes": str(64 << 20), "segment.bytes": str(32 << 20)})
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([made])[name].result()
    return name


def window(topic: str, case: Far) -> list[Event]:
    """Events of one key, as those of one schema are."""
    context = (("ce_type", b"note"), ("ce_source", b"/benchmark"), ("content-type", b"application/avro"))
    value, key = os.urandom(case.size), uuid4().hex.encode()
    return [Event(str(uuid4()), topic, key, value, context) for _ in range(case.window)]


async def measure(servers: str, case: Far, producer: Literal["own", "librdkafka"], seconds: float) -> dict[str, float]:
    """What `produce_loop` tells, from the first answers on."""
    name = await asyncio.to_thread(topic, servers, case)
    bus, confirmed, end = KafkaBus(servers, producer=producer), 0, 0.0

    async def publish() -> None:
        nonlocal confirmed
        events = window(name, case)
        while time.monotonic() < end:
            results = await bus.publish(events)
            if failed := [result for result in results if not isinstance(result, Position)]:
                raise RuntimeError(f"{failed[0]}")
            confirmed += len(results)

    while not isinstance((await bus.publish(window(name, case)))[0], Position):
        await asyncio.sleep(0.1)
    began, used = time.monotonic(), time.process_time()
    end = began + seconds
    await asyncio.gather(*[publish() for _ in range(case.calls)])
    took, used = time.monotonic() - began, time.process_time() - used
    await bus.close()
    return {"rate": confirmed / took, "cpu_us": used / confirmed * 1e6}


if __name__ == "__main__":
    main()
