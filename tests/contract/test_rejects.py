"""What every place for rejects must do; that of Kafka stands on any bus."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from inlake.bus.kafka.bus import KafkaBus
from inlake.bus.kafka.topics import NewTopics
from inlake.bus.sqlite.bus import SqliteBus
from inlake.errors import FieldError
from inlake.ports import Bus
from inlake.rejects.kafka.log import TopicRejects
from inlake.rejects.keeper import RejectLog
from inlake.rejects.reject import Cursor, Mark, Reject, Wanted, reasons_of
from inlake.rejects.sqlite.log import SqliteRejects
from tests.live_servers import KAFKA_BOOTSTRAP, require

DAY = 86_400.0


def reject(
    n: int = 0,
    *,
    schema: str = "note",
    destination: str | None = None,
    principal: str = "token:a",
    text: str = "{}",
    days: float = 0,
) -> Reject:
    errors = [FieldError(f"/tags/{n}", "wrong_type", "Text is expected here.", "string", "number 1")]
    return Reject(
        id=str(uuid4()),
        at=int((time.time() - days * DAY) * 1000) + n,
        principal=principal,
        schema=schema,
        destination=destination,
        version=None,
        message=None,
        tagged=False,
        text=text,
        status=422,
        code="record_rejected",
        detail=f"/tags/{n}: Text is expected here.",
        errors=errors,
        reasons=reasons_of("record_rejected", errors),
        request="r-1",
    )


class Place:
    """Rejects, and the same place as another process sees it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.folder, self.topic = kind, folder, f"rejects-{uuid4()}"
        self.made: list[RejectLog] = []
        self.buses: list[Bus] = []

    def open(self, most_bytes: int = 1 << 30) -> RejectLog:
        if self.kind == "sqlite":
            log: RejectLog = SqliteRejects(self.folder / "rejects.db", seconds=30 * DAY, most_bytes=most_bytes)
        else:
            bus: Bus = SqliteBus(self.folder / "events.db")
            if self.kind == "kafka":
                bus = KafkaBus(KAFKA_BOOTSTRAP, new_topics=NewTopics(3, 1))
            self.buses.append(bus)
            log = TopicRejects(bus, self.topic, seconds=30 * DAY, most_bytes=most_bytes)
        self.made.append(log)
        return log

    async def close(self) -> None:
        for log in self.made:
            await log.close()
        for bus in self.buses:
            await bus.close()


@pytest_asyncio.fixture(params=["sqlite", "topic", pytest.param("kafka", marks=pytest.mark.live)])
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    if request.param == "kafka":
        require("Kafka", KAFKA_BOOTSTRAP)
    place = Place(request.param, tmp_path)
    yield place
    await place.close()


async def test_what_is_added_is_found_as_it_was_and_once(place: Place) -> None:
    log, one = place.open(), reject(text='{"é": "\\ud800"}')
    await log.add([one])
    await log.add([one, reject(1)])
    assert await log.find(one.id) == one
    assert await log.find(str(uuid4())) is None
    assert len(await log.page(Wanted(), 10, None)) == 2


async def test_another_process_sees_it(place: Place) -> None:
    writer, one = place.open(), reject()
    await writer.add([one])
    assert await place.open().find(one.id) == one


async def test_what_comes_later_is_seen_too(place: Place) -> None:
    writer, reader, one = place.open(), place.open(), reject()
    await writer.add([reject()])
    assert len(await reader.page(Wanted(), 10, None)) == 1
    await writer.add([one])
    end = time.monotonic() + 20
    while await reader.find(one.id) is None:
        assert time.monotonic() < end


async def test_pages_go_from_the_newest_to_the_oldest(place: Place) -> None:
    log, added = place.open(), [reject(n) for n in range(7)]
    await log.add(added)
    first = await log.page(Wanted(), 5, None)
    rest = await log.page(Wanted(), 5, Cursor(first[-1].at, first[-1].id))
    found = [kept.id for kept in [*first, *rest]]
    assert found == [r.id for r in sorted(added, key=lambda r: (r.at, r.id), reverse=True)]


async def test_a_cause_is_the_same_reasons_at_any_place_of_an_array(place: Place) -> None:
    log = place.open()
    last = reject(9)
    await log.add([reject(1), reject(2), last, reject(3, schema="other"), reject(4, principal="token:b")])
    first, second = await log.causes(Wanted(principal="token:a"))
    assert (first.count, first.example, first.reasons[0].pointer) == (3, last.id, "/tags/*")
    assert (second.count, second.schema) == (1, "other")
    assert [kept.id for kept in await log.page(Wanted(cause=second.id), 10, None)] == [second.example]
    assert [cause.count for cause in await log.causes(Wanted())] == [4, 1]
    assert [cause.count for cause in await log.causes(Wanted(schema="other"))] == [1]


async def test_those_that_somebody_sees_are_found_beside_those_of_a_principal(place: Place) -> None:
    log = place.open()
    own, others = reject(1, schema="a"), reject(2, schema="b", principal="token:b", destination="x/y")
    hidden = [reject(n, schema=name, principal="token:b") for n, name in enumerate("abc")]
    await log.add([own, others, *hidden])
    wanted = Wanted(principal="token:a", sees=lambda *asked: asked == ("b", "x/y"))
    assert {kept.id for kept in await log.page(wanted, 10, None)} == {own.id, others.id}
    assert sorted(cause.schema for cause in await log.causes(wanted)) == ["a", "b"]


async def test_a_page_ends_when_its_texts_fill_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    log, added = place.open(), [reject(n) for n in range(5)]
    await log.add(added)
    monkeypatch.setattr("inlake.rejects.sqlite.table.PAGE_TEXT", 2 * len(added[0].text))
    assert len(await log.page(Wanted(), 5, None)) == 2


async def test_a_mended_reject_counts_no_more_and_keeps_its_first_mark(place: Place) -> None:
    log, one = place.open(), reject()
    await log.add([one, reject(1)])
    await log.mend(Mark(one.id, 7, "event-1"))
    await log.mend(Mark(one.id, 8, "event-2"))
    found = await log.find(one.id)
    assert found is not None
    assert (found.mended, found.mended_at) == ("event-1", 7)
    assert len(await log.page(Wanted(), 10, None)) == 1
    assert [kept.id for kept in await log.page(Wanted(mended=True), 10, None)] == [one.id]
    assert len(await log.page(Wanted(mended=None), 10, None)) == 2
    assert [cause.count for cause in await log.causes(Wanted())] == [1]
    again = await place.open().find(one.id)
    assert again == found


async def test_what_is_too_old_goes(place: Place) -> None:
    log, old = place.open(), reject(days=31)
    await log.add([reject(), old])
    assert await log.find(old.id) is None
    assert len(await log.page(Wanted(), 10, None)) == 1


async def test_who_sends_much_pushes_out_no_rejects_but_its_own(place: Place) -> None:
    log = place.open(most_bytes=1 << 20)
    others, mended = [reject(n, principal=f"token:{n}", days=2) for n in range(20)], reject(21, principal="token:c")
    await log.page(Wanted(), 1, None)
    await log.add([*others, mended])
    await log.mend(Mark(mended.id, 7, "event-1"))
    for n in range(20):
        await log.add([reject(n, text='"' + "a" * 9_000 + '"') for _ in range(10)])
    for other in others:
        assert await log.find(other.id) == other
    assert await log.find(mended.id) is None
    left = len(await log.page(Wanted(principal="token:a"), 1_000, None))
    assert 60 < left < 115
    assert log.dropped == (200 - left if place.kind == "sqlite" else 0)


async def test_the_oldest_go_when_there_is_no_room(place: Place) -> None:
    log = place.open(most_bytes=1 << 20)
    first, last = reject(days=1, text='"' + "a" * 9_000 + '"'), reject(200)
    await log.page(Wanted(), 1, None)
    await log.add([first])
    for n in range(20):
        await log.add([reject(n, text='"' + "a" * 9_000 + '"') for _ in range(10)])
    await log.add([last])
    assert await log.find(first.id) is None
    assert await log.find(last.id) == last
