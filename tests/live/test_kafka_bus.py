"""What only Kafka can show: partitions, topics that come and go, brokers that go away, and what others read."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.partitioner import murmur2
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from inlake.bus.kafka.bus import KafkaBus
from inlake.bus.kafka.librdkafka.publish import Librdkafka
from inlake.bus.kafka.producer import Producer
from inlake.bus.kafka.producer.publish import WAITING_EVENTS
from inlake.bus.kafka.topics import NewTopics
from inlake.errors import BusUnavailable, Busy, InlakeError, OutcomeUnknown, RecordTooLarge, TopicMissing
from inlake.model import Event, Position
from tests.live_servers import KAFKA_BOOTSTRAP, KAFKA_SASL_BOOTSTRAP, TOXIPROXY_URL, require
from tests.toxiproxy import Proxy, kafka_proxy

pytestmark = pytest.mark.live


PRODUCERS = ("own", "librdkafka")


@pytest.fixture(autouse=True)
def servers() -> None:
    require("Kafka", KAFKA_BOOTSTRAP)


@pytest.fixture
def admin() -> AdminClient:
    return AdminClient({"bootstrap.servers": KAFKA_BOOTSTRAP, "log_level": 0})


@pytest.fixture
def topic(admin: AdminClient) -> Iterator[str]:
    """A name; what is made under it is deleted."""
    name = f"test-{uuid4().hex}"
    yield name
    admin.delete_topics([name])[name].exception()


@asynccontextmanager
async def opened(servers: str = KAFKA_BOOTSTRAP, **options: Any) -> AsyncIterator[KafkaBus]:
    bus = KafkaBus(servers, **options)
    try:
        yield bus
    finally:
        await bus.close()


def event(topic: str, value: bytes = b"value", key: bytes = b"tate.artwork") -> Event:
    return Event(str(uuid4()), topic, key, value, (("ce_type", "猫".encode()),))


def create(admin: AdminClient, topic: str, config: Mapping[str, str] | None = None, partitions: int = 1) -> None:
    admin.create_topics([NewTopic(topic, partitions, 1, config=dict(config or {}))])[topic].result()


async def publish(bus: KafkaBus, topic: str) -> Position | InlakeError:
    [result] = await bus.publish([event(topic)])
    return result


async def publish_until_confirmed(bus: KafkaBus, topic: str, seconds: float) -> Position:
    deadline = time.monotonic() + seconds
    while not isinstance(result := await publish(bus, topic), Position):
        assert time.monotonic() < deadline, result
        await asyncio.sleep(0.1)
    return result


# -------------------------------------------------------------------------------------------------- what others read
async def test_aiokafka_reads_what_was_published_where_java_would_have_put_it(topic: str) -> None:
    events = [event(topic, os.urandom(50), f"schéma.{i}/база".encode()) for i in range(100)]
    async with opened(new_topics=NewTopics(7, 1)) as bus:
        results = await bus.publish(events)
    consumer = AIOKafkaConsumer(bootstrap_servers=KAFKA_BOOTSTRAP, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign([TopicPartition(topic, partition) for partition in range(7)])
        got = {(m.partition, m.offset): m for _ in events for m in [await asyncio.wait_for(consumer.getone(), 10)]}
    finally:
        await consumer.stop()
    for sent, result in zip(events, results, strict=True):
        assert isinstance(result, Position)
        message = got[result.partition, result.offset]
        assert (message.key, message.value, list(message.headers)) == (sent.key, sent.value, sent.headers)
        assert result.partition == (murmur2(sent.key) & 0x7FFFFFFF) % 7


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_compressed_batches_are_read_as_they_were_published(codec: str, topic: str) -> None:
    events = [event(topic, b"much alike %d" % i) for i in range(2000)]
    async with opened(new_topics=NewTopics(1, 1), properties={"compression.type": codec}) as bus:
        assert isinstance(bus._producer, Producer)
        assert all(isinstance(result, Position) for result in await bus.publish(events))
        assert [message.value async for message in bus.read([topic])] == [event.value for event in events]


# --------------------------------------------------------------------------------------------------------- topics
async def test_a_missing_topic_is_named_at_once_however_many_ask(topic: str) -> None:
    async with opened() as bus:
        began = time.monotonic()
        results = await asyncio.gather(*(publish(bus, topic) for _ in range(500)))
        assert time.monotonic() - began < 2
    assert all(isinstance(result, TopicMissing) and topic in result.detail for result in results)


async def test_a_missing_topic_does_not_sink_events_of_another(topic: str, admin: AdminClient) -> None:
    create(admin, topic)
    async with opened() as bus:
        missing, there = await bus.publish([event(f"{topic}-not"), event(topic)])
    assert isinstance(missing, TopicMissing)
    assert isinstance(there, Position)


async def test_a_created_topic_keeps_events_for_ever(topic: str, admin: AdminClient) -> None:
    from confluent_kafka.admin import ConfigResource  # type: ignore[attr-defined]

    async with opened(new_topics=NewTopics(5, 1)) as bus:
        await asyncio.gather(*(publish(bus, topic) for _ in range(20)))
    [future] = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]).values()
    config = future.result()
    assert (config["cleanup.policy"].value, config["retention.ms"].value) == ("delete", "-1")
    assert len(admin.list_topics(topic).topics[topic].partitions) == 5


async def test_a_deleted_topic_is_missing_soon_and_works_when_it_is_back(topic: str, admin: AdminClient) -> None:
    create(admin, topic)
    async with opened() as bus:
        assert isinstance(await publish(bus, topic), Position)
        admin.delete_topics([topic])[topic].result()
        began = time.monotonic()
        while not isinstance(result := await publish(bus, topic), TopicMissing):
            assert time.monotonic() - began < 15, result
        create(admin, topic)
        await publish_until_confirmed(bus, topic, 15)


@pytest.mark.parametrize("producer", PRODUCERS)
async def test_a_topic_of_small_batches_still_takes_every_record_that_fits(
    producer: str, topic: str, admin: AdminClient
) -> None:
    create(admin, topic, {"max.message.bytes": "10000"})
    values = [os.urandom(5000) for _ in range(100)]
    values[50] = os.urandom(20_000)
    async with opened(producer=producer) as bus:
        results = await bus.publish([event(topic, value) for value in values])
        got = [message.value async for message in bus.read([topic])]
    assert [index for index, result in enumerate(results) if isinstance(result, RecordTooLarge)] == [50]
    assert got == values[:50] + values[51:]


@pytest.mark.parametrize("producer", PRODUCERS)
async def test_records_sent_one_by_one_are_not_refused_for_the_size_of_their_batch(
    producer: str, topic: str, admin: AdminClient
) -> None:
    create(admin, topic, {"max.message.bytes": "10000"})
    async with opened(properties={"linger.ms": "50"}, producer=producer) as bus:
        results = await asyncio.gather(*(bus.publish([event(topic, os.urandom(5000))]) for _ in range(50)))
    assert all(isinstance(result, Position) for [result] in results)


async def test_check_warns_of_a_compacted_topic_and_of_a_single_replica(topic: str, admin: AdminClient) -> None:
    create(admin, topic, {"cleanup.policy": "compact", "min.insync.replicas": "1"})
    async with opened() as bus:
        await publish(bus, topic)
        warnings = await bus.check()
    assert any("compacted" in warning and topic in warning for warning in warnings)
    assert any("min.insync.replicas" in warning and topic in warning for warning in warnings)


# ------------------------------------------------------------------------------------------------- brokers that fail
@pytest.fixture
def proxy() -> Iterator[Proxy]:
    require("toxiproxy", TOXIPROXY_URL)
    with kafka_proxy() as proxy:
        yield proxy


@contextmanager
def cut_off(proxy: Proxy) -> Iterator[None]:
    """The broker refuses connections."""
    proxy.down()
    try:
        yield
    finally:
        proxy.heal()


@contextmanager
def black_hole(proxy: Proxy) -> Iterator[None]:
    """The broker takes everything and answers nothing."""
    proxy.poison("timeout", timeout=0)
    try:
        yield
    finally:
        proxy.heal()


@pytest.mark.parametrize("producer", PRODUCERS)
@pytest.mark.parametrize("fault", [cut_off, black_hole])
async def test_an_outage_is_told_in_time_and_ends_without_a_restart(
    proxy: Proxy,
    fault: Any,
    producer: str,
    topic: str,
    admin: AdminClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    create(admin, topic)
    async with opened(proxy.address, timeout=3, producer=producer) as bus:
        await publish_until_confirmed(bus, topic, 15)
        with caplog.at_level(logging.INFO, "inlake.bus"), fault(proxy):
            began = time.monotonic()
            first = await asyncio.gather(*(publish(bus, topic) for _ in range(50)))
            took_first = time.monotonic() - began
            second = await asyncio.gather(*(publish(bus, topic) for _ in range(50)))
            took_second = time.monotonic() - began - took_first
            with pytest.raises(BusUnavailable):
                await bus.check()
        assert all(isinstance(result, OutcomeUnknown | BusUnavailable) for result in first)
        assert all(isinstance(result, BusUnavailable) for result in second), second[0]
        assert took_first < 3 + 2.5
        assert took_second < 3.5
        assert len(caplog.records) < 10
        await publish_until_confirmed(bus, topic, 25)  # librdkafka looks for the controller anew every five seconds


async def test_a_producer_that_fails_for_good_is_replaced(topic: str, admin: AdminClient) -> None:
    create(admin, topic, {"max.message.bytes": "10000"})
    # with this property a refused message is a fatal error of librdkafka's producer
    async with opened(properties={"enable.gapless.guarantee": "true", "enable.idempotence": "true"}) as bus:
        assert isinstance(bus._producer, Librdkafka)
        assert isinstance(await publish(bus, topic), Position)
        failing = bus._producer._producer
        [refused] = await bus.publish([event(topic, os.urandom(20_000))])
        assert isinstance(refused, RecordTooLarge)
        await publish_until_confirmed(bus, topic, 5)
        assert failing.broken
        assert bus._producer._producer is not failing


async def test_an_absent_broker_is_unavailable_and_nothing_was_sent() -> None:
    async with opened("127.0.0.1:1", timeout=3) as bus:
        began = time.monotonic()
        result = await publish(bus, "any")
        assert isinstance(result, BusUnavailable)
        assert "refused" in result.detail
        assert time.monotonic() - began < 4
        began = time.monotonic()
        assert isinstance(await publish(bus, "any"), BusUnavailable)
        assert time.monotonic() - began < 0.5  # the answer stands for a second


async def test_a_wrong_password_is_told_in_a_sentence() -> None:
    require("Kafka with SASL", KAFKA_SASL_BOOTSTRAP)
    properties = {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "gateway",
        "sasl.password": "wrong",
    }
    async with opened(KAFKA_SASL_BOOTSTRAP, timeout=3, properties=properties) as bus:
        result = await publish(bus, "any")
    assert isinstance(result, BusUnavailable)
    assert "uthentication failed" in result.detail


async def test_a_full_queue_is_busy_for_the_events_without_room(topic: str) -> None:
    async with opened(
        new_topics=NewTopics(3, 1), properties={"queue.buffering.max.messages": "20"}, producer="librdkafka"
    ) as bus:
        await publish(bus, topic)
        results = await bus.publish([event(topic) for _ in range(5000)])
    kinds = {type(result) for result in results}
    assert kinds == {Position, Busy}


async def test_more_events_than_may_wait_are_busy_and_the_others_are_published(topic: str) -> None:
    async with opened(new_topics=NewTopics(3, 1)) as bus:
        assert isinstance(bus._producer, Producer)
        await publish(bus, topic)
        results = await bus.publish([event(topic) for _ in range(WAITING_EVENTS + 5)])
        assert all(isinstance(result, Position) for result in results[:-5])
        assert all(isinstance(result, Busy) for result in results[-5:])
        assert isinstance(await publish(bus, topic), Position)


async def test_a_property_that_librdkafka_does_not_know_stops_the_start() -> None:
    with pytest.raises(ValueError, match=r"no\.such\.property"):
        KafkaBus(KAFKA_BOOTSTRAP, properties={"no.such.property": "1"})
