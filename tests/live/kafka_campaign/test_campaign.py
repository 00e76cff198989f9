"""Every scenario with both producers: each answered record's place, bytes, order and doubles, by an independent reader.

INLAKE_TEST_KAFKA_CAMPAIGN=1 runs all scenarios; otherwise those that are short, with our own producer.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal
from uuid import uuid4

import pytest
from confluent_kafka import ElectionType, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic

from inlake.bus.kafka.bus import KafkaBus
from inlake.errors import Unavailable
from inlake.model import Event, Position
from tests.kafka_cluster import Cluster, some_brokers
from tests.kafka_said import Said
from tests.live.kafka_campaign.scenarios import SCENARIOS, Deed, Scenario

pytestmark = [pytest.mark.live, pytest.mark.slow]

ALL = os.environ.get("INLAKE_TEST_KAFKA_CAMPAIGN") == "1"
PARTITIONS = 6
LIMIT = "socket.request.max.bytes=1046528\nunclean.leader.election.enable=false\n"
"""Of Azure Event Hubs: a broker hangs up on a larger request."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("kafka")
    (folder / "jwks.json").write_text('{"keys": []}')
    with some_brokers(folder, folder / "jwks.json", 3, LIMIT) as cluster:
        yield cluster


class Stage:
    """The brokers and the topic of one scenario, and how to do to them what it says."""

    def __init__(self, cluster: Cluster) -> None:
        self.topic = f"campaign-{uuid4().hex}"
        self.servers = ",".join(broker.addresses["PLAINTEXT"] for broker in cluster.brokers)
        self._cluster = cluster
        self.admin = AdminClient({"bootstrap.servers": cluster.first.addresses["PLAINTEXT"], "log_level": 0})
        topic = NewTopic(self.topic, PARTITIONS, 3, config={"min.insync.replicas": "2"})
        self.admin.create_topics([topic])[self.topic].result()

    def do(self, deed: Deed, which: int) -> None:
        broker = self._cluster.brokers[which] if which < len(self._cluster.brokers) else None
        match deed:
            case "stop" if broker:
                broker.process.send_signal(signal.SIGSTOP)
            case "kill" if broker:
                broker.process.kill()
                broker.process.wait()
            case "start" if broker:
                broker.start()
            case "move":
                self._move_leaders()
            case "quota":
                self._set_quota(which)
            case "largest":
                entry = ConfigEntry(
                    "max.message.bytes", str(which or 1_048_588), incremental_operation=AlterConfigOpType.SET
                )
                resource = ConfigResource(ResourceType.TOPIC, self.topic, incremental_configs=[entry])
                self.admin.incremental_alter_configs([resource])[resource].result()

    def heal(self) -> None:
        for broker in self._cluster.brokers:
            broker.start()

    def _move_leaders(self) -> None:
        """Elects whoever is preferred, after another broker was kept from leading for a moment."""
        broker = self._cluster.brokers[random.choice([1, 2])]
        broker.process.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        broker.process.send_signal(signal.SIGCONT)
        places = [TopicPartition(self.topic, partition) for partition in range(PARTITIONS)]
        self.admin.elect_leaders(ElectionType.PREFERRED, places).result()

    def _set_quota(self, rate: int) -> None:
        """producer_byte_rate of every client id without one of its own, by Kafka's ALTER_CLIENT_QUOTAS, version 0."""
        operation = struct.pack(">h18sd?", 18, b"producer_byte_rate", float(rate), rate == 0)
        body = struct.pack(">iih9shi", 1, 1, 9, b"client-id", -1, 1) + operation + b"\0"
        request = struct.pack(">hhih", 49, 0, 1, -1) + body
        host, _, port = self._cluster.first.addresses["PLAINTEXT"].partition(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = connection.recv(1000)
        assert struct.unpack_from(">h", answer, 16) == (0,), answer


@dataclass
class Publisher:
    """Publishes windows of all sizes, one after the other, and again what was not confirmed, as clients do."""

    name: int
    stage: Stage
    scenario: Scenario
    said: Said = field(default_factory=Said)
    silence: float = 0.0
    """Most seconds between two confirmed windows."""

    async def publish_until(self, end: float, bus: KafkaBus) -> None:
        chance, last, again = random.Random(self.name), time.monotonic(), list[Event]()
        while time.monotonic() < end:
            count = chance.choice([1, 1, 10, 300]) if self.scenario.size < 10_000 else 2
            results = await self.said.publish(bus, *again, *[self.event(chance) for _ in range(count)])
            events = [event for event, _ in self.said.told[-len(results) :]]
            again = [event for event, result in zip(events, results, strict=True) if isinstance(result, Unavailable)][
                :300
            ]
            if any(isinstance(result, Position) for result in results):
                self.silence, last = max(self.silence, time.monotonic() - last), time.monotonic()
            await asyncio.sleep(0.01)
        self.silence = max(self.silence, time.monotonic() - last)

    def event(self, chance: random.Random) -> Event:
        key = b"%d-%d" % (self.name, chance.randrange(8))
        return Event(str(uuid4()), self.stage.topic, key, chance.randbytes(chance.randrange(self.scenario.size)), ())


RUNS = [
    pytest.param(scenario, producer, id=f"{scenario.name}, {producer}")
    for producer in ("own", "librdkafka")
    for scenario in SCENARIOS
    if ALL or (scenario.short and producer == "own")
]


@pytest.mark.parametrize(("scenario", "producer"), RUNS)
async def test_whatever_happens_to_the_brokers_everything_said_is_true(
    scenario: Scenario, producer: Literal["own", "librdkafka"], cluster: Cluster
) -> None:
    stage = await asyncio.to_thread(Stage, cluster)
    bus = KafkaBus(stage.servers, timeout=20.0, producer=producer)
    publishers = [Publisher(n, stage, scenario) for n in range(4)]
    async with asyncio.timeout(60):  # the brokers hear of a new topic, and of a broker that came back, a moment later
        while not isinstance((await bus.publish([publishers[0].event(random.Random(0))]))[0], Position):
            await asyncio.sleep(0.2)
    began = time.monotonic()
    try:
        publishing = [asyncio.create_task(each.publish_until(began + scenario.seconds, bus)) for each in publishers]
        for second, deed, which in scenario.deeds:
            await asyncio.sleep(max(began + second - time.monotonic(), 0))
            await asyncio.to_thread(stage.do, deed, which)
        await asyncio.gather(*publishing)
    finally:
        await asyncio.to_thread(stage.heal)
        await bus.close()
    everything = Said([pair for each in publishers for pair in each.said.told])
    print(scenario.name, producer, Counter(type(result).__name__ for _, result in everything.told))
    print("longest silence of a publisher:", [round(each.silence, 1) for each in publishers])
    await asyncio.sleep(1)  # what a broker was asked before it stopped is done now
    await everything.check(stage.servers)
    if producer == "own":
        assert max(each.silence for each in publishers) < scenario.silence
