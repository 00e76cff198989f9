"""What a publisher notices of brokers that hang, lag, hold back or take less: against a model, in virtual time."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable

import pytest
from confluent_kafka.cimpl import murmur2

from inlake.bus.kafka.producer import Producer
from inlake.bus.kafka.producer.partition import BATCH_BYTES
from inlake.bus.kafka.producer.requests import PAUSE, TURNS
from inlake.bus.kafka.properties import CONNECTION, find_access
from inlake.errors import BusUnavailable, InlakeError, OutcomeUnknown
from inlake.model import Event, Position
from tests.kafka_model import Cluster, VirtualTime

POLICY_VIOLATION = 44
Story = Callable[[Cluster, Producer], Awaitable[None]]
KEYS = [next(b"%d" % i for i in range(99) if murmur2(b"%d" % i, 2) == partition) for partition in range(2)]
"""One for each partition."""


def play(story: Story, *, timeout: float, latency: float = 0.003) -> None:
    loop = VirtualTime()

    async def run() -> None:
        cluster = loop.cluster = Cluster(loop, random.Random(1))
        cluster.latency = latency
        access = find_access({**CONNECTION, "bootstrap.servers": "b1:9092,b2:9092,b3:9092"})
        assert access is not None
        producer = Producer(access, timeout=timeout, on_trouble=lambda: None)
        await story(cluster, producer)
        await producer.close()

    try:
        loop.run_until_complete(run())
    finally:
        loop.close()


async def send(producer: Producer, count: int = 1, size: int = 10, partition: int = 0) -> list[Position | InlakeError]:
    events = [Event(f"{n}", "t", KEYS[partition], bytes(size), ()) for n in range(count)]
    return await producer.publish(events, {"t": 2})


async def confirmed(producer: Producer, partition: int = 0) -> float:
    """Seconds until an event is confirmed."""
    began = asyncio.get_running_loop().time()
    [result] = await send(producer, partition=partition)
    assert isinstance(result, Position), result
    return asyncio.get_running_loop().time() - began


def test_a_broker_that_hangs_for_a_minute_delays_events_until_another_leads_and_no_longer() -> None:
    async def story(cluster: Cluster, producer: Producer) -> None:
        partition = cluster.partitions[0]
        await confirmed(producer)
        partition.leader, partition.epoch = 2, partition.epoch + 1
        await confirmed(producer)
        hanging = asyncio.create_task(cluster.hang(cluster.brokers[2], 60))
        cluster.loop.call_later(9, cluster.fail_over, 0)
        assert await confirmed(producer) < 9 + 1.5
        assert await confirmed(producer) < 0.1
        await hanging

    play(story, timeout=20)


def test_a_broker_that_hangs_keeps_no_event_from_the_others() -> None:
    async def story(cluster: Cluster, producer: Producer) -> None:
        cluster.partitions[0].leader, cluster.partitions[1].leader = 1, 2
        await confirmed(producer, 0)
        await confirmed(producer, 1)
        hanging = asyncio.create_task(cluster.hang(cluster.brokers[1], 60))
        waiting = asyncio.create_task(send(producer, partition=0))
        for _ in range(20):
            assert await confirmed(producer, 1) < 0.1
            assert await producer.describe("t") == [3, 3]
            await asyncio.sleep(0.2)
        assert isinstance((await waiting)[0], OutcomeUnknown)
        hanging.cancel()
        cluster.heal()

    play(story, timeout=5)


def test_a_broker_that_tells_of_old_leaders_does_not_keep_events_from_the_new_ones() -> None:
    async def story(cluster: Cluster, producer: Producer) -> None:
        await confirmed(producer)
        for broker in list(cluster.brokers.values())[:2]:
            broker.stale = {n: (partition.leader, partition.epoch) for n, partition in cluster.partitions.items()}
            broker.stale_until = cluster.loop.time() + 25
        cluster.fail_over(0)
        assert await confirmed(producer) < 1.5
        for _ in range(50):
            assert await confirmed(producer) < 0.5
            await asyncio.sleep(0.3)

    play(story, timeout=20)


def test_a_topic_that_is_made_anew_with_epochs_from_0_takes_events_soon() -> None:
    async def story(cluster: Cluster, producer: Producer) -> None:
        cluster.partitions[0].epoch = 7
        await confirmed(producer)
        cluster.partitions[0].leader, cluster.partitions[0].epoch = 3 - cluster.partitions[0].leader % 3, 0
        cluster.partitions[0].log.clear()
        assert await confirmed(producer) < 8

    play(story, timeout=20)


def test_a_partition_that_took_small_batches_only_grows_back_when_it_takes_larger_ones() -> None:
    async def story(cluster: Cluster, producer: Producer) -> None:
        cluster.largest = 4_000
        results = await send(producer, 500, 100)
        assert all(isinstance(result, Position) for result in results)
        queue = producer._requests.queue("t", 0)
        assert queue.limit < BATCH_BYTES / 10
        for _ in range(30):  # it is tried again now and then, and nothing is lost by that
            assert all(isinstance(result, Position) for result in await send(producer, 100, 100))
            await asyncio.sleep(1)
        assert queue.limit < BATCH_BYTES / 10
        cluster.largest = 1 << 20
        for _ in range(40):
            await send(producer, 100, 100)
            await asyncio.sleep(1)
        assert queue.limit == BATCH_BYTES

    play(story, timeout=20)


def test_a_quota_holds_events_back_and_those_whose_time_is_over_hear_of_it() -> None:
    async def story(cluster: Cluster, producer: Producer) -> None:
        await confirmed(producer)
        cluster.throttle = 6_000
        assert await confirmed(producer) < 0.1
        produced = cluster.told["0"]
        cluster.throttle = 0
        [held_back] = await send(producer)
        assert isinstance(held_back, BusUnavailable)
        assert "producer_byte_rate" in held_back.detail
        assert cluster.told["0"] == produced, "the broker was left alone"
        assert await confirmed(producer) < 2

    play(story, timeout=5)


@pytest.mark.parametrize(("count", "size", "least"), [(1000, 120, 25_000), (1, 900_000, 40)])
def test_on_a_long_way_several_batches_of_a_partition_are_in_flight(count: int, size: int, least: float) -> None:
    async def story(cluster: Cluster, producer: Producer) -> None:
        await confirmed(producer)
        began, sent = cluster.loop.time(), 30 * count
        results = await asyncio.gather(*[send(producer, count, size) for _ in range(30)])
        offsets = [result.offset for window in results for result in window if isinstance(result, Position)]
        assert offsets == list(range(1, sent + 1)), "in their order"
        assert sent / (cluster.loop.time() - began) > least

    play(story, timeout=20, latency=0.05)


def test_events_that_each_choose_their_partition_go_in_one_batch_of_it_and_keep_their_order() -> None:
    async def story(cluster: Cluster, producer: Producer) -> None:
        await confirmed(producer)
        await confirmed(producer, partition=1)
        values = [b"value-%03d" % n for n in range(600)]
        results = await producer.publish([Event("i", "t", b"k", one, (), one) for one in values], {"t": 2})
        for number, partition in cluster.partitions.items():
            here = [(one, result) for one, result in zip(values, results, strict=True) if murmur2(one, 2) == number]
            assert [result for _, result in here] == [Position("t", number, 1 + n) for n in range(len(here))]
            assert [batch.count for batch in partition.log] == [1, len(here)]
            assert re.findall(rb"value-[0-9]{3}", partition.log[-1].data) == [one for one, _ in here]

    play(story, timeout=5)


def test_a_second_batch_waits_until_a_broker_knows_the_producer_id() -> None:
    async def story(cluster: Cluster, producer: Producer) -> None:
        calls = [asyncio.create_task(send(producer, 1000)) for _ in range(3)]
        while not cluster.partitions[0].log:
            await asyncio.sleep(0.001)
            assert len(producer._requests.queue("t", 0).in_flight) <= 1
        await asyncio.wait(calls)

    play(story, timeout=20, latency=0.05)


def test_what_is_behind_an_event_that_kafka_refuses_for_now_is_not_taken_before_it() -> None:
    """Whoever keeps events for later, as the outbox does, then has all of them in their order."""

    async def story(cluster: Cluster, producer: Producer) -> None:
        await confirmed(producer)
        log = cluster.partitions[0].log
        before = len(log)
        cluster.refuses_next = POLICY_VIOLATION
        calls = [asyncio.create_task(send(producer, 1000)) for _ in range(3)]
        await asyncio.wait(calls)
        after = asyncio.create_task(send(producer))
        for results in [call.result() for call in calls]:
            assert {type(result) for result in results} == {BusUnavailable}
        await asyncio.sleep(PAUSE / 2)
        assert len(log) == before, "what came at that moment waits, too"
        after.cancel()
        await asyncio.wait([after])
        await asyncio.sleep(2 * PAUSE)
        assert len(log) == before
        assert await confirmed(producer) < 0.1

    play(story, timeout=20, latency=0.02)


def test_who_hears_of_a_refusal_acts_before_what_comes_is_sent_however_long_a_turn_takes() -> None:
    async def story(cluster: Cluster, producer: Producer) -> None:
        await confirmed(producer)
        log = cluster.partitions[0].log
        before = len(log)
        cluster.refuses_next = POLICY_VIOLATION
        await asyncio.wait([asyncio.create_task(send(producer))])
        after = asyncio.create_task(send(producer))
        asyncio.get_running_loop().now += 2 * PAUSE  # type: ignore[attr-defined]  # other requests are worked on
        for _ in range(TURNS - 1):
            await asyncio.sleep(0)
        after.cancel()
        await asyncio.wait([after])
        await asyncio.sleep(2 * PAUSE)
        assert len(log) == before

    play(story, timeout=20, latency=0.02)


def test_what_comes_when_the_time_of_others_is_over_is_not_taken_before_they_can_come_again() -> None:
    async def story(cluster: Cluster, producer: Producer) -> None:
        await confirmed(producer)
        cluster.throttle = 1_000
        await confirmed(producer)
        cluster.throttle, log = 0, cluster.partitions[0].log
        before = len(log)
        await asyncio.sleep(0.005)
        first = asyncio.create_task(send(producer))
        await asyncio.sleep(0.5)
        second = asyncio.create_task(send(producer))
        assert isinstance((await first)[0], BusUnavailable)
        await asyncio.sleep(PAUSE / 2)  # Kafka takes events again since 5 ms after the time of the first was over
        assert len(log) == before
        assert isinstance((await second)[0], Position)

    play(story, timeout=0.99)
