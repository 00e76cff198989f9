"""Rejects in a topic: how a process comes to know them, on an embedded bus that can fail."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from msgspec import structs

from inlake.bus.sqlite.bus import SqliteBus
from inlake.errors import BusUnavailable, TopicMissing
from inlake.model import Event, Message, Position
from inlake.rejects.kafka import log as of_topic
from inlake.rejects.kafka.log import KIND, TopicRejects
from inlake.rejects.reject import Mark, Wanted
from tests.contract.test_rejects import DAY, reject

TOPIC = "rejects"


class ReadBus(SqliteBus):
    """Counts what it gives to readers; it may be `away`, or give nothing until it is `released`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.given = 0
        self.is_away = self.is_missing = False
        """Whether it cannot be read, or has no topic from the second reading on."""
        self.read_after: list[list[Position]] = []
        self.released = asyncio.Event()
        self.released.set()

    async def read(self, *args: Any, **options: Any) -> AsyncIterator[Message]:
        if self.is_away:
            raise BusUnavailable("The bus is away.")
        self.read_after.append(list(options.get("after", ())))
        if self.is_missing and len(self.read_after) > 1:
            raise TopicMissing("The bus has no such topic.")
        async for message in super().read(*args, **options):
            await self.released.wait()
            self.given += 1
            yield message


@pytest_asyncio.fixture
async def bus(tmp_path: Path) -> AsyncIterator[ReadBus]:
    bus = ReadBus(tmp_path / "events.db")
    yield bus
    await bus.close()


@pytest_asyncio.fixture
async def rejects(bus: ReadBus) -> AsyncIterator[TopicRejects]:
    """Another process's view of a topic with 30 rejects."""
    writer = TopicRejects(bus, TOPIC, seconds=DAY, most_bytes=1 << 30)
    await writer.add([reject(n) for n in range(30)])
    await writer.close()
    log = TopicRejects(bus, TOPIC, seconds=DAY, most_bytes=1 << 30)
    yield log
    await log.close()


async def given(bus: ReadBus, count: int) -> None:
    async with asyncio.timeout(20):
        while bus.given < count:
            await asyncio.sleep(0.01)


async def test_a_topic_is_read_before_the_first_question_and_once(bus: ReadBus, rejects: TopicRejects) -> None:
    rejects.begin()
    await given(bus, 30)
    assert [cause.count for cause in await rejects.causes(Wanted())] == [30]
    await rejects.add([reject(31)])
    await given(bus, 31)
    await asyncio.sleep(0.3)
    assert bus.given == 31
    assert [cause.count for cause in await rejects.causes(Wanted())] == [31]


async def test_a_question_waits_for_what_is_being_read(bus: ReadBus, rejects: TopicRejects) -> None:
    bus.released.clear()
    rejects.begin()
    question = asyncio.create_task(rejects.causes(Wanted()))
    await asyncio.sleep(0.1)
    assert not question.done()
    bus.released.set()
    assert [cause.count for cause in await question] == [30]


async def test_a_question_is_told_when_the_reading_takes_long(
    bus: ReadBus, rejects: TopicRejects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_topic, "WAIT_SECONDS", 0.1)
    bus.released.clear()
    with pytest.raises(BusUnavailable, match="is still being read, 0 messages so far: try again"):
        await rejects.causes(Wanted())


async def test_a_bus_that_is_away_is_told_at_once_and_read_when_it_is_back(
    bus: ReadBus, rejects: TopicRejects, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(of_topic, "AGAIN_SECONDS", 0.01)
    caplog.set_level(logging.WARNING, "inlake.rejects")
    bus.is_away = True
    rejects.begin()
    for _ in range(3):
        with pytest.raises(BusUnavailable, match="The bus is away"):
            await rejects.causes(Wanted())
        await asyncio.sleep(0.05)
    assert [record.message for record in caplog.records] == ["the topic of rejects cannot be read: The bus is away."]
    bus.is_away = False
    await given(bus, 30)
    async with asyncio.timeout(20):
        while not rejects._is_known:
            await asyncio.sleep(0.01)
    assert [cause.count for cause in await rejects.causes(Wanted())] == [30]


async def test_what_is_no_reject_is_left_out(bus: ReadBus, rejects: TopicRejects) -> None:
    no_time = msgspec.json.encode(structs.replace(reject(), at=2**63))
    for value in (b"", b"{", b'"\xff"', b'{"id": 1}', no_time):
        await bus.publish([Event("1", TOPIC, b"", value, ((KIND, b"refused"),))])
    assert len(await rejects.page(Wanted(), 100, None)) == 30


async def test_a_mark_that_is_read_before_its_reject_counts(bus: ReadBus, rejects: TopicRejects) -> None:
    """As from two partitions: a topic that has got more of them has the two of one key in different ones."""
    one, mark = reject(31), Mark("", 7, "event-1")
    for kind, value in (("mended", structs.replace(mark, id=one.id)), ("refused", one)):
        await bus.publish([rejects._event(kind, one.id, msgspec.json.encode(value))])
    found = await rejects.find(one.id)
    assert found is not None
    assert (found.mended, found.mended_at) == ("event-1", 7)
    assert len(await rejects.page(Wanted(), 100, None)) == 30


async def test_a_topic_that_is_made_anew_is_read_from_its_start(
    bus: ReadBus, rejects: TopicRejects, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_topic, "AGAIN_SECONDS", 0.01)
    bus.is_missing = True
    rejects.begin()
    await given(bus, 30)
    async with asyncio.timeout(20):
        while [] not in bus.read_after[2:]:
            await asyncio.sleep(0.01)
    bus.is_missing = False
    await given(bus, 60)
    assert [cause.count for cause in await rejects.causes(Wanted())] == [30]


async def test_it_closes_while_it_reads(bus: ReadBus, rejects: TopicRejects) -> None:
    bus.released.clear()
    rejects.begin()
    await asyncio.sleep(0.1)
    async with asyncio.timeout(5):
        await rejects.close()
