"""All or nothing on Kafka, as readers with isolation.level=read_committed see it: faults, kills, rights, other topics."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as AioPartition
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic

from inlake.bus.kafka.bus import KafkaBus
from inlake.bus.kafka.librdkafka.transactions import WAITING
from inlake.errors import BusUnavailable, Busy, InlakeError, OutcomeUnknown, RecordTooLarge, TopicMissing
from inlake.model import Event, Position
from tests.command import Served, free_port, start, wait_until_alive
from tests.gateways import NOTE, embedded
from tests.kafka_wire import Fault, Wire
from tests.live_servers import KAFKA_BOOTSTRAP, KAFKA_SASL_BOOTSTRAP, require

pytestmark = pytest.mark.live
NDJSON = "application/x-ndjson"
KILLS = int(os.environ.get("INLAKE_TEST_ATOMIC_KILLS", "1"))
BODY = b"".join(b'{"title": "%d"}\n' % i for i in range(200))
LAST = b"last"


@pytest.fixture
def admin() -> AdminClient:
    require("Kafka", KAFKA_BOOTSTRAP)
    return AdminClient({"bootstrap.servers": KAFKA_BOOTSTRAP, "log_level": 0})


@pytest.fixture
def topic(admin: AdminClient) -> Iterator[str]:
    """Of one partition, so that what stands behind an event tells that it was read, or never will be."""
    name = f"test-{uuid4().hex}.note"
    admin.create_topics([NewTopic(name, 1, 1)])[name].result()
    yield name
    admin.delete_topics([name])[name].exception()


@asynccontextmanager
async def opened(servers: str = KAFKA_BOOTSTRAP, **options: Any) -> AsyncIterator[KafkaBus]:
    bus = KafkaBus(servers, **options)
    try:
        yield bus
    finally:
        await bus.close()


def event(topic: str, value: bytes = b"value") -> Event:
    return Event(str(uuid4()), topic, b"key", value, ())


def publish_last(topic: str) -> None:
    producer = Producer({"bootstrap.servers": KAFKA_BOOTSTRAP})
    producer.produce(topic, LAST)
    assert producer.flush(10) == 0


# ------------------------------------------------------------------------------------------------------------ readers
async def by_aiokafka(topic: str, isolation: str = "read_committed") -> list[bytes]:
    """The values before the last."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=KAFKA_BOOTSTRAP, auto_offset_reset="earliest", isolation_level=isolation
    )
    await consumer.start()
    try:
        consumer.assign([AioPartition(topic, 0)])
        values: list[bytes] = []
        while (value := (await consumer.getone()).value) != LAST:
            values.append(value)
        return values
    finally:
        await consumer.stop()


async def by_confluent(topic: str, isolation: str = "read_committed") -> list[bytes]:
    def read() -> list[bytes]:
        consumer = Consumer(
            {"bootstrap.servers": KAFKA_BOOTSTRAP, "group.id": topic, "isolation.level": isolation, "log_level": 0}
        )
        consumer.assign([TopicPartition(topic, 0, 0)])
        values: list[bytes] = []
        try:
            while True:
                message = consumer.poll(1)
                if message is not None and message.error() is None:
                    if message.value() == LAST:
                        return values
                    values.append(message.value() or b"")
        finally:
            consumer.close()

    return await asyncio.to_thread(read)


async def seen(topic: str) -> int:
    """How many events all readers of what is committed see before the last."""
    async with asyncio.timeout(40):
        first, second = await asyncio.gather(by_aiokafka(topic), by_confluent(topic))
    assert first == second
    return len(first)


# ------------------------------------------------------------------------------------------------------------- faults
@pytest.mark.parametrize(
    ("fault", "status", "events"),
    [("request lost", 503, 0), ("answer lost", 503, 200), ("cut before", 201, 200), ("cut after", 201, 200)],
)
async def test_readers_of_what_is_committed_see_all_or_nothing_whatever_happens_to_the_commit(
    fault: Fault, status: int, events: int, topic: str, tmp_path: Path
) -> None:
    async with Wire(fault).laid() as wire:
        settings = {"topic": topic.replace("note", "{schema}"), "bus_timeout": 2}
        async with embedded(tmp_path, bus=f"kafka://{wire.address}", **settings) as gateway:
            path = "/ingress/record-json?schema=note&mode=atomic"
            began = time.monotonic()
            answer = await gateway.post(path, BODY, NDJSON)
            assert wire.happened.is_set()
            assert answer.status == status, answer.body
            assert time.monotonic() - began < 8
            if status == 503:
                assert (answer.json()["code"], answer.headers["retry-after"]) == ("outcome_unknown", "5")
            again = await gateway.post(path, BODY, NDJSON)
            assert again.status == 201, again.body
        publish_last(topic)
        assert await seen(topic) == events + 200


async def all_or_none_if_ready(bus: KafkaBus, topic: str) -> list[Position]:
    """Nothing while Kafka says that it is not ready: then certainly nothing was published."""
    try:
        return await bus.publish_all_or_none([event(topic)])
    except BusUnavailable:
        return []


async def test_while_one_transaction_hangs_others_wait_for_a_bounded_time_and_in_bounded_number(topic: str) -> None:
    async with Wire("request lost").laid() as wire, opened(wire.address, timeout=1) as bus:
        calls = [asyncio.create_task(bus.publish_all_or_none([event(topic)])) for _ in range(WAITING + 5)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(results[0], OutcomeUnknown)
        assert all(isinstance(result, Busy) for result in results[1:])
        async with asyncio.timeout(15):
            while not (published := await all_or_none_if_ready(bus, topic)):  # the broker ends the one that hung first
                await asyncio.sleep(0.1)
        assert len(published) == 1
    publish_last(topic)
    assert await seen(topic) == 1


async def test_a_producer_that_another_fenced_is_replaced(topic: str) -> None:
    async with opened() as bus:
        await bus.publish_all_or_none([event(topic)])
        thief = Producer({"bootstrap.servers": KAFKA_BOOTSTRAP, "transactional.id": bus._transactions.id})
        await asyncio.to_thread(thief.init_transactions, 10)
        with pytest.raises(BusUnavailable, match="fenced"):
            await bus.publish_all_or_none([event(topic)] * 3)
        assert len(await bus.publish_all_or_none([event(topic)])) == 1
    publish_last(topic)
    assert await seen(topic) == 2


def test_the_transactional_id_is_not_to_be_set() -> None:
    with pytest.raises(ValueError, match=r"transactional\.id is not to be set"):
        KafkaBus(KAFKA_BOOTSTRAP, properties={"transactional.id": "mine"})


# --------------------------------------------------------------------------------------------------------------- kills
async def test_of_bodies_under_way_when_the_gateway_is_killed_readers_see_all_or_nothing_and_the_log_goes_on(
    topic: str, tmp_path: Path
) -> None:
    (tmp_path / ".inlake" / "schemas").mkdir(parents=True)
    (tmp_path / ".inlake" / "schemas" / "note.avsc").write_text(json.dumps(NOTE))
    accepted, chance = set[str](), random.Random(7)
    async with Wire("request lost").laid() as wire:
        for n in range(KILLS):
            served = await started(tmp_path, topic, wire.address if n == 0 else KAFKA_BOOTSTRAP)
            clients = [asyncio.create_task(send_bodies(served.url, f"{n}.{c}", accepted)) for c in range(3)]
            if n == 0:  # within the first transaction, all of whose events were sent
                await asyncio.wait_for(wire.happened.wait(), 20)
            else:
                await asyncio.sleep(chance.uniform(0.5, 2.5))
            served.process.kill()
            served.process.wait()
            await asyncio.gather(*clients)
    publish_last(topic)
    everything = await by_confluent(topic, "read_uncommitted")
    async with asyncio.timeout(40):
        one, other = await asyncio.gather(by_aiokafka(topic), by_confluent(topic))
    assert one == other
    committed = Counter(map(title, one))
    assert set(committed.values()) <= {200}
    assert accepted <= committed.keys()
    assert len(everything) >= len(one) + 200, "one was killed when all of it was sent"
    print(KILLS, "kills:", len(accepted), "bodies accepted,", len(committed), "seen")


async def started(folder: Path, topic: str, kafka: str) -> Served:
    port = free_port()
    variables = {
        "INLAKE_BUS": f"kafka://{kafka}",
        "INLAKE_TOPIC": topic.replace("note", "{schema}"),
        "INLAKE_KAFKA_TRANSACTION_TIMEOUT_MS": "1000",
        "INLAKE_PORT": str(port),
        "INLAKE_URL": f"http://127.0.0.1:{port}",
    }
    served = start(folder, **variables)
    await asyncio.to_thread(wait_until_alive, served)
    return served


async def send_bodies(url: str, client: str, accepted: set[str]) -> None:
    """One after another, each of 200 records with the body's own title, until the gateway is gone."""
    path, headers = f"{url}/ingress/record-json?schema=note&mode=atomic", {"content-type": NDJSON}
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
        with contextlib.suppress(httpx2.TransportError):
            for n in itertools.count():
                name = f"{client}.{n}"
                answer = await http.post(path, content=b'{"title": "%b"}\n' % name.encode() * 200, headers=headers)
                if answer.status_code == 201:
                    accepted.add(name)


def title(value: bytes) -> str:
    """Of an Avro record whose first field it is, shorter than 64 bytes."""
    return value[6 : 6 + (value[5] >> 1)].decode()


# ---------------------------------------------------------------------------------------------- what the broker refuses
async def refused(bus: KafkaBus, *events: Event) -> InlakeError:
    with pytest.raises(InlakeError) as error:
        await bus.publish_all_or_none(events)
    return error.value


async def test_a_missing_topic_among_others_publishes_to_none(topic: str) -> None:
    async with opened() as bus:
        error = await refused(bus, event(topic), event(f"{topic}-not"))
        assert isinstance(error, TopicMissing)
    publish_last(topic)
    assert await seen(topic) == 0


async def test_a_topic_of_small_batches_takes_all_that_fit_and_names_the_one_that_does_not(
    topic: str, admin: AdminClient
) -> None:
    small = f"{topic}.small"
    admin.create_topics([NewTopic(small, 1, 1, config={"max.message.bytes": "10000"})])[small].result()
    events = [event(small, os.urandom(5000)) for _ in range(20)]
    async with opened() as bus:
        assert len(await bus.publish_all_or_none(events)) == 20
        error = await refused(bus, *events[:7], event(small, os.urandom(20_000)), *events[7:])
        assert isinstance(error, RecordTooLarge)
        assert error.members == {"event": 7}
    publish_last(small)
    assert await seen(small) == 20
    admin.delete_topics([small])[small].result()


async def test_the_line_that_the_broker_finds_too_large_is_named(
    topic: str, admin: AdminClient, tmp_path: Path
) -> None:
    small = topic.replace("note", "small")
    admin.create_topics([NewTopic(small, 1, 1, config={"max.message.bytes": "10000"})])[small].result()
    async with embedded(tmp_path, bus=f"kafka://{KAFKA_BOOTSTRAP}", topic=topic.replace("note", "{schema}")) as gateway:
        await gateway.register("small", NOTE)
        body = b'\n{"title": "a"}\n{"title": "%b"}\n' % (b"a" * 20_000)
        answer = await gateway.post("/ingress/record-json?schema=small&mode=atomic", body, NDJSON)
    assert (answer.status, answer.json()["code"], answer.json()["line"]) == (413, "record_too_large", 3)
    assert "event" not in answer.json()
    admin.delete_topics([small])[small].result()


async def test_the_rights_that_are_missing_are_named(topic: str, admin: AdminClient) -> None:
    require("Kafka with SASL", KAFKA_SASL_BOOTSTRAP)
    own = topic.removesuffix(".note")
    properties = {
        "client.id": own,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "gateway",
        "sasl.password": "gateway-secret",
    }
    ids = (ResourceType.TRANSACTIONAL_ID, f"{own}-", ResourcePatternType.PREFIXED)
    topics = (ResourceType.TOPIC, topic, ResourcePatternType.LITERAL)

    def allow(what: tuple[Any, ...], user: str, operation: AclOperation) -> None:
        kind, name, pattern = what
        right = AclBinding(kind, name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
        admin.create_acls([right])[right].result()

    allow(ids, "reader", AclOperation.WRITE)  # from here on it is open to nobody else
    allow(topics, "reader", AclOperation.READ)
    allow(topics, "gateway", AclOperation.DESCRIBE)
    try:
        async with opened(KAFKA_SASL_BOOTSTRAP, timeout=4, properties=properties) as bus:
            await until(lambda: refused(bus, event(topic)), f"WRITE for transactional ids: .* prefix '{own}-'")
            allow(ids, "gateway", AclOperation.WRITE)
            await until(lambda: refused(bus, event(topic), event(topic)), f"WRITE for topic '{topic}'")
            allow(topics, "gateway", AclOperation.WRITE)
            async with asyncio.timeout(15):
                while True:
                    try:
                        await bus.publish_all_or_none([event(topic)])
                        break
                    except BusUnavailable:
                        await asyncio.sleep(0.2)
    finally:
        for kind, name, pattern in (ids, topics):
            every = (None, None, AclOperation.ANY, AclPermissionType.ANY)
            rights = AclBindingFilter(kind, name, pattern, *every)  # type: ignore[arg-type]
            admin.delete_acls([rights])[rights].result()


async def until(attempt: Callable[[], Awaitable[InlakeError]], sentence: str) -> None:
    """Soon; the broker hears of rights a moment after they are given."""
    async with asyncio.timeout(15):
        while not re.search(sentence, (await attempt()).detail):
            await asyncio.sleep(0.2)
