"""A store without room: what is given up is deleted all the same, and what was published is not published again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from inlake.bus.sqlite.bus import SqliteBus
from inlake.errors import InlakeError, OutOfSpace
from inlake.logbook import reserve
from inlake.logbook.lease import Leases
from inlake.model import Binary, Event, Position, SchemaVersion
from inlake.promises.entries import Promised, Tus
from inlake.promises.promise import read
from inlake.promises.steps import Promises
from inlake.promises.sweep import Sweep
from inlake.promises.uploads import Uploads
from inlake.store.folder.store import FolderStore

BLOCK = 4096
FILE = Promised("spot.obj", "model/obj")
EVENT = Event("e1", "inlake.note", b"note", b"\0value", ())


class Small(FolderStore):
    """A store of so many blocks; each object takes at least one."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.blocks = 1_000

    async def free(self) -> int:
        sizes = [await self.head(key) or 0 async for key in self.list("")]
        return self.blocks - sum(max(1, -(-size // BLOCK)) for size in sizes)

    async def create(self, key: str, data: bytes) -> bool:
        if await self.free() < max(1, -(-len(data) // BLOCK)):
            raise OutOfSpace("no space left")
        return await super().create(key, data)

    async def fill_up(self) -> None:
        self.blocks -= await self.free()


class Counted(SqliteBus):
    given = 0

    async def publish(self, events: Sequence[Event]) -> list[Position | InlakeError]:
        self.given += len(events)
        return await super().publish(events)


class World:
    def __init__(self, folder: Path) -> None:
        self.store = Small(folder / "store")
        self.bus = Counted(folder / "events.db")
        self.promises = Promises(self.store, self.bus, upload_timeout=60)
        self.sweep = Sweep(self.store, self.promises, bus_timeout=-1e6, upload_timeout=60)

    async def stored(self) -> str:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"v 0 0 0"

        promise = await self.promises.store(
            self.promises.new(FILE, "ada"), Binary("spot.obj", "model/obj", chunks()), kept=True
        )
        return promise.puuid


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    await world.bus.close()


async def objects(store: FolderStore) -> list[str]:
    return [key async for key in store.list("objects/")]


async def test_what_is_stored_can_be_given_up_one_after_the_other(world: World) -> None:
    await reserve.fill(world.store)
    puuids = [await world.stored() for _ in range(2 * reserve.OBJECTS)]
    await world.store.fill_up()
    for puuid in puuids:
        await world.promises.cancel(await world.promises.find(puuid, "ada"))
        await reserve.fill(world.store)
        await world.store.fill_up()
    assert await objects(world.store) == []


async def test_without_a_reserve_the_store_says_that_it_is_full(world: World) -> None:
    puuid = await world.stored()
    await world.store.fill_up()
    with pytest.raises(OutOfSpace):
        await world.promises.cancel(await world.promises.find(puuid, "ada"))
    assert len(await objects(world.store)) == 1


async def test_an_event_that_is_out_is_not_published_again_when_its_entry_does_not_fit(world: World) -> None:
    promise = await world.promises.find(await world.stored(), "ada")
    promise = await world.promises.claim(promise, EVENT, SchemaVersion("note", 1, 7))
    await world.store.fill_up()
    receipt = await world.promises.finish(promise)
    for _ in range(3):
        assert dict(await world.sweep.run()) == {"finished": 1}
    assert world.bus.given == 1
    world.store.blocks += 1
    assert dict(await world.sweep.run()) == {"finished": 1}
    assert world.bus.given == 1
    told = await read(world.store, promise.puuid)
    assert told is not None
    assert told.receipt == receipt
    assert dict(await world.sweep.run()) == {}


async def test_with_a_reserve_it_is_noted_where_the_event_is(world: World) -> None:
    await reserve.fill(world.store)
    promise = await world.promises.find(await world.stored(), "ada")
    promise = await world.promises.claim(promise, EVENT, SchemaVersion("note", 1, 7))
    await world.store.fill_up()
    await world.promises.finish(promise)
    told = await read(world.store, promise.puuid)
    assert told is not None
    assert told.state == "published"


async def test_a_promise_that_finds_no_room_leaves_no_mark(world: World) -> None:
    await world.stored()
    await world.store.fill_up()
    world.store.blocks += 1  # for the mark
    with pytest.raises(OutOfSpace):
        await world.promises.reserve(world.promises.new(FILE, "ada"))
    assert len([key async for key in world.store.list(".inlake/open/")]) == 1


@pytest.mark.parametrize("held", [0, 2])
async def test_an_upload_that_found_no_room_can_be_asked_for_and_given_up_at_once(world: World, held: int) -> None:
    """One to which nothing has come before is not begun in a store that has no room for its lease."""
    await reserve.fill(world.store)
    uploads = Uploads(world.store, world.promises, Leases(world.store))
    upload = await uploads.create(world.promises.new(Promised("a", "a/b", Tus(), 9), "ada"), at_most=9)

    async def first() -> AsyncIterator[bytes]:
        yield b"01"

    async def more() -> AsyncIterator[bytes]:
        yield b"abc"
        await world.store.fill_up()
        raise OutOfSpace("no space left")

    if held:
        upload, _ = await uploads.append(upload, 0, first())
    with pytest.raises(OutOfSpace):
        await uploads.append(upload, held, more())
    assert await uploads.offset(upload) == (held + 3 if held else 0)
    await uploads.cancel(upload)
    await asyncio.wait(world.promises.cleanup._forgetting)  # no client waits for it
    assert [key async for key in world.store.list("") if "/uploads/" in key or "/leases/" in key] == []


async def test_the_reserve_is_filled_once_and_again_after_it_was_used(world: World) -> None:
    await reserve.fill(world.store)
    full = await world.store.free()
    await reserve.fill(world.store)
    assert await world.store.free() == full
    assert await reserve.make_room(world.store)
    await world.store.fill_up()
    await reserve.fill(world.store)
    for _ in range(reserve.OBJECTS - 1):
        assert await reserve.make_room(world.store)
    assert not await reserve.make_room(world.store)
