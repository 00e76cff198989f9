"""What the producer says when a request goes wrong, beside what an independent reader then finds in the log."""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import pytest
import uvloop
from confluent_kafka import Producer as KafkaProducer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic, murmur2

from inlake.bus.kafka.bus import KafkaBus
from inlake.bus.kafka.producer import Producer
from inlake.bus.kafka.properties import CONNECTION, find_access
from inlake.errors import BusUnavailable, InlakeError, OutcomeUnknown, RecordTooLarge, Unavailable
from inlake.model import Event, Position
from tests.kafka_said import Said
from tests.kafka_wire import INIT_PRODUCER_ID, METADATA, PRODUCE, SASL_AUTHENTICATE, Fault, Wire
from tests.live_servers import KAFKA_BOOTSTRAP, KAFKA_SASL_BOOTSTRAP, require

pytestmark = pytest.mark.live

SECONDS = float(os.environ.get("INLAKE_TEST_KAFKA_SECONDS", "5"))
TIMEOUT = 2.0
PARTITIONS = 3
AS_GATEWAY = {
    "security.protocol": "SASL_PLAINTEXT",
    "sasl.mechanism": "PLAIN",
    "sasl.username": "gateway",
    "sasl.password": "gateway-secret",
}
KEYS = [next(b"key-%d" % i for i in itertools.count() if murmur2(b"key-%d" % i, PARTITIONS) == p) for p in range(3)]
"""One for each partition."""


@pytest.fixture(scope="module")
def topics() -> Iterator[list[str]]:
    require("Kafka", KAFKA_BOOTSTRAP)
    admin = AdminClient({"bootstrap.servers": KAFKA_BOOTSTRAP, "log_level": 0})
    names = [f"test-{uuid4().hex}" for _ in range(2)]
    for done in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]).values():
        done.result()
    witness = KafkaProducer({"bootstrap.servers": KAFKA_BOOTSTRAP, "log_level": 0})
    for name, partition in itertools.product(names, range(PARTITIONS)):  # a new one takes a moment to get around
        witness.produce(name, b"first", partition=partition, headers={"ce_id": b"first"})
    assert witness.flush(20) == 0
    yield names
    for done in admin.delete_topics(names).values():
        done.exception()


@pytest.fixture
def topic(topics: list[str]) -> str:
    return topics[0]


@asynccontextmanager
async def opened(servers: str = KAFKA_BOOTSTRAP, timeout: float = TIMEOUT) -> AsyncIterator[KafkaBus]:
    bus = KafkaBus(servers, timeout=timeout)
    try:
        yield bus
    finally:
        await bus.close()


@asynccontextmanager
async def producer(
    servers: str = KAFKA_BOOTSTRAP, timeout: float = TIMEOUT, properties: Mapping[str, str] | None = None
) -> AsyncIterator[Producer]:
    """Alone, without librdkafka's questions about topics."""
    found = find_access({**CONNECTION, "bootstrap.servers": servers, **(properties or {})})
    assert found is not None
    alone = Producer(found, timeout=timeout, on_trouble=lambda: None)
    try:
        yield alone
    finally:
        await alone.close()


def event(topic: str, key: bytes = KEYS[0], value: bytes = b"value") -> Event:
    return Event(str(uuid4()), topic, key, value, (("ce_type", b"note"),))


async def send(said: Said, alone: Producer, *events: Event) -> list[Position | InlakeError]:
    results = await alone.publish(events, dict.fromkeys({event.topic for event in events}, PARTITIONS))
    said.told += zip(events, results, strict=True)
    return results


# ------------------------------------------------------------------------------------- one fault, and what follows
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("request lost", 0),
        ("answer lost", 0),
        ("cut before", 0),
        ("cut after", 0),
        ("late", 0),
        ("left out", 0),
        ("garbled", 0),
        ("answered", 6),  # NOT_LEADER_OR_FOLLOWER
        ("answered after", 6),
        ("answered after", 7),  # REQUEST_TIMED_OUT
        ("answered", 19),  # NOT_ENOUGH_REPLICAS
        ("answered after", 20),  # NOT_ENOUGH_REPLICAS_AFTER_APPEND
        ("answered", 45),  # OUT_OF_ORDER_SEQUENCE_NUMBER
        ("answered", 46),  # DUPLICATE_SEQUENCE_NUMBER, of a batch that was never sent before
        ("answered", 59),  # UNKNOWN_PRODUCER_ID
        ("answered", 999),
        ("answered after", 999),
        ("answered after", -1),  # UNKNOWN_SERVER_ERROR
    ],
)
async def test_one_fault_costs_no_event_and_repeats_none(fault: Fault, code: int, topic: str) -> None:
    said, events = Said(), [event(topic, KEYS[i % 3], b"%d" % i) for i in range(300)]
    wire = Wire([None, fault], at=PRODUCE, code=code, seconds=1.5 * TIMEOUT)
    async with wire.laid(), opened(wire.address) as bus:
        await said.publish(bus, *[event(topic, key) for key in KEYS])
        began = time.monotonic()
        await said.publish(bus, *events)
        assert time.monotonic() - began < TIMEOUT
        assert wire.happened.is_set()
        await said.publish(bus, event(topic))
    assert all(isinstance(result, Position) for _, result in said.told)
    assert set((await said.check()).values()) == {1}


@pytest.mark.parametrize(
    ("code", "error", "sentence"),
    [
        (10, RecordTooLarge, "larger than Kafka takes"),
        (29, BusUnavailable, "lacks the right WRITE"),
        (44, BusUnavailable, "did not take the event"),  # POLICY_VIOLATION
    ],
)
async def test_what_a_broker_refuses_is_not_in_the_log_and_the_next_event_is(
    code: int, error: type[InlakeError], sentence: str, topic: str
) -> None:
    said, wire = Said(), Wire("answered", at=PRODUCE, code=code)
    async with wire.laid(), opened(wire.address) as bus:
        [refused] = await said.publish(bus, event(topic))
        assert isinstance(refused, error)
        assert sentence in refused.detail
        [result] = await said.publish(bus, event(topic))
        assert isinstance(result, Position)
    assert len(await said.check()) == 1


async def test_a_batch_that_is_too_large_goes_in_parts(topic: str) -> None:
    said, wire = Said(), Wire("answered", at=PRODUCE, code=10)
    async with wire.laid(), opened(wire.address) as bus:
        results = await said.publish(bus, *[event(topic) for _ in range(7)])
        assert all(isinstance(result, Position) for result in results)
    await said.check()


async def test_headers_that_are_larger_than_their_events_do_not_keep_a_batch_from_being_cut(topic: str) -> None:
    said, context = Said(), (("ce_type", b"x" * 20_000),)
    async with opened() as bus:
        events = [Event(str(uuid4()), topic, KEYS[0], b"value", context) for _ in range(200)]
        results = await said.publish(bus, *events)
        assert all(isinstance(result, Position) for result in results)
    await said.check()


# ----------------------------------------------------------------------------------------- faults that do not end
@dataclass
class Switch:
    """Faults of one kind, as long as it is on."""

    fault: Fault
    first: tuple[Fault | None, ...] = ()
    on: bool = True

    def __iter__(self) -> Iterator[Fault | None]:
        yield from self.first
        while True:
            yield self.fault if self.on else None


@pytest.mark.parametrize(
    ("fault", "code", "written"),
    [("request lost", 0, 0), ("cut after", 0, 1), ("answered after", 6, 1)],
)
async def test_an_event_whose_outcome_stays_unknown_gives_its_place_to_no_other(
    fault: Fault, code: int, written: int, topic: str
) -> None:
    said, switch = Said(), Switch(fault)
    async with Wire(switch, at=PRODUCE, code=code).laid() as wire, opened(wire.address) as bus:
        unknown = event(topic)
        began = time.monotonic()
        [result] = await said.publish(bus, unknown)
        assert isinstance(result, OutcomeUnknown)
        assert time.monotonic() - began < TIMEOUT + 2.5
        switch.on = False
        began = time.monotonic()
        [result] = await said.publish(bus, event(topic))  # as many events as before, in the same partition
        assert isinstance(result, Position)
        assert time.monotonic() - began < 1.5
    assert (await said.check())[unknown.id] == written  # once, however often it was sent


async def test_a_window_over_several_partitions_without_an_answer_does_not_delay_the_next(topic: str) -> None:
    said, switch = Said(), Switch("request lost")
    async with Wire(switch, at=PRODUCE).laid() as wire, producer(wire.address) as alone:
        results = await send(said, alone, *[event(topic, key) for key in KEYS for _ in range(5)])
        assert all(isinstance(result, OutcomeUnknown) for result in results)
        switch.on = False
        began = time.monotonic()
        results = await send(said, alone, *[event(topic, key) for key in KEYS])
        assert all(isinstance(result, Position) for result in results)
        assert time.monotonic() - began < SILENCE_AND_RECONNECT
    await said.check()


SILENCE_AND_RECONNECT = 1.4
"""Seconds, of a time-out of 2."""


async def test_what_was_said_not_to_be_in_the_log_does_not_get_there_with_events_that_wait_longer(topic: str) -> None:
    said, switch = Said(), Switch("answered", first=(None, "late"))
    wire = Wire(switch, at=PRODUCE, code=19, seconds=0.7)
    async with wire.laid(), producer(wire.address) as alone:
        await send(said, alone, event(topic))
        late = asyncio.create_task(send(said, alone, event(topic)))
        await asyncio.sleep(0.05)
        short = asyncio.create_task(send(said, alone, event(topic)))
        await asyncio.sleep(0.6)
        long = asyncio.create_task(send(said, alone, event(topic)))  # in one batch with the one before
        [refused] = await short
        assert isinstance(refused, BusUnavailable)
        switch.on = False
        [first], [last] = await late, await long
        assert isinstance(first, Position)
        assert isinstance(last, Position)
        assert last.offset == first.offset + 1
    await said.check()


async def test_a_batch_that_may_be_in_the_log_is_not_cut_when_it_is_found_too_large_the_next_time(topic: str) -> None:
    said = Said()
    async with Wire(["cut after", "answered"], at=PRODUCE, code=10).laid() as wire, opened(wire.address) as bus:
        results = await said.publish(bus, *[event(topic) for _ in range(10)])
        assert all(isinstance(result, OutcomeUnknown) for result in results)
        [result] = await said.publish(bus, event(topic))
        assert isinstance(result, Position)
    assert set((await said.check()).values()) == {1}


async def test_a_broker_that_always_says_it_has_lost_count_is_not_asked_without_a_pause(topic: str) -> None:
    said, asked = Said(), itertools.count()
    faults: Iterator[Fault] = ("answered" for _ in asked)
    async with Wire(faults, at=PRODUCE, code=45).laid() as wire, producer(wire.address) as alone:
        [result] = await send(said, alone, event(topic))
    assert isinstance(result, BusUnavailable)
    assert "out of order" in result.detail
    assert next(asked) < 10 * TIMEOUT + 5
    assert not await said.check()


# ------------------------------------------------------------------------------------------ questions that go wrong
@pytest.mark.parametrize("fault", ["cut before", "cut after"])
@pytest.mark.parametrize("question", [METADATA, INIT_PRODUCER_ID])
async def test_a_question_that_is_cut_is_asked_again_at_once(question: int, fault: Fault, topic: str) -> None:
    said = Said()
    async with Wire([fault, fault], at=question).laid() as wire, producer(wire.address) as alone:
        began = time.monotonic()
        [result] = await send(said, alone, event(topic))
        assert isinstance(result, Position), result
        assert time.monotonic() - began < 1.5
    await said.check()


@pytest.mark.parametrize("question", [METADATA, INIT_PRODUCER_ID])
async def test_a_question_without_an_answer_is_asked_on_another_connection_within_the_time_out(
    question: int, topic: str
) -> None:
    said = Said()
    async with Wire("answer lost", at=question).laid() as wire, producer(wire.address) as alone:
        [result] = await send(said, alone, event(topic))
        assert isinstance(result, Position), result


# ----------------------------------------------------------------------------------------------------- the producer
async def test_sequence_numbers_begin_again_at_0_after_2147483647(topic: str) -> None:
    said = Said()
    async with producer() as alone:
        await send(said, alone, event(topic))
        assert alone._requests._producer_ids.current is not None
        queue = alone._requests.queue(topic, 1)
        queue.producer_id, queue.sequence = alone._requests._producer_ids.current, (1 << 31) - 5
        for _ in range(4):
            await send(said, alone, *[event(topic, KEYS[1]) for _ in range(3)])
        assert queue.sequence == 7
    assert all(isinstance(result, Position) for _, result in said.told)
    assert set((await said.check()).values()) == {1}


async def test_a_connection_is_replaced_before_its_authentication_is_over_and_nobody_notices(topic: str) -> None:
    require("Kafka with SASL", KAFKA_SASL_BOOTSTRAP)
    said, end = Said(), time.monotonic() + 3
    wire = Wire(itertools.repeat("expires"), at=SASL_AUTHENTICATE, seconds=1.0, to=KAFKA_SASL_BOOTSTRAP)
    async with wire.laid(), producer(wire.address, properties=AS_GATEWAY) as alone:
        while time.monotonic() < end:
            began = time.monotonic()
            windows = [[event(topic, key) for key in KEYS] for _ in range(3)]
            await asyncio.gather(*[send(said, alone, *window) for window in windows])
            assert time.monotonic() - began < 0.5
        assert wire.opened >= 3
        assert wire.open <= 2
    assert all(isinstance(result, Position) for _, result in said.told)
    await said.check()


async def test_an_event_that_cannot_be_encoded_costs_other_partitions_nothing(
    topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    said, wrong = Said(), Event("\ud800", topic, KEYS[0], b"value", ())
    async with producer(timeout=1) as alone:
        bad = asyncio.create_task(send(Said(), alone, wrong))
        results = await send(said, alone, *[event(topic, key) for key in KEYS[1:]])
        assert all(isinstance(result, Position) for result in results)
        assert isinstance((await bad)[0], InlakeError)
        [result] = await send(said, alone, event(topic))
        assert isinstance(result, Position)
    assert "A fault while a batch for Kafka was made" in caplog.text
    await said.check()


async def test_an_outage_keeps_nothing_of_calls_that_have_ended_or_are_gone() -> None:
    async with producer("127.0.0.1:1", timeout=0.5) as alone:
        gone = [asyncio.create_task(send(Said(), alone, event("any", key))) for key in KEYS for _ in range(100)]
        await asyncio.sleep(0)
        for task in gone:
            task.cancel()
        results = await send(Said(), alone, *[event("any", key) for key in KEYS for _ in range(100)])
        assert all(isinstance(result, BusUnavailable) for result in results)
        assert "refused" in str(results[0])
        assert [len(queue.waiting) for queue in alone._requests.queues.values()] == [0, 0, 0]
        assert (alone._events, alone._bytes, len(alone._calls)) == (0, 0, 0)


async def test_an_event_of_a_publisher_who_went_away_in_time_is_not_sent(topic: str) -> None:
    said, gone = Said(), event(topic)
    async with producer() as alone:
        task = asyncio.create_task(send(said, alone, gone))
        await asyncio.sleep(0)
        task.cancel()
        await send(said, alone, event(topic))
    assert gone.id not in await said.check()


async def test_a_partition_that_is_not_there_any_more_is_told_before_the_time_out(topic: str) -> None:
    async with producer(timeout=10) as alone:
        began = time.monotonic()
        [result] = await alone.publish([Event("1", topic, b"key-3", b"", ())], {topic: 1000})
        assert time.monotonic() - began < 5
        assert isinstance(result, InlakeError)


# ------------------------------------------------------------------------------------------------------- a campaign
WITHOUT_THE_BROKER = (3, 6, 10, 19, 29, 45, 47, 59, 999)
AFTER_THE_BROKER = (6, 7, 20, 56, -1, 999)
CUTS: tuple[Fault, ...] = ("request lost", "answer lost", "cut before", "cut after", "late", "left out", "garbled")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_under_random_faults_everything_said_is_true(loop: str, topics: list[str]) -> None:
    seed = os.environ.get("INLAKE_TEST_SEED", uuid4().hex)
    print(f"INLAKE_TEST_SEED={seed}")  # what a failure shows
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
        runner.run(campaign(random.Random(seed), topics))


async def campaign(chance: random.Random, topics: list[str]) -> None:
    said, end = [Said() for _ in range(6)], time.monotonic() + SECONDS / 2
    wire = Wire(random_faults(chance, lambda: wire), at=PRODUCE, seconds=0.3)
    async with wire.laid(), opened(wire.address, timeout=1) as bus:
        publishers = [Publisher(b"%d" % i, chance, topics, each) for i, each in enumerate(said)]
        await asyncio.gather(*[publisher.publish_until(end, bus) for publisher in publishers])
    async with opened() as bus:
        [result] = await said[0].publish(bus, event(topics[0]))
        assert isinstance(result, Position)
    everything = Said([pair for each in said for pair in each.told])
    await everything.check()
    print(Counter(type(result).__name__ for _, result in everything.told))


@dataclass
class Publisher:
    """Sends windows of all sizes, and again what was not confirmed, as clients do."""

    name: bytes
    chance: random.Random
    topics: list[str]
    said: Said

    async def publish_until(self, end: float, bus: KafkaBus) -> None:
        again: list[Event] = []
        while time.monotonic() < end:
            events = again + [self.event() for _ in range(self.chance.choice([1, 1, 1, 10, 100, 2000]))]
            results = await self.said.publish(bus, *events)
            failed = [event for event, result in zip(events, results, strict=True) if isinstance(result, Unavailable)]
            again = failed[:500]  # all of them would be more and more

    def event(self) -> Event:
        key = b"%b-%d" % (self.name, self.chance.randrange(5))
        return event(self.chance.choice(self.topics), key, self.chance.randbytes(self.chance.randrange(200)))


def random_faults(chance: random.Random, wire: Callable[[], Wire]) -> Iterator[Fault | None]:
    while True:
        kind = chance.random()
        if kind < 0.85:
            yield None
        elif kind < 0.9:
            yield chance.choice(CUTS)
        elif kind < 0.95:
            wire().code = chance.choice(WITHOUT_THE_BROKER)
            yield "answered"
        else:
            wire().code = chance.choice(AFTER_THE_BROKER)
            yield "answered after"
