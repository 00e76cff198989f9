"""The contract of `Bus`: one suite for every adapter."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import pytest
from confluent_kafka.admin import AdminClient
from msgspec import structs

from inlake.bus.kafka.bus import KafkaBus
from inlake.bus.kafka.topics import NewTopics
from inlake.bus.sqlite.bus import SqliteBus
from inlake.errors import InlakeError, RecordTooLarge, ShuttingDown
from inlake.model import Event, Message, Moment, Place, Position, moment_of
from inlake.ports import Bus
from tests.live_servers import KAFKA_BOOTSTRAP, require


@dataclass
class Subject:
    """A bus to be judged, and another adapter over the same events."""

    bus: Bus
    again: Callable[[], Bus]
    topic: str
    too_large: int
    """Bytes of a value that this bus refuses."""


KAFKA: dict[str, Literal["own", "librdkafka"]] = {"kafka": "own", "kafka by librdkafka": "librdkafka"}


@pytest.fixture(params=[*(pytest.param(name, marks=pytest.mark.live) for name in KAFKA), "sqlite"])
async def subject(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Subject]:
    topic = f"test-{uuid4().hex}"
    if request.param == "sqlite":
        opened = SqliteBus(tmp_path / "folder" / "events.db")
        yield Subject(opened, lambda: SqliteBus(tmp_path / "folder" / "events.db"), topic, (64 << 20) + 1)
        await opened.close()
        return
    require("Kafka", KAFKA_BOOTSTRAP)
    bus = KafkaBus(KAFKA_BOOTSTRAP, new_topics=NewTopics(3, 1), producer=KAFKA[request.param])
    yield Subject(bus, lambda: KafkaBus(KAFKA_BOOTSTRAP), topic, 3_000_000)
    await bus.close()
    admin = AdminClient({"bootstrap.servers": KAFKA_BOOTSTRAP, "log_level": 0})  # its answers come while it lives
    for deleted in admin.delete_topics([topic, f"{topic}-known"]).values():
        deleted.exception()


CONTEXT = (
    ("ce_type", b"tate.artwork"),
    ("inlake_resource_uri", "file:///Ω/ключ/猫".encode()),
    ("", b""),
)


def event(topic: str, value: bytes = b"\x00\x00\x00\x00\x01payload", *, key: bytes = b"tate.artwork") -> Event:
    return Event(str(uuid4()), topic, key, value, CONTEXT)


def positions(results: Sequence[Place | InlakeError]) -> list[Position]:
    for result in results:
        assert isinstance(result, Position), result
    return [result for result in results if isinstance(result, Position)]


async def read(bus: Bus, topic: str, start: Literal["earliest", "latest"] = "earliest") -> list[Message]:
    return [message async for message in bus.read([topic], start=start)]


async def read_committed(subject: Subject, count: int) -> dict[Place, bytes | None]:
    """So many, once they are all there: Kafka lets readers see what is committed a moment after it has said so."""
    async with asyncio.timeout(10):
        while len(got := await read(subject.bus, subject.topic)) < count:
            await asyncio.sleep(0.05)
    return {message.position: message.value for message in got}


async def test_an_event_comes_back_as_it_was_published(subject: Subject) -> None:
    sent = event(subject.topic, os.urandom(1000), key="tate.artwork/музей".encode())
    [position] = positions(await subject.bus.publish([sent]))
    [got] = await read(subject.bus, subject.topic)
    assert (got.position, got.key, got.value, got.headers) == (position, sent.key, sent.value, sent.headers)
    assert got.timestamp_ms > 1_700_000_000_000


async def test_an_empty_value_and_an_empty_key_come_back_empty(subject: Subject) -> None:
    sent = structs.replace(event(subject.topic, b"", key=b""), context=())
    positions(await subject.bus.publish([sent]))
    [got] = await read(subject.bus, subject.topic)
    assert (got.key, got.value, got.headers) == (b"", b"", [("ce_id", sent.id.encode())])


async def test_publishing_nothing_gives_nothing(subject: Subject) -> None:
    assert await subject.bus.publish([]) == []


async def test_a_result_belongs_to_the_event_at_its_index(subject: Subject) -> None:
    events = [event(subject.topic, b"%d" % i, key=b"key-%d" % (i % 7)) for i in range(500)]
    where = positions(await subject.bus.publish(events))
    got = {message.position: message.value for message in await read(subject.bus, subject.topic)}
    assert [got[position] for position in where] == [e.value for e in events]


async def test_events_with_one_key_keep_their_order(subject: Subject) -> None:
    for start in range(0, 300, 100):
        events = [event(subject.topic, b"%d" % i, key=b"key-%d" % (i % 5)) for i in range(start, start + 100)]
        positions(await subject.bus.publish(events))
    got = await read(subject.bus, subject.topic)
    for key in (b"key-%d" % i for i in range(5)):
        values = [int(message.value or b"") for message in got if message.key == key]
        assert values == sorted(values)
        assert len(values) == 60


async def test_calls_made_without_waiting_keep_their_order(subject: Subject) -> None:
    published = [asyncio.ensure_future(subject.bus.publish([event(subject.topic, b"0")]))]
    until = float("inf")
    while time.monotonic() < until and len(published) < 50_000:
        # the first ones ask for a topic that is not known yet; those that come just when it is must not overtake them
        published.append(asyncio.ensure_future(subject.bus.publish([event(subject.topic, b"%d" % len(published))])))
        await asyncio.sleep(0)
        if published[0].done():
            until = min(until, time.monotonic() + 0.05)
    for call in published:
        positions(await call)
    got = [int(message.value or b"") for message in await read(subject.bus, subject.topic)]
    assert got == list(range(len(published)))


async def test_a_call_that_waits_for_one_topic_is_not_overtaken_in_another(subject: Subject) -> None:
    known, new = f"{subject.topic}-known", subject.topic
    positions(await subject.bus.publish([event(known, b"0")]))
    calls = [
        [event(new, b"a")],  # has to ask for its topic
        [event(new, b"b"), event(known, b"1")],  # waits for that answer
        [event(known, b"2")],
    ]
    published = [asyncio.ensure_future(subject.bus.publish(call)) for call in calls]
    for one in published:
        positions(await one)
    assert [message.value for message in await read(subject.bus, known)] == [b"0", b"1", b"2"]


async def test_calls_that_wait_for_their_turn_and_go_away_hold_up_nobody(subject: Subject) -> None:
    known = f"{subject.topic}-known"
    positions(await subject.bus.publish([event(known, b"0")]))
    calls = [
        asyncio.ensure_future(subject.bus.publish([event(subject.topic), event(known, b"%d" % n)])) for n in range(1, 6)
    ]
    await asyncio.sleep(0)
    calls[1].cancel()
    calls[3].cancel()
    await asyncio.wait(calls)
    for call in calls[::2]:
        positions(call.result())
    got = [int(message.value or b"") for message in await read(subject.bus, known)]
    assert [n for n in got if n not in (2, 4)] == [0, 1, 3, 5], "of a call that went away nobody knows"


async def test_one_event_that_is_too_large_does_not_sink_the_others(subject: Subject) -> None:
    big = os.urandom(1 << 20) * (subject.too_large // (1 << 20) + 1)
    values = [b"before", big[: subject.too_large], b"after"]
    first, refused, last = await subject.bus.publish([event(subject.topic, value) for value in values])
    assert isinstance(refused, RecordTooLarge)
    assert len(positions([first, last])) == 2
    assert [message.value for message in await read(subject.bus, subject.topic)] == [b"before", b"after"]


async def test_all_or_none_gives_each_event_its_own_position(subject: Subject) -> None:
    events = [event(subject.topic, b"%d" % i, key=b"key-%d" % (i % 7)) for i in range(500)]
    where = await subject.bus.publish_all_or_none(events)
    got = await read_committed(subject, 500)
    assert [got[position] for position in where] == [e.value for e in events]
    assert await subject.bus.publish_all_or_none([]) == []


async def test_all_or_none_is_none_when_one_is_too_large_and_names_it(subject: Subject) -> None:
    big = os.urandom(1 << 20) * (subject.too_large // (1 << 20) + 1)
    values = [b"before", big[: subject.too_large], b"after"]
    with pytest.raises(RecordTooLarge) as refused:
        await subject.bus.publish_all_or_none([event(subject.topic, value) for value in values])
    assert refused.value.members == {"event": 1}
    positions(await subject.bus.publish([event(subject.topic, b"another")]))
    assert [message.value for message in await read(subject.bus, subject.topic)] == [b"another"]
    assert len(await subject.bus.publish_all_or_none([event(subject.topic, b"next"), event(subject.topic)])) == 2


async def test_calls_of_all_or_none_and_others_do_not_disturb_each_other(subject: Subject) -> None:
    together = [[event(subject.topic, b"%d-%d" % (n, i)) for i in range(20)] for n in range(8)]
    alone = [[event(subject.topic, b"alone-%d" % n)] for n in range(40)]
    calls = [asyncio.ensure_future(subject.bus.publish_all_or_none(events)) for events in together]
    others = [asyncio.ensure_future(subject.bus.publish(events)) for events in alone]
    results = [await call for call in calls] + [positions(await other) for other in others]
    got = await read_committed(subject, 8 * 20 + 40)
    for events, where in zip(together + alone, results, strict=True):
        assert [got[position] for position in where] == [e.value for e in events]
    assert len(got) == 8 * 20 + 40


async def test_close_lets_calls_of_all_or_none_end_and_takes_no_more(subject: Subject) -> None:
    calls = [asyncio.create_task(subject.bus.publish_all_or_none([event(subject.topic)] * 1)) for _ in range(5)]
    await calls[0]
    await subject.bus.close()
    assert [len(where) for where in await asyncio.gather(*calls)] == [1] * 5
    with pytest.raises(ShuttingDown):
        await subject.bus.publish_all_or_none([event(subject.topic)])


async def test_a_caller_of_all_or_none_that_goes_away_does_not_break_the_others(subject: Subject) -> None:
    tasks = [asyncio.create_task(subject.bus.publish_all_or_none([event(subject.topic)])) for _ in range(8)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, list) for result in results[1::2])
    assert len(await subject.bus.publish_all_or_none([event(subject.topic)])) == 1


async def test_a_record_of_900_000_random_bytes_fits(subject: Subject) -> None:
    value = os.urandom(900_000)
    positions(await subject.bus.publish([event(subject.topic, value)]))
    [got] = await read(subject.bus, subject.topic)
    assert got.value == value


async def test_200_publishers_at_once_each_get_their_own_position(subject: Subject) -> None:
    events = [event(subject.topic, b"%d" % i, key=b"key-%d" % (i % 9)) for i in range(200)]
    results = await asyncio.gather(*(subject.bus.publish([e]) for e in events))
    got = {message.position: message.value for message in await read(subject.bus, subject.topic)}
    assert [got[positions(result)[0]] for result in results] == [e.value for e in events]


async def test_a_cancelled_publisher_does_not_break_the_others(subject: Subject) -> None:
    tasks = [asyncio.create_task(subject.bus.publish([event(subject.topic, b"%d" % i)])) for i in range(60)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results[1::2]:
        assert isinstance(result, list)
        positions(result)
    positions(await subject.bus.publish([event(subject.topic)]))


async def test_close_lets_what_is_in_flight_arrive(subject: Subject) -> None:
    positions(await subject.bus.publish([event(subject.topic)]))
    tasks = [asyncio.create_task(subject.bus.publish([event(subject.topic)] * 1)) for _ in range(50)]
    await asyncio.sleep(0)
    await subject.bus.close()
    for result in await asyncio.gather(*tasks):
        positions(result)
    assert len(await read(subject.again(), subject.topic)) == 51


async def test_after_close_nothing_is_published(subject: Subject) -> None:
    await subject.bus.close()
    [result] = await subject.bus.publish([event(subject.topic)])
    assert isinstance(result, ShuttingDown)


async def test_reading_the_latest_without_following_ends_at_once(subject: Subject) -> None:
    positions(await subject.bus.publish([event(subject.topic)]))
    assert await read(subject.bus, subject.topic, "latest") == []


async def test_a_follower_from_the_start_sees_old_and_new_events(subject: Subject) -> None:
    positions(await subject.bus.publish([event(subject.topic, b"old")]))
    reader: Any = subject.bus.read([subject.topic], follow=True)
    assert (await asyncio.wait_for(anext(reader), 10)).value == b"old"
    positions(await subject.bus.publish([event(subject.topic, b"new")]))
    assert (await asyncio.wait_for(anext(reader), 10)).value == b"new"
    await reader.aclose()


async def test_a_follower_of_the_latest_sees_new_events_only(subject: Subject) -> None:
    positions(await subject.bus.publish([event(subject.topic, b"old")]))
    reader: Any = subject.bus.read([subject.topic], start="latest", follow=True)
    first = asyncio.ensure_future(anext(reader))
    while not first.done():  # nobody can see from outside when it has begun
        positions(await subject.bus.publish([event(subject.topic, b"new")]))
        await asyncio.wait([first], timeout=0.2)
    assert first.result().value == b"new"
    await reader.aclose()


async def test_reading_goes_on_behind_positions_that_were_read(subject: Subject) -> None:
    positions(await subject.bus.publish([event(subject.topic, b"%d" % n, key=b"%d" % n) for n in range(20)]))
    known = {message.position.partition: message.position for message in await read(subject.bus, subject.topic)}
    assert [m async for m in subject.bus.read([subject.topic], after=known.values())] == []
    positions(await subject.bus.publish([event(subject.topic, b"new")]))
    assert [m.value async for m in subject.bus.read([subject.topic], after=known.values())] == [b"new"]
    one = next(iter(known.values()))
    got = [m async for m in subject.bus.read([subject.topic], after=[structs.replace(one, offset=one.offset - 1)])]
    assert (got.count(next(m for m in got if m.position == one)), len({m.position for m in got})) == (1, len(got))
    reader: Any = subject.bus.read([subject.topic], start="latest", follow=True, after=known.values())
    assert (await asyncio.wait_for(anext(reader), 10)).value == b"new"
    await reader.aclose()


async def test_a_follower_that_is_cancelled_while_it_waits_lets_go(subject: Subject) -> None:
    positions(await subject.bus.publish([event(subject.topic)]))
    reader: Any = subject.bus.read([subject.topic], follow=True)
    await anext(reader)
    waiting = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(await read(subject.bus, subject.topic)) == 1


async def test_reading_without_topics_reads_all(subject: Subject) -> None:
    positions(await subject.bus.publish([event(subject.topic)]))
    published = asyncio.create_task(publish_until_stopped(subject))
    async for message in subject.bus.read(start="latest", follow=True):
        if message.position.topic == subject.topic:
            break
    published.cancel()


async def publish_until_stopped(subject: Subject) -> None:
    while True:  # nobody can see from outside when a reader has begun
        positions(await subject.bus.publish([event(subject.topic)]))
        await asyncio.sleep(0.1)


async def test_the_newest_messages_come_first(subject: Subject) -> None:
    for n in range(5):
        (at,) = positions(await subject.bus.publish([event(subject.topic, b"%d" % n)]))
        await asyncio.sleep(0.002)  # Kafka orders partitions by time, in milliseconds
    found = await subject.again().recent(3, [subject.topic])
    assert [message.value for message in found] == [b"4", b"3", b"2"]
    assert found[0].position == at


async def test_the_newest_messages_are_so_also_where_one_key_has_most(subject: Subject) -> None:
    for n in range(12):
        rare = [event(subject.topic, b"rare", key=b"rare-%d" % n)]
        positions(await subject.bus.publish([*rare, *[event(subject.topic, b"often") for _ in range(40)]]))
        await asyncio.sleep(0.002)
    all_times = sorted([message.timestamp_ms for message in await read(subject.bus, subject.topic)], reverse=True)
    for limit in 1, 100, 2_000:
        found = await subject.again().recent(limit, [subject.topic])
        assert [message.timestamp_ms for message in found] == all_times[:limit]


async def test_a_page_begins_where_the_one_before_it_ended(subject: Subject) -> None:
    for n in range(4):
        calls = [event(subject.topic, b"%d" % (10 * n + m), key=b"%d" % (m % 3)) for m in range(7)]
        positions(await subject.bus.publish(calls))  # of one millisecond, most of them
    bus = subject.again()
    at_once = await bus.recent(2_000, [subject.topic])
    assert len(at_once) == 28
    pages, before = list[Message](), None
    while page := await bus.recent(3, [subject.topic], before=before):
        pages, before = [*pages, *page], moment_of(page[-1])
    assert pages == at_once
    assert await bus.recent(3, [subject.topic], before=Moment(0, subject.topic, 0, 0)) == []


async def test_messages_are_found_up_to_a_time(subject: Subject) -> None:
    for n in range(3):
        positions(await subject.bus.publish([event(subject.topic, b"%d" % n)]))
        await asyncio.sleep(0.01)
    bus = subject.again()
    newest, middle, oldest = await bus.recent(3, [subject.topic])
    for ms, found in (
        (newest.timestamp_ms, [newest, middle, oldest]),
        (newest.timestamp_ms - 1, [middle, oldest]),
        (oldest.timestamp_ms, [oldest]),
        (oldest.timestamp_ms - 1, []),
    ):
        assert await bus.recent(3, [subject.topic], before=Moment.end_of(ms)) == found


async def test_of_large_messages_few_are_read_and_none_of_the_newest_is_left_out(subject: Subject) -> None:
    for n in range(40):
        positions(await subject.bus.publish([event(subject.topic, b"%02d" % n * 250_000, key=b"%d" % n)]))
        await asyncio.sleep(0.002)
    found = [int((message.value or b"")[:2]) for message in await subject.again().recent(2_000, [subject.topic])]
    assert 3 <= len(found) <= 20
    assert found == [*range(39, 39 - len(found), -1)]


async def test_a_message_is_found_by_its_position(subject: Subject) -> None:
    sent = [event(subject.topic, b"%d" % n) for n in range(3)]
    first, middle, last = positions(await subject.bus.publish(sent))
    found = await subject.again().find(middle)
    assert found is not None
    assert (found.value, found.position) == (b"1", middle)
    assert dict(found.headers)["ce_id"].decode() == sent[1].id
    assert await subject.bus.find(Position(last.topic, last.partition, last.offset + 100)) is None
    assert first.topic == subject.topic
    for nowhere in (
        Position(last.topic, 1 << 31, last.offset), Position(last.topic, last.partition, 1 << 63),
        Position(last.topic, 77, 0), Position(f"{last.topic}-elsewhere", 0, 0),
    ):  # fmt: skip
        async with asyncio.timeout(5):
            assert await subject.bus.find(nowhere) is None


async def test_a_bus_that_works_has_only_warnings(subject: Subject) -> None:
    positions(await subject.bus.publish([event(subject.topic)]))
    for warning in await subject.bus.check():
        assert len(warning.split()) > 5
