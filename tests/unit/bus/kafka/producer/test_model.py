"""The producer against a model of a cluster, in virtual time: whatever happens, everything said is true.

INLAKE_TEST_KAFKA_MODELS=5000 makes it a campaign; a failure names its seed, INLAKE_TEST_SEED=... repeats it.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from aiokafka.record.memory_records import MemoryRecords

from inlake.bus.kafka.producer import Producer
from inlake.bus.kafka.properties import CONNECTION, find_access
from inlake.errors import InlakeError, OutcomeUnknown
from inlake.model import Event, Position
from tests.kafka_model import Cluster, VirtualTime

SEEDS = int(os.environ.get("INLAKE_TEST_KAFKA_MODELS", "60"))
FIRST = int(os.environ.get("INLAKE_TEST_SEED", "0")) if os.environ.get("INLAKE_TEST_SEED", "0").isdecimal() else 0
SECONDS = 12.0
"""Of virtual time with faults."""
TIMEOUT = 4.0
PARTITIONS = 2


@dataclass
class Run:
    """What publishers asked for, in their order, and what they were told."""

    chance: random.Random
    told: list[tuple[Event, Position | InlakeError | None]] = field(default_factory=list)

    def event(self, key: bytes) -> Event:
        return Event(self.chance.randbytes(16).hex(), "t", key, self.chance.randbytes(20), ())

    async def publish(self, producer: Producer, events: list[Event]) -> None:
        first = len(self.told)
        self.told += [(event, None) for event in events]
        try:
            async with asyncio.timeout(TIMEOUT + 1.0 if self.chance.random() < 0.97 else 0.01):
                results = await producer.publish(events, {"t": PARTITIONS})
        except TimeoutError:  # the publisher went away: of its events nobody knows
            results = [OutcomeUnknown("gone")] * len(events)
        for index, result in enumerate(results, first):
            self.told[index] = self.told[index][0], result

    async def publish_on(self, producer: Producer, name: int, end: float) -> None:
        """Windows of all sizes, some before the one before has its answer."""
        loop, under_way = asyncio.get_running_loop(), set[asyncio.Task[None]]()
        while loop.time() < end:
            size = self.chance.choice([1, 1, 1, 1, 5, 5, 40]) if self.chance.random() < 0.99 else 1500
            events = [self.event(b"%d-%d" % (name, self.chance.randrange(3))) for _ in range(size)]
            task = loop.create_task(self.publish(producer, events))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
            await asyncio.sleep(0)  # it has begun, so it is before the next
            await (asyncio.sleep(self.chance.uniform(0, 0.2)) if self.chance.random() < 0.5 else asyncio.wait([task]))
        await asyncio.gather(*under_way)


async def trouble(cluster: Cluster, end: float) -> None:
    chance, hanging = cluster.chance, set[asyncio.Task[None]]()
    while cluster.loop.time() < end:
        await asyncio.sleep(chance.uniform(0.05, 1.5))
        match chance.randrange(6):
            case 0 | 1:
                cluster.fail_over(chance.randrange(PARTITIONS))
            case 2:
                broker = chance.choice(list(cluster.brokers.values()))
                task = asyncio.create_task(cluster.hang(broker, chance.uniform(0.1, 6.0)))
                hanging.add(task)
                task.add_done_callback(hanging.discard)
            case 3:
                cluster.freeze_metadata(chance.uniform(0.5, 4.0))
            case 4:
                cluster.largest = chance.choice([1_500, 20_000, 1 << 20])
            case _:
                cluster.faults = chance.choice([0.0, 0.02, 0.1, 0.3, 0.5])
    for task in hanging:
        task.cancel()
    cluster.heal()


async def run(seed: int, loop: VirtualTime) -> Counter[str]:
    chance = random.Random(seed)
    cluster = loop.cluster = Cluster(loop, chance, PARTITIONS)
    cluster.faults = chance.choice([0.0, 0.4])
    access = find_access({**CONNECTION, "bootstrap.servers": "b1:9092,b2:9092,b3:9092"})
    assert access is not None
    producer = Producer(access, timeout=TIMEOUT, on_trouble=lambda: None)
    done, end = Run(chance), loop.time() + SECONDS
    await asyncio.gather(trouble(cluster, end), *[done.publish_on(producer, name, end) for name in range(3)])
    await asyncio.sleep(7)  # what hung is done
    after = [done.event(b"%d-0" % n) for n in range(20)]
    results = await producer.publish(after, {"t": PARTITIONS})
    assert all(isinstance(result, Position) for result in results), results[0]
    done.told += zip(after, results, strict=True)
    await producer.close()
    check(done, cluster)
    return Counter(cluster.told)


def check(done: Run, cluster: Cluster) -> None:
    """Everything said is true: places, order per key, and no event more often than confirmed or unknown."""
    log: dict[tuple[int, int], tuple[str, bytes]] = {}
    for number, partition in cluster.partitions.items():
        for batch in partition.log:
            records = MemoryRecords(batch.data).next_batch()
            assert records is not None
            assert records.validate_crc()
            for index, record in enumerate(records):
                log[number, batch.offset + index] = dict(record.headers)["ce_id"].decode(), record.value
    times = Counter(event_id for event_id, _ in log.values())
    last: dict[bytes, int] = {}
    for event, result in done.told:
        assert result is not None, "every call has an end"
        confirmed, unknown = isinstance(result, Position), isinstance(result, OutcomeUnknown)
        assert confirmed <= times[event.id] <= confirmed + unknown, (result, times[event.id])
        if isinstance(result, Position) and result.offset >= 0:
            assert log[result.partition, result.offset] == (event.id, event.value)
            assert result.offset > last.get(event.key, -1), "order per key"
            last[event.key] = result.offset


@pytest.mark.parametrize("part", range(4))
def test_whatever_brokers_and_network_do_everything_said_is_true(part: int) -> None:
    told = Counter[str]()
    for seed in range(FIRST + part, FIRST + SEEDS, 4):
        loop = VirtualTime()
        try:
            told += loop.run_until_complete(run(seed, loop))
        except BaseException as error:
            error.add_note(f"INLAKE_TEST_SEED={seed} INLAKE_TEST_KAFKA_MODELS=1")
            raise
        finally:
            loop.close()
    assert SEEDS < 40 or {"0", "3", "6", "10", "19", "45"} <= told.keys(), "the faults happened"
