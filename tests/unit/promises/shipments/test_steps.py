"""Shipments on a folder: announced, sent and published together, by processes that die at any step."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from inlake.bus.sqlite.bus import SqliteBus
from inlake.errors import (
    BusUnavailable,
    DigestMismatch,
    DirectUploadNotAvailable,
    InlakeError,
    OutcomeUnknown,
    OutOfSpace,
    RecordTooLarge,
    ShipmentBusy,
    ShipmentExpired,
    ShipmentNotFound,
    SizeMismatch,
    StoreUnavailable,
    UploadIncomplete,
)
from inlake.model import Blob, Event, InOutbox, Place, Position, Receipt, SchemaVersion, SignedRequest
from inlake.promises.shipments.due import Timeouts
from inlake.promises.shipments.entries import Accepted, File, Names, Shipment, read
from inlake.promises.shipments.steps import Shipments
from inlake.store.folder.store import FolderStore
from tests.processes import DEAD, Crash, MortalStore, Steps, WatchedBus

SCHEMA = SchemaVersion("note", 1, 7)
LINES = 4
NOW = Timeouts(60, 60, 60)


def content(line: int) -> bytes:
    return b"v" * line


async def chunks(data: bytes) -> AsyncIterator[bytes]:
    yield data


class World:
    def __init__(self, folder: Path) -> None:
        self.store = FolderStore(folder / "store")
        self.bus = SqliteBus(folder / "events.db")
        self.seen: list[Event] = []

    def process(self, steps: Steps | None = None, timeouts: Timeouts = NOW, bus: Any = None) -> Shipments:
        store: Any = MortalStore(self.store, steps) if steps else self.store
        watched: Any = bus or WatchedBus(self.bus, self.seen, steps)
        return Shipments(store, watched, timeouts, me=DEAD if steps else None)

    async def announced(self, shipments: Shipments | None = None) -> Shipment:
        names = Names()
        lines = []
        for n in range(1, LINES + 1):
            blob = Blob(n, hashlib.sha256(content(n)).hexdigest())
            event = Event(f"{names.id}.{n}", "inlake.note", b"note", b"\0v%d" % n, (("inlake_puuid", b"p"),))
            lines.append(Accepted(n, names.puuid(n), blob, f"{n}.obj", "model/obj", event, SCHEMA))
        return await (shipments or self.process()).announce(names, "ada", lines)

    async def send(self, shipment: Shipment, *lines: int) -> None:
        for n in lines or range(1, LINES + 1):
            await self.process().put(shipment.id, n, "ada", chunks(content(n)))

    async def objects(self) -> int:
        return len([key async for key in self.store.list("objects/")])

    async def marks(self) -> int:
        return len([key async for key in self.store.list(".inlake/shipping/")])

    async def sweep(self, timeouts: Timeouts = NOW, bus: Any = None) -> list[str]:
        shipments, done = self.process(None, timeouts, bus), list[str]()
        for mark in [key async for key in self.store.list(".inlake/shipping/")]:
            due = await shipments.look(mark.rpartition("/")[2], mark)
            if due.what:
                await shipments.settle(due, mark)
                done.append(due.what)
        return done


OVERDUE = Timeouts(60, -1e6, -1e6)
LATE = Timeouts(60, 60, -1e6)


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    await world.bus.close()


def receipts(results: Sequence[tuple[int, Receipt | InlakeError]]) -> list[int]:
    return [line for line, result in results if isinstance(result, Receipt)]


async def test_what_is_there_is_published_in_one_call_and_the_rest_the_next_time(world: World) -> None:
    shipment = await world.announced()
    await world.send(shipment, 1, 3)
    found, results = await world.process().complete(shipment.id, "ada")
    assert receipts(results) == [1, 3]
    assert [type(result) for line, result in results if line in {2, 4}] == [UploadIncomplete] * 2
    assert found.state == "open"
    await world.send(shipment, 2, 4)
    found, again = await world.process().complete(shipment.id, "ada")
    assert (receipts(again), found.state, await world.marks()) == ([1, 2, 3, 4], "published", 0)
    assert [again[0], again[2]] == [results[0], results[2]], "those of before as they were"
    assert await world.process().complete(shipment.id, "ada") == (await read_all(world, shipment), again)
    assert [event.id for event in world.seen] == [f"{shipment.id}.{n}" for n in (1, 3, 2, 4)]
    assert len([key async for key in world.store.list(".inlake/shipments/")]) == 5


async def read_all(world: World, shipment: Shipment) -> Shipment:
    return await world.process().find(shipment.id, "ada", whole=True)


async def test_racing_completes_publish_each_event_once(world: World) -> None:
    shipment = await world.announced()
    await world.send(shipment)
    results = await asyncio.gather(*(world.process().complete(shipment.id, "ada") for _ in range(6)))
    assert {tuple(receipts(lines)) for _, lines in results} == {(1, 2, 3, 4)}
    assert len(world.seen) == LINES


class Slow(FolderStore):
    """A store that takes its time for an entry `published`."""

    async def create(self, key: str, data: bytes) -> bool:
        if b'"published"' in data:
            await asyncio.sleep(0.2)
        return await super().create(key, data)


async def test_racing_completes_of_one_process_both_have_the_receipts(world: World) -> None:
    shipment = await world.announced()
    await world.send(shipment)
    one = Shipments(Slow(world.store._root), WatchedBus(world.bus, world.seen), NOW)
    results = await asyncio.gather(*(one.complete(shipment.id, "ada") for _ in range(3)))
    assert {tuple(receipts(lines)) for _, lines in results} == {(1, 2, 3, 4)}
    assert (len(world.seen), await world.marks()) == (LINES, 0)


async def test_whoever_dies_at_any_step_each_event_goes_out_and_its_bytes_are_the_same(world: World) -> None:
    for last in range(100):
        world.seen.clear()
        shipment = await world.announced()
        await world.send(shipment)
        try:
            await world.process(Steps(last)).complete(shipment.id, "ada")
            died = False
        except Crash:
            died = True
        found, results = await world.process().complete(shipment.id, "ada")
        assert receipts(results) == [1, 2, 3, 4]
        assert found.state == "published"
        times = Counter(event.id for event in world.seen)
        assert set(times) == {f"{shipment.id}.{n}" for n in range(1, 5)}
        assert len({(event.id, event.value, event.context) for event in world.seen}) == LINES
        assert max(times.values()) <= (2 if died else 1)
        await world.sweep(OVERDUE)
        assert await world.marks() == 0
        if not died:
            assert last == 4, "mark, events and both entries"
            return


async def test_a_sweep_ends_what_a_process_left_that_died(world: World) -> None:
    shipment = await world.announced()
    await world.send(shipment)
    with pytest.raises(Crash):
        await world.process(Steps(1)).complete(shipment.id, "ada")  # between `completing` and its events
    assert await world.sweep() == ["finished"]
    assert len(world.seen) == LINES
    assert (await read_all(world, shipment)).state == "published"
    assert await world.marks() == 0


async def test_a_crash_while_it_is_announced_leaves_nothing_in_the_end(world: World) -> None:
    for last in range(2):
        with pytest.raises(Crash):
            await world.announced(world.process(Steps(last)))
        assert await world.sweep() == []
        assert await world.sweep(OVERDUE) == (["removed"] if last else [])
        assert [key async for key in world.store.list("")] == []


async def test_when_it_expires_what_is_stored_is_published_and_the_rest_removed(world: World) -> None:
    shipments = world.process(timeouts=Timeouts(-1, 60, 60))
    shipment = await world.announced(shipments)
    file = shipment.file(2)
    assert file is not None
    await world.store.put(file.key, chunks(content(2)), content_type="a/b", metadata={})
    assert await world.sweep(Timeouts(-1, 60, 60)) == ["expired"]
    assert [event.id for event in world.seen] == [f"{shipment.id}.2"]
    _, results = await world.process().complete(shipment.id, "ada")
    assert receipts(results) == [2], "who comes back later is told"
    assert {type(result) for line, result in results if line != 2} == {ShipmentExpired}
    with pytest.raises(ShipmentExpired):
        await world.process().put(shipment.id, 1, "ada", chunks(content(1)))
    assert await world.marks() == 1, "a slow writer may come"
    other = shipment.file(1)
    assert other is not None
    await world.store.put(other.key, chunks(content(1)), content_type="a/b", metadata={})
    assert await world.sweep(LATE) == ["removed"]
    assert (await world.objects(), await world.marks()) == (1, 0)


async def test_a_shipment_that_somebody_goes_on_with_is_not_given_up_by_who_saw_it_expired(world: World) -> None:
    over = world.process(timeouts=Timeouts(-1, 60, 60))
    for early in (True, False):
        shipment = await world.announced(over)
        (mark,) = [key async for key in world.store.list(".inlake/shipping/") if key.endswith(shipment.id)]
        due = await over.look(shipment.id, mark)
        file = shipment.file(1)
        assert file is not None

        async def somebody_completes(shipment: Shipment = shipment, file: File = file) -> None:
            await world.store.put(file.key, chunks(content(1)), content_type="a/b", metadata={})
            await world.process().complete(shipment.id, "ada")

        if early:
            await somebody_completes()
            settled = await over.settle(due, mark)
        else:
            settled = await Shipments(AtLook(world.store._root, somebody_completes), world.bus, NOW).settle(due, mark)
        assert (due.what, settled) == ("expired", False)
        await world.send(shipment, 2)
        assert receipts((await world.process().complete(shipment.id, "ada"))[1]) == [1, 2]


class AtLook(FolderStore):
    """A store in which something happens as soon as somebody looks which files have come."""

    def __init__(self, folder: Path, happens: Callable[[], Awaitable[None]]) -> None:
        super().__init__(folder)
        self._happens = [happens]

    async def sizes(self, keys: Sequence[str]) -> dict[str, int]:
        found = await super().sizes(keys)
        while self._happens:
            await self._happens.pop()()
        return found


async def test_what_is_given_up_is_deleted_and_what_is_published_stays(world: World) -> None:
    shipment = await world.announced()
    await world.send(shipment, 1)
    await world.process().complete(shipment.id, "ada")
    await world.send(shipment, 2)
    await world.process().cancel(shipment.id, "ada")
    assert await world.objects() == 1
    await world.process().cancel(shipment.id, "ada")
    _, results = await world.process().complete(shipment.id, "ada")
    assert receipts(results) == [1]
    other = await world.announced()
    await world.process().cancel(other.id, "ada")
    with pytest.raises(ShipmentExpired):
        await world.process().complete(other.id, "ada")


async def test_what_is_being_published_cannot_be_given_up(world: World) -> None:
    shipment = await world.announced()
    await world.send(shipment)
    with pytest.raises(Crash):
        await world.process(Steps(1)).complete(shipment.id, "ada")
    with pytest.raises(ShipmentBusy):
        await world.process().cancel(shipment.id, "ada")


async def test_a_file_that_is_not_what_was_announced_does_not_stay(world: World) -> None:
    shipment = await world.announced()
    for data, error in ((b"other", SizeMismatch), (b"v", SizeMismatch), (b"xxx", DigestMismatch)):
        with pytest.raises(error):
            await world.process().put(shipment.id, 3, "ada", chunks(data))
    assert await world.objects() == 0


async def test_logs_of_which_a_part_is_kept_are_read_two_at_a_time(world: World) -> None:
    shipment = await world.announced()
    at_once: list[int] = [0]

    class Counting(FolderStore):
        reading = 0

        async def get(self, key: str) -> bytes | None:
            self.reading += key.endswith("/0")
            at_once.append(self.reading)
            await asyncio.sleep(0.01)
            self.reading -= key.endswith("/0")
            return await super().get(key)

    shipments = Shipments(Counting(world.store._root), world.bus, NOW)
    file = shipment.file(1)
    assert file is not None
    puuids = [file.puuid] * 5
    await asyncio.gather(*(shipments.find_line(puuid, "ada") for puuid in puuids), shipments.find(shipment.id, "ada"))
    assert max(at_once) == 2


class Keys:
    """Signs, but for a moment in which it has no credentials; as the store's `direct`."""

    def __init__(self) -> None:
        self.lacking = False

    async def sign_put(self, key: str, *_: Any, **__: Any) -> SignedRequest:
        if self.lacking:
            raise DirectUploadNotAvailable("There are no credentials just now.")
        return SignedRequest("PUT", f"https://s3.example.org/{key}", {})


async def test_a_moment_without_credentials_sends_the_files_of_that_call_through_the_gateway(world: World) -> None:
    keys = Keys()
    world.store.direct = keys  # type: ignore[assignment]
    shipments = world.process()
    announced = await world.announced(shipments)

    async def urls() -> list[str]:
        return [put.url for put in await shipments.offer(announced, announced.announced.lines, "/shipments/1")]

    signed = await urls()
    assert all(url.startswith("https://s3.example.org/") for url in signed)
    keys.lacking = True
    assert await urls() == [f"/shipments/1/{line}" for line in range(1, LINES + 1)]
    keys.lacking = False
    assert await urls() == signed


async def test_a_put_that_died_leaves_no_upload_behind_when_its_shipment_has_ended(world: World) -> None:
    world.store.direct = Keys()  # type: ignore[assignment]
    announced = await world.announced()
    key = announced.announced.lines[0].key
    await world.store.pieces.begin(key, content_type="model/obj", metadata={})
    await world.process().cancel(announced.id, "ada")
    assert await world.sweep(LATE) == ["removed"]
    assert await world.store.pieces.abort(key) == 0


async def test_a_shipment_of_another_is_not_there(world: World) -> None:
    shipment = await world.announced()
    shipments = world.process()
    file = shipment.file(1)
    assert file is not None
    for name in (shipment.id, file.puuid):
        with pytest.raises(ShipmentNotFound):
            await shipments.find(name, "bob" if name == shipment.id else "ada")
    with pytest.raises(ShipmentNotFound):
        await shipments.put(shipment.id, 9, "ada", chunks(b""))
    assert await shipments.find_line(file.puuid, "bob") is None
    found = await shipments.find_line(file.puuid, "ada")
    assert found is not None
    assert found[1].line == 1


class Refusing:
    def __init__(self, error: InlakeError) -> None:
        self.error = error

    async def publish(self, events: list[Event]) -> list[Position | InlakeError]:
        return [self.error for _ in events]


async def test_a_line_that_the_bus_refuses_for_good_has_failed_and_its_object_goes(world: World) -> None:
    shipment = await world.announced()
    await world.send(shipment, 1)
    refusing = world.process(bus=Refusing(RecordTooLarge("too large")))
    _, results = await refusing.complete(shipment.id, "ada")
    assert isinstance(results[0][1], RecordTooLarge)
    assert await world.objects() == 0
    found, again = await world.process().complete(shipment.id, "ada")
    assert isinstance(again[0][1], RecordTooLarge)
    assert found.state_of(1) == "failed"
    with pytest.raises(RecordTooLarge):
        await world.send(shipment, 1)
    assert await world.objects() == 0


async def test_a_file_that_comes_again_while_its_line_fails_does_not_stay(world: World) -> None:
    shipment = await world.announced()
    await world.send(shipment, 1)

    async def slow() -> AsyncIterator[bytes]:
        await world.process(bus=Refusing(RecordTooLarge("too large"))).complete(shipment.id, "ada")
        yield content(1)

    with pytest.raises(RecordTooLarge):
        await world.process().put(shipment.id, 1, "ada", slow())
    assert await world.objects() == 0


async def test_what_may_have_been_published_before_keeps_its_object_when_the_bus_refuses_it_now(world: World) -> None:
    shipment = await world.announced()
    await world.send(shipment, 1)
    _, results = await world.process(bus=Refusing(OutcomeUnknown("no answer"))).complete(shipment.id, "ada")
    assert isinstance(results[0][1], OutcomeUnknown)
    await world.send(shipment, 2)
    _, results = await world.process(bus=Refusing(RecordTooLarge("too large"))).complete(shipment.id, "ada")
    assert [type(result) for _, result in results[:2]] == [RecordTooLarge] * 2
    kept = shipment.file(1)
    assert kept is not None
    assert [key async for key in world.store.list("objects/")] == [kept.key]


class OutboxOf:
    async def publish(self, events: list[Event]) -> list[Place]:
        return [Position("inlake.note", 0, 7), *(InOutbox("inlake.note") for _ in events[1:])]


async def test_an_event_that_waits_in_the_outbox_is_not_counted_as_accepted(world: World) -> None:
    shipment = await world.announced()
    await world.send(shipment)
    shipments = world.process(bus=OutboxOf())
    assert receipts((await shipments.complete(shipment.id, "ada"))[1]) == [1, 2, 3, 4]
    assert shipments.accepted.value == 1


async def test_a_bus_that_is_away_leaves_the_shipment_open(world: World) -> None:
    shipment = await world.announced()
    await world.send(shipment)
    away = world.process(bus=Refusing(BusUnavailable("away")))
    found, results = await away.complete(shipment.id, "ada")
    assert (receipts(results), found.state) == ([], "open")
    assert all(isinstance(result, BusUnavailable) for _, result in results)
    assert receipts((await world.process().complete(shipment.id, "ada"))[1]) == [1, 2, 3, 4]


class Full(FolderStore):
    """A store that takes no entry `published`."""

    full = True

    async def create(self, key: str, data: bytes) -> bool:
        if self.full and b'"published"' in data:
            raise OutOfSpace("no space left")
        return await super().create(key, data)


async def test_events_that_are_out_are_not_published_again_when_that_cannot_be_noted(world: World) -> None:
    shipment = await world.announced()
    await world.send(shipment)
    store = Full(world.store._root)
    shipments = Shipments(store, WatchedBus(world.bus, world.seen), NOW)
    for _ in range(3):
        found, results = await shipments.complete(shipment.id, "ada")
        assert (receipts(results), found.entries) == ([1, 2, 3, 4], 2)
    store.full = False
    found, results = await shipments.complete(shipment.id, "ada")
    assert (receipts(results), found.state, len(world.seen)) == ([1, 2, 3, 4], "published", LINES)


async def test_an_expiry_that_comes_while_a_file_is_written_deletes_it(world: World) -> None:
    shipment = await world.announced()

    async def slow() -> AsyncIterator[bytes]:
        await world.process().cancel(shipment.id, "ada")
        yield content(2)

    with pytest.raises(ShipmentExpired):
        await world.process().put(shipment.id, 2, "ada", slow())
    assert await world.objects() == 0


async def test_a_file_may_come_until_the_expiry_that_others_have_moved_on(world: World) -> None:
    shipment = await world.announced(world.process(timeouts=Timeouts(1, 60, 60)))
    await world.send(shipment, 1)

    async def slow() -> AsyncIterator[bytes]:
        yield content(2)[:1]
        await world.process().complete(shipment.id, "ada")
        await asyncio.sleep(1.1)
        yield content(2)[1:]

    await world.process().put(shipment.id, 2, "ada", slow())
    assert receipts((await world.process().complete(shipment.id, "ada"))[1]) == [1, 2]


class Lost(FolderStore):
    async def put(self, *_: object, **__: object) -> None:
        raise StoreUnavailable("lost")


async def test_a_file_that_was_not_stored_can_be_sent_again(world: World) -> None:
    shipment = await world.announced()
    lost: Any = Lost(world.store._root)
    with pytest.raises(StoreUnavailable):
        await Shipments(lost, world.bus, NOW).put(shipment.id, 1, "ada", chunks(content(1)))
    await world.send(shipment)
    assert receipts((await world.process().complete(shipment.id, "ada"))[1]) == [1, 2, 3, 4]


async def test_a_process_that_slept_while_it_published_does_not_undo_what_another_noted(world: World) -> None:
    """It is taken for dead after twice the time-out of the bus; both publish the same bytes."""
    shipment = await world.announced()
    await world.send(shipment)

    class Sleepy(WatchedBus):
        async def publish(self, events: Sequence[Event]) -> list[Position | InlakeError]:
            await world.sweep(OVERDUE)
            return await super().publish(events)

    found, results = await world.process(bus=Sleepy(world.bus, world.seen)).complete(shipment.id, "ada")
    assert receipts(results) == [1, 2, 3, 4]
    assert found.positions == (await read_all(world, shipment)).positions
    assert set(Counter(event.id for event in world.seen).values()) == {2}
    again = await read(world.store, shipment.id)
    assert again is not None
    assert (again.state, again.entries) == ("published", found.entries)
