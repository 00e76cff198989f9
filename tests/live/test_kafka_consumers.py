"""Consumers that answer questions, each kept for the next one: what they see, and what becomes of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from uuid import uuid4

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from inlake.bus.kafka.bus import KafkaBus
from inlake.bus.kafka.consumers import MOST_KEPT, Consumers
from inlake.bus.kafka.newest import recent
from inlake.bus.kafka.reader import Reading
from inlake.errors import BusUnavailable, TopicMissing
from inlake.model import Position
from tests.live.test_kafka_bus import create, event, opened
from tests.live_servers import KAFKA_BOOTSTRAP, TOXIPROXY_URL, require
from tests.toxiproxy import kafka_proxy

pytestmark = pytest.mark.live


@pytest.fixture
def admin() -> AdminClient:
    require("Kafka", KAFKA_BOOTSTRAP)
    return AdminClient({"bootstrap.servers": KAFKA_BOOTSTRAP, "log_level": 0})


@pytest.fixture
def topics(admin: AdminClient) -> Iterator[list[str]]:
    """Names; what is made under them is deleted."""
    names = [f"test-{uuid4().hex}" for _ in range(2)]
    yield names
    for done in admin.delete_topics(names).values():
        done.exception()


async def newest(bus: KafkaBus, *topics: str) -> list[bytes | None]:
    return [message.value for message in await bus.recent(3, topics)]


async def newest_or_none(bus: KafkaBus, topic: str) -> list[bytes | None] | None:
    """None where there is no such topic."""
    try:
        return await newest(bus, topic)
    except (TopicMissing, BusUnavailable):
        return None


async def publish(bus: KafkaBus, topic: str, *values: bytes) -> Position:
    """The position of the last."""
    for value in values[:-1]:
        await publish(bus, topic, value)
    end = time.monotonic() + 15
    while not isinstance(at := (await bus.publish([event(topic, values[-1])]))[0], Position):
        assert time.monotonic() < end, at  # a topic that was just made is not known at once
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.002)  # the newest is so by its time, in milliseconds
    return at


async def test_the_next_question_has_the_same_consumer_and_sees_what_came_since(
    admin: AdminClient, topics: list[str]
) -> None:
    one, other = topics
    create(admin, one)
    async with opened() as bus:
        at = await publish(bus, one, b"1", b"2")
        assert await newest(bus, one) == [b"2", b"1"]
        ((_, consumer),) = bus._consumers._idle
        await publish(bus, one, b"3", b"4")
        assert await newest(bus, one) == [b"4", b"3", b"2"]
        create(admin, other, partitions=3)
        await publish(bus, other, b"5")
        assert await newest(bus, *topics) == [b"5", b"4", b"3"]
        assert await newest(bus, other) == [b"5"]
        found = await bus.find(at)
        assert found is not None
        assert found.value == b"2"
        assert [each for _, each in bus._consumers._idle] == [consumer]


async def test_a_topic_that_was_deleted_and_made_anew_has_what_it_has_now(
    admin: AdminClient, topics: list[str]
) -> None:
    topic = topics[0]
    create(admin, topic)
    async with opened() as bus:
        await publish(bus, topic, b"1", b"2")
        assert await newest(bus, topic) == [b"2", b"1"]
        admin.delete_topics([topic])[topic].result()
        end = time.monotonic() + 15
        while await newest_or_none(bus, topic) is not None:
            assert time.monotonic() < end
            await asyncio.sleep(0.1)
        create(admin, topic)
        async with opened() as publisher:
            await publish(publisher, topic, b"3")
        end = time.monotonic() + 15
        while (found := await newest_or_none(bus, topic)) != [b"3"]:
            assert time.monotonic() < end, found
            await asyncio.sleep(0.1)


async def test_a_consumer_that_was_cut_off_is_not_kept_and_the_next_one_answers(
    admin: AdminClient, topics: list[str]
) -> None:
    require("toxiproxy", TOXIPROXY_URL)
    topic = topics[0]
    create(admin, topic)
    with kafka_proxy() as proxy:
        async with opened(proxy.address, timeout=3.0) as bus:
            await publish(bus, topic, b"1")
            assert await newest(bus, topic) == [b"1"]
            ((_, cut_off),) = bus._consumers._idle
            proxy.down()
            with pytest.raises(BusUnavailable):
                await newest(bus, topic)
            assert cut_off not in [each for _, each in bus._consumers._idle]
            proxy.up()
            assert await newest(bus, topic) == [b"1"]


async def test_few_are_kept_however_many_ask_at_once_and_none_that_nobody_needs(
    admin: AdminClient, topics: list[str]
) -> None:
    topic = topics[0]
    create(admin, topic)
    async with opened() as bus:
        await publish(bus, topic, b"1", b"2")
    consumers = Consumers({"bootstrap.servers": KAFKA_BOOTSTRAP}, timeout=10, kept=3)
    answers = await asyncio.gather(*(recent(consumers, [topic], 3, before=None) for _ in range(8)))
    assert [[message.value for message in answer] for answer in answers] == [[b"2", b"1"]] * 8
    assert 1 <= len(consumers._idle) <= MOST_KEPT
    for _ in range(100):
        if not consumers._idle:
            break
        await asyncio.sleep(0.1)
    assert not consumers._idle
    assert [message.value for message in await recent(consumers, [topic], 3, before=None)] == [b"2", b"1"]
    await consumers.close()
    assert not consumers._idle


async def test_a_reader_that_retention_overtakes_goes_on_with_what_is_left(
    admin: AdminClient, topics: list[str]
) -> None:
    topic = topics[0]
    create(admin, topic)
    async with opened() as bus:
        await publish(bus, topic, *(b"%d" % n for n in range(8)))
    for done in admin.delete_records([TopicPartition(topic, 0, 5)]).values():
        done.result()
    reading = Reading({"bootstrap.servers": KAFKA_BOOTSTRAP}, [topic], follow=False, timeout=10)
    try:
        reading.begin_between({(topic, 0): range(8)})
        found: list[bytes | None] = []
        while (messages := await asyncio.to_thread(reading.take)) is not None:
            found += [message.value for message in messages]
    finally:
        reading.close()
    assert found == [b"5", b"6", b"7"]
