"""Every scenario with both producers: each answered record's place, bytes, order and doubles, by an independent reader.

INLAKE_TEST_KAFKA_CAMPAIGN=1 runs all scenarios; otherwise those that are short, with our own producer. README.md has the
command.
"""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import pytest

from inlake.bus.kafka.bus import KafkaBus
from inlake.errors import InlakeError, Unavailable
from inlake.model import Event, Position
from tests.kafka_cluster import Cluster
from tests.kafka_said import Said
from tests.live.kafka_campaign.scenarios import SCENARIOS, Scenario
from tests.live.kafka_campaign.stage import NAME, Stage, three_brokers
from tests.oauth_server import signed

pytestmark = [pytest.mark.live, pytest.mark.slow]

ALL = os.environ.get("INLAKE_TEST_KAFKA_CAMPAIGN") == "1"
Results = list[Position | InlakeError]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with three_brokers(tmp_path_factory.mktemp("kafka")) as cluster:
        yield cluster


@dataclass
class Publisher:
    """Publishes windows of all sizes, one after the other, and again what was not confirmed, as clients do."""

    name: int
    topic: str
    scenario: Scenario
    said: Said = field(default_factory=Said)
    silence: float = 0.0
    """Most seconds between two confirmed windows."""

    async def publish_until(self, end: float, bus: KafkaBus) -> None:
        chance, last, again = random.Random(self.name), time.monotonic(), list[Event]()
        while time.monotonic() < end:
            count = chance.choice([1, 1, 10, 300]) if self.scenario.size < 10_000 else 2
            events = [*again, *[self.event(chance) for _ in range(count)]]
            results = await self.publish(bus, events)
            again = [event for event, result in zip(events, results, strict=True) if isinstance(result, Unavailable)][
                :300
            ]
            if any(isinstance(result, Position) for result in results):
                self.silence, last = max(self.silence, time.monotonic() - last), time.monotonic()
            await asyncio.sleep(0.01)
        self.silence = max(self.silence, time.monotonic() - last)

    async def publish(self, bus: KafkaBus, events: list[Event]) -> Results:
        if not self.scenario.atomic:
            return await self.said.publish(bus, *events)
        results: Results
        try:
            results = [*await bus.publish_all_or_none(events)]
        except InlakeError as error:
            results = [error] * len(events)
        self.said.told += zip(events, results, strict=True)
        return results

    def event(self, chance: random.Random) -> Event:
        key = b"%d-%d" % (self.name, chance.randrange(8))
        return Event(str(uuid4()), self.topic, key, chance.randbytes(chance.randrange(self.scenario.size)), ())


RUNS = [
    pytest.param(scenario, producer, id=f"{scenario.name}, {producer}")
    for producer in ("own", "librdkafka")
    for scenario in SCENARIOS
    if ALL or (scenario.short and producer == "own")
]


@pytest.mark.parametrize(("scenario", "producer"), RUNS)
async def test_whatever_happens_to_the_brokers_everything_said_is_true(
    scenario: Scenario,
    producer: Literal["own", "librdkafka"],
    cluster: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", addresses)
    stage = await asyncio.to_thread(Stage, cluster)
    publishers = [Publisher(n, stage.topic, scenario) for n in range(4)]
    with stage.set():
        servers = stage.servers(scenario, by_name=producer == "own")
        bus = KafkaBus(servers, properties=properties(scenario, tmp_path), timeout=20.0, producer=producer)
        async with asyncio.timeout(
            60
        ):  # the brokers hear of a new topic, and of a broker that came back, a moment later
            while not isinstance(
                (await publishers[0].publish(bus, [publishers[0].event(random.Random(0))]))[0], Position
            ):
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
    await everything.check(stage.plain, committed=scenario.atomic)
    if producer == "own":
        assert max(each.silence for each in publishers) < scenario.silence


def properties(scenario: Scenario, folder: Path) -> dict[str, str]:
    if scenario.way != "OAUTH":
        return {}
    (folder / "token").write_text(signed())
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "OAUTHBEARER",
        "sasl.oauthbearer.token.endpoint.url": (folder / "token").as_uri(),
    }


async def addresses(host: Any, port: Any, **_: Any) -> Any:
    """Of the name that has two, and of an address as it is."""
    found = ["127.0.0.2", "127.0.0.1"] if host == NAME else [host]
    return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (each, port)) for each in found]
