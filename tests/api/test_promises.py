"""What a crash leaves of a binary, at every step: finished or removed, judged by the log alone."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from inlake import owner
from inlake.bus.sqlite import SqliteBus
from inlake.errors import BusUnavailable, InlakeError, PromiseExpired, PromiseUsed, RecordTooLarge, StoreUnavailable
from inlake.model import Binary, Event, Position, SchemaVersion
from inlake.promise_log import Promise, append, first_entry, marker_key, name_key, read
from inlake.promises import Promises
from inlake.store.folder import FolderStore
from inlake.sweep import Sweep

SCHEMA = SchemaVersion("note", 1, 7)
DEAD = owner.me().rpartition(":")[0] + ":0"
"""This process's number, started at another time: certainly gone."""


class Refusing:
    """A bus that answers every event with an error."""

    def __init__(self, error: InlakeError) -> None:
        self.error = error

    async def publish(self, events: list[Event]) -> list[Position | InlakeError]:
        return [self.error for _ in events]


class World:
    """A store, a bus, and the promises between them."""

    def __init__(self, folder: Path) -> None:
        self.store = FolderStore(folder / "store")
        self.bus = SqliteBus(folder / "events.db")
        self.promises = Promises(self.store, self.bus, upload_timeout=60)
        self.sweep = Sweep(self.store, self.promises, bus_timeout=10, upload_timeout=60)

    async def ids(self) -> list[str]:
        return [dict(m.headers)["ce_id"].decode() async for m in self.bus.read()]

    async def keys(self, prefix: str) -> list[str]:
        return sorted([key async for key in self.store.list(prefix)])

    async def patient_sweep(self) -> dict[str, int]:
        """A sweep for which all waiting times are over."""
        patient = Sweep(self.store, self.promises, bus_timeout=-1e6, upload_timeout=-1e6)
        return dict(await patient.run())


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    await world.bus.close()
    await world.store.close()


def file(content: bytes = b"v 0 0 0") -> Binary:
    async def chunks() -> AsyncIterator[bytes]:
        yield content

    return Binary("spot.obj", "model/obj", chunks())


def event(event_id: str = "e1") -> Event:
    return Event(event_id, "inlake.note", b"note", b"\0value", [("ce_id", event_id.encode())])


def left_by_the_dead(promise: Promise) -> Promise:
    return dataclasses.replace(promise, owner=DEAD)


async def reserved(world: World, promise: Promise) -> Promise:
    await world.store.create(marker_key(promise.principal, promise.puuid), b'{"at": 0}')
    return await append(world.store, promise, "reserved", first_entry(promise))


async def test_a_binary_leaves_four_entries_and_no_mark(world: World) -> None:
    promise = await world.promises.store(world.promises.new(file(), "anonymous"), file())
    receipt = await world.promises.finish(await world.promises.claim(promise, event(), SCHEMA))
    assert receipt.resource is not None
    assert receipt.resource.size == 7
    assert len(await world.keys(".inlake/promises/")) == 4
    assert await world.keys(".inlake/open/") == []
    told = await read(world.store, promise.puuid)
    assert told is not None
    assert told.published == Position(receipt.topic, receipt.partition, receipt.offset)
    assert told.claim is not None
    assert told.claim.event == event()


async def test_a_promise_is_claimed_once(world: World) -> None:
    promise = await world.promises.store(world.promises.new(file(), "anonymous"), file())
    await world.promises.claim(promise, event("first"), SCHEMA)
    with pytest.raises(PromiseUsed):
        await world.promises.claim(promise, event("second"), SCHEMA)


async def test_what_a_dead_process_reserved_is_removed(world: World) -> None:
    promise = await reserved(world, left_by_the_dead(world.promises.new(file(), "anonymous")))
    await world.store.create(promise.key, b"half")
    assert dict(await world.sweep.run()) == {"expired": 1}
    assert await world.keys("objects/") == []
    assert await world.patient_sweep() == {"removed": 1}
    assert await world.keys(".inlake/open/") == []


async def test_what_a_living_process_reserved_is_left_alone_until_it_expires(world: World) -> None:
    promise = dataclasses.replace(world.promises.new(file(), "anonymous"), expires=1e12)
    await reserved(world, promise)
    await world.store.create(promise.key, b"coming")
    assert dict(await world.sweep.run()) == {}
    assert await world.keys("objects/") == [promise.key]


async def test_what_is_stored_and_claimed_is_published_with_the_same_bytes(world: World) -> None:
    promise = await world.promises.store(left_by_the_dead(world.promises.new(file(), "anonymous")), file())
    await world.promises.claim(promise, event(), SCHEMA)
    assert dict(await world.sweep.run()) == {"finished": 1}
    assert await world.ids() == ["e1"]
    assert await world.keys(".inlake/open/") == []
    assert await world.keys("objects/") == [promise.key]


async def test_a_crash_between_publishing_and_its_entry_repeats_the_same_event(world: World) -> None:
    promise = await world.promises.store(left_by_the_dead(world.promises.new(file(), "anonymous")), file())
    claimed = await world.promises.claim(promise, event(), SCHEMA)
    first = await world.promises.finish(claimed)
    last = f".inlake/promises/{promise.puuid}/3.json"
    await world.store.delete(last)
    await world.store.create(marker_key(promise.principal, promise.puuid), b'{"at": 0}')
    assert dict(await world.sweep.run()) == {"finished": 1}
    assert await world.ids() == [first.id], "the embedded bus publishes once"


async def test_what_is_stored_and_never_claimed_expires(world: World) -> None:
    promise = await world.promises.store(left_by_the_dead(world.promises.new(file(), "anonymous")), file())
    await world.sweep.run()
    assert await world.keys("objects/") == []
    with pytest.raises(PromiseExpired):
        await world.promises.claim(promise, event(), SCHEMA)
    assert await world.ids() == []


async def test_a_mark_without_a_log_is_removed_in_time(world: World) -> None:
    await world.store.create(marker_key("anonymous", "0f3c0d3a"), b'{"at": 0}')
    assert dict(await world.sweep.run()) == {"removed": 1}


async def test_an_upload_given_up_by_a_sweep_deletes_what_it_wrote(world: World) -> None:
    promise = world.promises.new(file(), "anonymous")

    async def slow() -> AsyncIterator[bytes]:
        yield b"first"
        written = await read(world.store, promise.puuid)
        assert written is not None
        await append(world.store, written, "expired", {"reason": "no progress"})
        yield b"second"

    with pytest.raises(PromiseExpired):
        await world.promises.store(promise, Binary("spot.obj", "model/obj", slow()))
    assert await world.keys("objects/") == []


async def test_an_upload_that_fails_leaves_nothing(world: World) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"first"
        raise RecordTooLarge("enough")

    promise = dataclasses.replace(world.promises.new(file(), "anonymous"), key="named", named=True)
    with pytest.raises(RecordTooLarge):
        await world.promises.store(promise, Binary("spot.obj", "model/obj", broken()))
    assert await world.keys(".inlake/open/") == []
    assert await world.store.get(name_key("named")) is None, "the place is free again"
    assert await world.store.get("named") is None


class Failing(FolderStore):
    """A store that is lost when a file is put."""

    async def put(self, *_: object, **__: object) -> None:
        raise StoreUnavailable("lost")


async def test_after_an_unknown_outcome_of_the_store_the_place_stays_taken_until_it_is_looked_at_once_more(
    world: World,
) -> None:
    failing = Promises(Failing(world.store._root), world.bus, upload_timeout=60)
    promise = dataclasses.replace(failing.new(file(), "anonymous"), key="named", named=True)
    with pytest.raises(StoreUnavailable):
        await failing.store(promise, file())
    await world.store.create("named", b"it came late after all")
    assert await world.store.get(name_key("named")) == promise.puuid.encode()
    assert await world.patient_sweep() == {"removed": 1}
    assert await world.store.get("named") is None
    assert await world.store.get(name_key("named")) is None


async def test_a_process_that_slept_past_the_expiry_writes_nothing(world: World) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.sleep(0.2)

    sleepy = Promises(world.store, world.bus, upload_timeout=0.1)
    promise = dataclasses.replace(sleepy.new(file(), "anonymous"), key="named", named=True)
    with pytest.raises(PromiseExpired):
        await sleepy.store(promise, Binary("spot.obj", "model/obj", slow()))
    assert await world.store.get("named") is None


async def test_the_end_of_a_promise_deletes_nothing_at_a_place_that_is_anothers_now(world: World) -> None:
    promise = dataclasses.replace(world.promises.new(file(), "anonymous"), key="named", named=True)
    promise = await world.promises.store(promise, file())
    await world.store.delete(name_key("named"))
    await world.store.create(name_key("named"), b"another")
    await world.promises.abandon(promise)
    assert await world.store.get("named") is not None
    assert await world.store.get(name_key("named")) == b"another"


async def test_one_promise_that_cannot_be_read_keeps_no_other_waiting(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.store.create(marker_key("anonymous", "broken"), b"no JSON")
    promise = await world.promises.store(left_by_the_dead(world.promises.new(file(), "anonymous")), file())
    await world.promises.claim(promise, event(), SCHEMA)
    assert dict(await world.sweep.run()) == {"finished": 1}
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize("crash_after", ["reserved", "name"])
async def test_a_crash_before_a_named_place_is_ours_never_deletes_what_stands_there(
    world: World, crash_after: str
) -> None:
    named = dataclasses.replace(world.promises.new(file(), "anonymous"), key="theirs", named=True)
    promise = await reserved(world, left_by_the_dead(named))
    if crash_after == "name":
        await world.store.create(name_key("theirs"), promise.puuid.encode())
    await world.store.create("theirs", b"of somebody else")
    await world.sweep.run()
    await world.patient_sweep()
    assert await world.store.get("theirs") == b"of somebody else"
    assert await world.store.get(name_key("theirs")) is None
    assert await world.keys(".inlake/open/") == []


@pytest.mark.parametrize(
    ("error", "left"),
    [(lambda: RecordTooLarge("too large"), []), (lambda: BusUnavailable("away"), ["object"])],
)
async def test_a_final_refusal_of_the_bus_removes_the_object_and_any_other_keeps_it(world: World, error: Callable[[], InlakeError], left: list[str]) -> None:  # fmt: skip
    refused = Promises(world.store, Refusing(error()), upload_timeout=60)  # type: ignore[arg-type]
    promise = await refused.store(left_by_the_dead(refused.new(file(), "anonymous")), file())
    claimed = await refused.claim(promise, event(), SCHEMA)
    with pytest.raises(InlakeError):
        await refused.finish(claimed)
    assert len(await world.keys("objects/")) == len(await world.keys(".inlake/open/")) == len(left)
    await world.sweep.run()
    assert await world.ids() == (["e1"] if left else [])


async def test_what_may_have_been_published_before_keeps_its_object_when_the_bus_refuses_it_now(world: World) -> None:
    promise = await world.promises.store(left_by_the_dead(world.promises.new(file(), "anonymous")), file())
    claimed = await world.promises.claim(promise, event(), SCHEMA)
    refused = Promises(world.store, Refusing(RecordTooLarge("too large now")), upload_timeout=60)  # type: ignore[arg-type]
    with pytest.raises(RecordTooLarge):
        await refused.finish(claimed, again=True)
    assert await world.keys(".inlake/open/") == []
    assert await world.keys("objects/") == [promise.key]


async def test_a_refusal_that_comes_after_another_process_has_published_deletes_nothing(world: World) -> None:
    promise = await world.promises.store(world.promises.new(file(), "anonymous"), file())
    claimed = await world.promises.claim(promise, event(), SCHEMA)
    await world.promises.finish(claimed)
    refused = Promises(world.store, Refusing(RecordTooLarge("too large now")), upload_timeout=60)  # type: ignore[arg-type]
    with pytest.raises(RecordTooLarge):
        await refused.finish(claimed)
    assert await world.keys("objects/") == [promise.key]
