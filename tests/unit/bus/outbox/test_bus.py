"""The bus around another one: nothing is refused and nothing lost while that one is away, and the order is kept."""

from __future__ import annotations

import asyncio
import fcntl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from inlake.bus.outbox.bus import OutboxBus
from inlake.bus.outbox.table import State, Table
from inlake.errors import BusUnavailable, InlakeError, OutcomeUnknown, RecordTooLarge, ShuttingDown
from inlake.metrics import Metrics
from inlake.model import Event, InOutbox, Message, Place, Position
from tests.away import AwayBus

PUBLISHER = """
import asyncio, sys
from pathlib import Path
from inlake.bus.outbox.bus import OutboxBus
from inlake.errors import BusUnavailable
from inlake.model import Event, InOutbox

class Down:
    async def publish(self, events):
        return [BusUnavailable("It is down.") for _ in events]

async def publish_for_ever(bus, name):
    for n in range(100_000):
        [result] = await bus.publish([Event(f"{name}-{n}", "notes", b"k", b"v" * 300, ())])
        assert isinstance(result, InOutbox), result
        print(f"{name}-{n}", flush=True)

async def main(path):
    bus = OutboxBus(Down(), Path(path), most_bytes=1 << 30, seconds=1)
    await asyncio.gather(*(publish_for_ever(bus, str(name)) for name in range(8)))

asyncio.run(main(sys.argv[1]))
"""
SECONDS = 0.2
"""That the bus has in these tests before its events go to the disk."""


@dataclass
class World:
    """A bus that may be away, and the outbox around it."""

    inner: AwayBus
    bus: OutboxBus
    path: Path

    async def published(self) -> list[Message]:
        return [message async for message in self.inner.read()]

    async def drained(self, count: int) -> list[Message]:
        """All that is on the bus, when it is so many and nothing waits any more."""
        end = time.monotonic() + 30
        while len(found := await self.published()) < count or self.bus._table.state().waiting:
            assert time.monotonic() < end, (len(found), await self.bus.check())
            await asyncio.sleep(0.02)
        return found


@asynccontextmanager
async def world(
    folder: Path, *, drains: bool = True, most_bytes: int = 1 << 30, seconds: float = 10
) -> AsyncIterator[World]:
    inner, path = AwayBus(folder / "events.db"), folder / "outbox.db"
    bus = OutboxBus(inner, path, most_bytes=most_bytes, seconds=seconds)
    draining = asyncio.create_task(bus.drain()) if drains else None
    try:
        yield World(inner, bus, path)
    finally:
        inner.state = "up"
        if draining is not None:
            draining.cancel()
            await asyncio.wait([draining])
        await bus.close()


def event(n: int, topic: str = "notes", *, size: int = 10, partition_by: bytes | None = None) -> Event:
    return Event(str(uuid4()), topic, b"note", b"%d" % n + bytes(size), (("ce_type", b"note"),), partition_by)


def kinds(results: Sequence[Place | InlakeError]) -> set[type]:
    return set(map(type, results))


def numbers(messages: Sequence[Message]) -> list[int]:
    return [int((message.value or b"").rstrip(b"\0")) for message in messages]


async def test_a_bus_that_is_there_is_asked_and_nothing_waits(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        results = await w.bus.publish([event(1), event(2), event(3, "others")])
        assert kinds(results) == {Position}
        assert numbers(await w.published()) == [1, 2, 3]
        assert dict((await w.published())[0].headers).get("inlake_outbox") is None
        assert w.bus._table.state() == State()


async def test_events_wait_while_the_bus_is_down_and_go_out_in_order_with_a_header(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.inner.state = "down"
        sent = [event(n) for n in range(20)]
        for one in sent:
            assert await w.bus.publish([one]) == [InOutbox("notes")]
        assert any("20 events" in sentence for sentence in await w.bus.check())
        w.inner.state = "up"
        found = await w.drained(20)
        assert numbers(found) == list(range(20))
        assert [dict(m.headers)["ce_id"].decode() for m in found] == [one.id for one in sent]
        assert {dict(m.headers)["inlake_outbox"] for m in found} == {b"true"}
        assert kinds(await w.bus.publish([event(20)])) == {Position}


async def test_all_of_an_event_comes_out_again(tmp_path: Path) -> None:
    async with world(tmp_path, drains=False) as w:
        w.inner.state = "down"
        sent = Event(
            str(uuid4()), "notes", b"note/\xc3\xa4", bytes(range(256)), (("a", "ä".encode()), ("", b"")), b"\xc3"
        )
        await w.bus.publish([sent])
        (row,) = w.bus._table.take("notes", 10, 1000)
        assert row.event == sent


async def test_calls_made_without_waiting_keep_their_order_through_an_outage(tmp_path: Path) -> None:
    """A stream has four calls on their way: those behind the first must not overtake it."""
    async with world(tmp_path, seconds=SECONDS) as w:
        await w.bus.publish([event(0)])
        w.inner.state = "silent"
        begun = [asyncio.create_task(w.bus.publish([event(n)])) for n in range(1, 5)]
        await asyncio.sleep(SECONDS / 2)
        w.inner.state = "up"  # what is begun now could be taken at once, before those that wait
        begun += [asyncio.create_task(w.bus.publish([event(5)]))]
        await asyncio.sleep(SECONDS)
        begun += [asyncio.create_task(w.bus.publish([event(n)])) for n in range(6, 9)]
        for results in await asyncio.gather(*begun):
            assert kinds(results) <= {Position, InOutbox}
        found = numbers(await w.drained(9))
        assert [n for n in found if n != 5] == [0, 1, 2, 3, 4, 6, 7, 8]


async def test_an_event_of_unknown_outcome_goes_out_again_with_the_same_id(tmp_path: Path) -> None:
    async with world(tmp_path, drains=False) as w:
        w.inner.state = "late"
        assert await w.bus.publish([one := event(1)]) == [InOutbox("notes")]
        w.inner.state = "up"
        await w.bus._drainer.step()
        assert w.inner.calls == [[one.id], [one.id]]


async def test_what_the_bus_refuses_for_good_is_refused_at_once_and_does_not_wait(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.inner.too_large = 1000
        results = await w.bus.publish([event(1), event(2, size=2000), event(3)])
        assert [type(result) for result in results] == [Position, RecordTooLarge, Position]
        assert w.bus._table.state() == State()


async def test_an_event_that_the_bus_refuses_later_is_put_aside_and_holds_up_nobody(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        metrics = Metrics()
        w.bus.count_in(metrics)
        w.inner.state, w.inner.too_large = "down", 1000
        await w.bus.publish([event(1), event(2, size=2000), event(3)])
        w.inner.state = "up"
        end = time.monotonic() + 30
        while numbers(await w.published()) != [1, 3]:
            assert time.monotonic() < end
            await asyncio.sleep(0.02)
        assert kinds(await w.bus.publish([event(4)])) <= {Position, InOutbox}
        assert any("bus refuses for good" in sentence for sentence in await w.bus.check())
        await asyncio.sleep(0.3)
        assert "inlake_outbox_refused 1\n" in metrics.text()


async def test_topics_wait_apart(tmp_path: Path) -> None:
    async with world(tmp_path, drains=False) as w:
        w.inner.state = "down"
        await w.bus.publish([event(1)])
        w.inner.state = "up"
        results = await w.bus.publish([event(2), event(3, "others"), event(4)])
        assert results[0] == InOutbox("notes")
        assert isinstance(results[1], Position)
        assert results[2] == InOutbox("notes")
        assert numbers(await w.published()) == [3]


async def test_the_log_says_drained_once_nothing_waits_any_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "inlake.bus")
    async with world(tmp_path) as w:
        w.inner.refused_topics = {"notes", "pages"}
        for n in range(5):
            await w.bus.publish([event(n), event(n, "pages")])
        w.inner.state = "down"
        await w.bus.publish([event(n, "others") for n in range(1_500)])
        w.inner.state = "up"
        while len(await w.published()) < 1_500:
            await asyncio.sleep(0.02)
        await asyncio.sleep(3)  # both topics are tried some times more
        assert "is drained" not in caplog.text
        assert caplog.text.count("notes is away") == caplog.text.count("pages is away") == 1
        w.inner.refused_topics.clear()
        await w.drained(1_510)
        await asyncio.sleep(0.5)
        assert caplog.text.count("the outbox is drained") == 1


async def test_new_events_go_straight_to_the_bus_again_under_a_load_that_never_ends(tmp_path: Path) -> None:
    """Events come faster than one publish call of the drainer takes: they are held back for its last one."""
    async with world(tmp_path) as w:
        w.inner.state = "down"
        for n in range(300):
            await w.bus.publish([event(n)])
        w.inner.state = "up"
        n, straight, slowest, end = 300, 0, 0.0, time.monotonic() + 30
        while straight < 200:
            assert time.monotonic() < end
            began = time.monotonic()
            (result,) = await w.bus.publish([event(n)])
            slowest = max(slowest, time.monotonic() - began)
            straight = straight + 1 if isinstance(result, Position) else 0
            n += 1
        assert numbers(await w.drained(n)) == list(range(n))
        assert slowest < 5


async def test_another_process_puts_its_events_behind_and_drains_when_the_first_is_gone(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        inner = AwayBus(tmp_path / "events.db")
        other = OutboxBus(inner, w.path, most_bytes=1 << 30, seconds=SECONDS)
        await asyncio.sleep(0.1)  # the first has the lock
        w.inner.state = "down"
        await w.bus.publish([event(1)])
        assert await other.publish([event(2)]) == [InOutbox("notes")]
        assert await w.bus.publish([event(3)]) == [InOutbox("notes")]
        await other._drainer.step()
        assert numbers(await w.published()) == [], "the first is to do it"
        fcntl.flock(w.bus._drainer._lock_file, fcntl.LOCK_UN)  # as its process's end does
        draining = asyncio.create_task(other.drain())
        end = time.monotonic() + 30
        while numbers(await w.published()) != [1, 2, 3]:
            assert time.monotonic() < end
            await asyncio.sleep(0.02)
        draining.cancel()
        await asyncio.wait([draining])
        await other.close()


async def test_a_full_outbox_refuses_with_503_and_loses_nothing(tmp_path: Path) -> None:
    async with world(tmp_path, most_bytes=1 << 20) as w:
        w.inner.state = "down"
        results: list[Any] = []
        for n in range(30):
            results += await w.bus.publish([event(n, size=50_000)])
        assert kinds(results) == {InOutbox, BusUnavailable}
        taken = [n for n, result in enumerate(results) if isinstance(result, InOutbox)]
        assert "INLAKE_OUTBOX_BYTES" in results[-1].detail
        with pytest.raises(BusUnavailable, match="full"):
            await w.bus.check()
        w.inner.state = "up"
        assert numbers(await w.drained(len(taken))) == taken


async def test_all_or_nothing_is_refused_while_events_wait(tmp_path: Path) -> None:
    async with world(tmp_path, drains=False) as w:
        assert kinds(await w.bus.publish_all_or_none([event(1)])) == {Position}
        w.inner.state = "down"
        await w.bus.publish([event(2)])
        w.inner.state = "up"
        with pytest.raises(BusUnavailable, match="mode=atomic"):
            await w.bus.publish_all_or_none([event(3)])


async def test_a_publisher_that_goes_away_takes_its_events_along_while_they_are_nowhere(tmp_path: Path) -> None:
    async with world(tmp_path, seconds=SECONDS) as w:
        w.inner.state = "silent"
        begun = asyncio.create_task(w.bus.publish([event(1)]))
        await asyncio.sleep(SECONDS / 4)
        begun.cancel()
        await asyncio.wait([begun])
        assert begun.cancelled()
        await asyncio.sleep(2 * SECONDS)
        w.inner.state = "up"
        await w.bus.publish([event(2)])
        assert numbers(await w.drained(1)) == [2]


async def test_a_closed_one_takes_nothing_and_keeps_what_it_has(tmp_path: Path) -> None:
    async with world(tmp_path, drains=False) as w:
        w.inner.state = "down"
        await w.bus.publish([event(1)])
    assert kinds(await w.bus.publish([event(2)])) == {ShuttingDown}
    async with world(tmp_path) as again:
        assert numbers(await again.drained(1)) == [1]


def test_what_was_told_to_wait_survives_a_kill_and_is_there_once_and_in_order(tmp_path: Path) -> None:
    path, told = tmp_path / "outbox.db", list[str]()
    for _ in range(2):  # the second opens what the first has left
        process = subprocess.Popen([sys.executable, "-c", PUBLISHER, path], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        run = [process.stdout.readline().strip() for _ in range(200)]
        process.kill()
        run += [line.strip() for line in process.communicate()[0].splitlines(keepends=True) if line.endswith("\n")]
        told += run
    table = Table(path)
    found = [row.event.id for row in table.take("notes", 1_000_000, 1 << 30)]
    table.close()
    assert not Counter(told) - Counter(found)
    for name in map(str, range(8)):
        mine = [int(one.partition("-")[2]) for one in found if one.startswith(f"{name}-")]
        assert mine == [*range(mine.index(0, 1)), *range(len(mine) - mine.index(0, 1))]


def test_a_damaged_file_is_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(b"no SQLite file, however one looks at it" * 1000)
    with pytest.raises(ValueError, match=r"is damaged .* move it away"):
        OutboxBus(AwayBus(tmp_path / "events.db"), path, most_bytes=1 << 20, seconds=1)


async def test_a_disk_that_takes_nothing_is_a_503_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world(tmp_path, drains=False, seconds=SECONDS) as w:
        monkeypatch.setattr("inlake.bus.outbox.table.RESERVE", 1 << 60)
        w.inner.state = "down"
        (error,) = await w.bus.publish([event(1)])
        assert isinstance(error, BusUnavailable)
        assert "free some disk space" in error.detail
        w.inner.state = "silent"
        (error,) = await w.bus.publish([event(1)])
        assert isinstance(error, OutcomeUnknown)
