"""What a crash leaves of a binary, at every step: finished or removed, judged by the log alone."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
import pytest_asyncio
from msgspec import structs

from inlake.bus.sqlite.bus import SqliteBus
from inlake.errors import (
    BusUnavailable,
    InlakeError,
    OutOfSpace,
    PromiseExpired,
    PromiseNotFound,
    PromiseUsed,
    RecordTooLarge,
    StoreUnavailable,
)
from inlake.logbook import process as owner
from inlake.logbook.lease import Leases
from inlake.model import Binary, Event, Label, Position, SchemaVersion, Submission, place
from inlake.promises.arrival import AT_ONCE
from inlake.promises.entries import Claimed, ClaimedEvent, Expired, Promised, Stored, Tus, Uploading
from inlake.promises.promise import Promise, add, event_of, marker_key, name_key, read
from inlake.promises.steps import Promises
from inlake.promises.sweep import BUSY, LONGEST_REST, Sweep
from inlake.promises.uploads import Uploads
from inlake.store.folder.store import FolderStore

SCHEMA = SchemaVersion("note", 1, 7)
SPOT = Promised("spot.obj", "model/obj")
DEAD = owner.me().rpartition(":")[0] + ":0"
"""This process's number, started at another time: certainly gone."""


class NoRoom(FolderStore):
    """A disk that has room for what reserves a promise, and for nothing that notes its progress."""

    async def create(self, key: str, data: bytes) -> bool:
        if b'"uploading"' in data or b'"upload"' in data:
            raise OutOfSpace("The disk is full.")
        return await super().create(key, data)


class Refusing:
    """A bus that answers every event with an error."""

    def __init__(self, error: InlakeError) -> None:
        self.error = error

    async def publish(self, events: list[Event]) -> list[Position | InlakeError]:
        return [self.error for _ in events]


class World:
    """A store, a bus, and the promises between them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = FolderStore(folder / "store")
        self.bus = SqliteBus(folder / "events.db")
        self.promises = Promises(self.store, self.bus, upload_timeout=60)
        self.dead = Promises(self.store, self.bus, upload_timeout=60, me=DEAD)
        """Of a process that has died: what it does is what it did before."""
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
    return Event(event_id, "inlake.note", b"note", b"\0value", ())


def left_by_the_dead(promise: Promise) -> Promise:
    return dataclasses.replace(promise, owner=DEAD)


async def reserved(world: World, promise: Promise) -> Promise:
    await world.store.create(marker_key(promise.principal, promise.puuid), b'{"at": 0}')
    return (await add(world.store, promise, promise.reserved()))[0]


async def test_a_binary_leaves_four_entries_and_no_mark(world: World) -> None:
    promise = await world.promises.store(world.promises.new(SPOT, "anonymous"), file())
    receipt = await world.promises.finish(await world.promises.claim(promise, event(), SCHEMA))
    assert receipt.resource is not None
    assert receipt.resource.size == 7
    assert len(await world.keys(".inlake/promises/")) == 4
    assert await world.keys(".inlake/open/") == []
    told = await read(world.store, promise.puuid)
    assert told is not None
    assert told.published == place(receipt.topic, receipt.partition, receipt.offset)
    assert told.claim is not None
    assert told.claim.event == event()


async def test_a_promise_is_claimed_once(world: World) -> None:
    promise = await world.promises.store(world.promises.new(SPOT, "anonymous"), file())
    await world.promises.claim(promise, event("first"), SCHEMA)
    with pytest.raises(PromiseUsed):
        await world.promises.claim(promise, event("second"), SCHEMA)


async def test_what_a_dead_process_reserved_is_removed(world: World) -> None:
    promise = await reserved(world, left_by_the_dead(world.promises.new(SPOT, "anonymous")))
    await world.store.create(promise.key, b"half")
    assert dict(await world.sweep.run()) == {"expired": 1}
    assert await world.keys("objects/") == []
    assert await world.patient_sweep() == {"removed": 1}
    assert await world.keys(".inlake/open/") == []


async def test_what_a_living_process_reserved_is_left_alone_until_it_expires(world: World) -> None:
    promise = dataclasses.replace(world.promises.new(SPOT, "anonymous"), expires=1e12)
    await reserved(world, promise)
    await world.store.create(promise.key, b"coming")
    assert dict(await world.sweep.run()) == {}
    assert await world.keys("objects/") == [promise.key]


async def test_what_is_stored_and_claimed_is_published_with_the_same_bytes(world: World) -> None:
    promise = await world.dead.store(world.dead.new(SPOT, "anonymous"), file())
    await world.dead.claim(promise, event(), SCHEMA)
    assert dict(await world.sweep.run()) == {"finished": 1}
    assert await world.ids() == ["e1"]
    assert await world.keys(".inlake/open/") == []
    assert await world.keys("objects/") == [promise.key]


async def test_a_crash_between_publishing_and_its_entry_repeats_the_same_event(world: World) -> None:
    promise = await world.dead.store(world.dead.new(SPOT, "anonymous"), file())
    claimed = await world.dead.claim(promise, event(), SCHEMA)
    first = await world.promises.finish(claimed)
    last = f".inlake/promises/{promise.puuid}/3.json"
    await world.store.delete(last)
    await world.store.create(marker_key(promise.principal, promise.puuid), b'{"at": 0}')
    assert dict(await world.sweep.run()) == {"finished": 1}
    assert await world.ids() == [first.id], "the embedded bus publishes once"


async def test_what_is_stored_and_never_claimed_expires(world: World) -> None:
    promise = await world.dead.store(world.dead.new(SPOT, "anonymous"), file())
    await world.sweep.run()
    assert await world.keys("objects/") == []
    with pytest.raises(PromiseExpired):
        await world.dead.claim(promise, event(), SCHEMA)
    assert await world.ids() == []


async def stored_by_the_dead(world: World) -> str:
    return (await world.dead.store(world.dead.new(SPOT, "anonymous"), file())).puuid


async def test_what_a_repeat_of_a_dead_request_goes_on_with_does_not_expire(world: World) -> None:
    puuid = await stored_by_the_dead(world)
    assert await world.promises.resume(puuid) == puuid
    promise = await world.promises.of_file(structs.replace(file(), puuid=puuid), "anonymous")
    assert await world.sweep.run() == {}
    promise = await world.promises.store(promise, file())
    promise = await world.promises.claim(promise, event(), SCHEMA)
    assert (await world.promises.finish(promise)).resource is not None


async def test_what_is_stored_does_not_expire_while_a_repeat_reads_the_file_again(world: World) -> None:
    hurried = Promises(world.store, world.bus, upload_timeout=0.1)
    puuid = await stored_by_the_dead(world)
    assert await hurried.resume(puuid) == puuid
    promise = await hurried.of_file(structs.replace(file(), puuid=puuid), "anonymous")

    async def slow() -> AsyncIterator[bytes]:
        while (now := await read(world.store, puuid)) is None or now.entries < promise.entries + 3:
            await asyncio.sleep(0.01)
        yield b"v 0 0 0"

    async with asyncio.timeout(20):
        kept = await hurried.store(promise, structs.replace(file(), chunks=slow()))
    claimed = await hurried.claim(kept, event(), SCHEMA)
    assert claimed.stored == promise.stored
    assert claimed.expires > promise.expires


async def test_an_attempt_that_was_taken_over_does_not_give_up_what_the_next_one_goes_on_with(world: World) -> None:
    slow = await world.promises.store(world.promises.new(SPOT, "anonymous"), file())
    assert await world.promises.resume(slow.puuid) == slow.puuid
    await world.promises.abandon(slow)
    found = await read(world.store, slow.puuid)
    assert found is not None
    assert found.state == "stored"
    assert await world.store.head(slow.key) == 7


async def test_a_repeat_takes_another_promise_when_the_one_before_has_ended(world: World) -> None:
    puuid = await stored_by_the_dead(world)
    assert await world.sweep.run() == {"expired": 1}
    assert await world.promises.resume(puuid) != puuid


async def test_a_mark_without_a_log_is_removed_in_time(world: World) -> None:
    await world.store.create(marker_key("anonymous", "0f3c0d3a"), b'{"at": 0}')
    assert dict(await world.sweep.run()) == {"removed": 1}


async def test_an_upload_given_up_by_a_sweep_deletes_what_it_wrote(world: World) -> None:
    promise = world.promises.new(SPOT, "anonymous")

    async def slow() -> AsyncIterator[bytes]:
        yield b"first"
        written = await read(world.store, promise.puuid)
        assert written is not None
        await add(world.store, written, Expired(reason="no progress"))
        yield b"second"

    with pytest.raises(PromiseExpired):
        await world.promises.store(promise, Binary("spot.obj", "model/obj", slow()))
    assert await world.keys("objects/") == []


async def test_an_upload_that_fails_leaves_nothing(world: World) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"first"
        raise RecordTooLarge("enough")

    promise = dataclasses.replace(world.promises.new(SPOT, "anonymous"), key="named")
    with pytest.raises(RecordTooLarge):
        await world.promises.store(promise, Binary("spot.obj", "model/obj", broken()))
    assert await world.keys(".inlake/open/") == []
    assert await world.store.get(name_key("named")) is None, "the place is free again"
    assert await world.store.get("named") is None


class Paused(FolderStore):
    """A store whose process is stopped once, right after it has seen that the name is its promise's: the first time,
    before it deletes the object, or the second, before it frees the name."""

    def __init__(self, root: Path, times: int) -> None:
        super().__init__(root)
        self.seen, self.go_on = asyncio.Event(), asyncio.Event()
        self._times = times

    async def get(self, key: str) -> bytes | None:
        found = await super().get(key)
        if key == name_key("named"):
            self._times -= 1
            if self._times == 0:
                self.seen.set()
                await self.go_on.wait()
        return found


@pytest.mark.parametrize("times", [1, 2])
async def test_a_sweep_that_slept_while_it_removed_a_named_place_leaves_it_to_who_has_it_now(
    world: World, times: int
) -> None:
    store = Paused(world.store._root, times)
    sleeper = Promises(store, world.bus, upload_timeout=0.1)
    old = dataclasses.replace(world.promises.new(SPOT, "anonymous"), key="named")
    old = await world.promises.cancel(await world.promises.store(old, file()))
    asleep = asyncio.create_task(sleeper.cleanup.remove_again(old))
    await store.seen.wait()
    assert dict(await world.sweep.run()) == {}, "one removes, the others wait"
    await asyncio.sleep(0.1)  # until the sleeper has no right any more
    assert await world.patient_sweep() == {"removed": 1}
    new = dataclasses.replace(world.promises.new(SPOT, "anonymous"), key="named")
    new = await world.promises.store(new, file(b"new"))
    store.go_on.set()
    await asleep
    assert await world.store.get("named") == b"new"
    assert await world.store.get(name_key("named")) == new.puuid.encode()


async def test_of_two_sweeps_that_remove_a_named_place_at_the_same_moment_one_does(world: World) -> None:
    named = dataclasses.replace(world.promises.new(SPOT, "anonymous"), key="named")
    ended = await world.promises.cancel(await world.promises.store(named, file()))
    assert sorted(await asyncio.gather(*(world.promises.cleanup.remove_again(ended) for _ in range(8)))) == [
        False
    ] * 7 + [True]
    assert await world.keys(".inlake/open/") == await world.keys(".inlake/names/") == []


class Failing(FolderStore):
    """A store that is lost when a file is put."""

    async def put(self, *_: object, **__: object) -> None:
        raise StoreUnavailable("lost")


async def test_after_an_unknown_outcome_of_the_store_the_place_stays_taken_until_it_is_looked_at_once_more(
    world: World,
) -> None:
    failing = Promises(Failing(world.store._root), world.bus, upload_timeout=60)
    promise = dataclasses.replace(failing.new(SPOT, "anonymous"), key="named")
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
    promise = dataclasses.replace(sleepy.new(SPOT, "anonymous"), key="named")
    with pytest.raises(PromiseExpired):
        await sleepy.store(promise, Binary("spot.obj", "model/obj", slow()))
    assert await world.store.get("named") is None


async def test_the_end_of_a_promise_deletes_nothing_at_a_place_that_is_anothers_now(world: World) -> None:
    promise = dataclasses.replace(world.promises.new(SPOT, "anonymous"), key="named")
    promise = await world.promises.store(promise, file())
    await world.store.delete(name_key("named"))
    await world.store.create(name_key("named"), b"another")
    await world.promises.abandon(promise)
    assert await world.store.get("named") is not None
    assert await world.store.get(name_key("named")) == b"another"


async def announced(world: World) -> Promise:
    return await world.promises.reserve(world.promises.new(Promised("spot.obj", "model/obj", Tus()), "anonymous"))


async def test_a_record_that_waits_outlives_the_process_that_took_it(world: World) -> None:
    promise = await announced(world)
    await world.dead.claim(promise, event(), SCHEMA)
    assert dict(await world.sweep.run()) == {}
    fulfilled = await world.promises.fulfil(promise, size=7, sha256="ab")
    assert await world.ids() == ["e1"]
    assert (fulfilled.state, fulfilled.receipt and fulfilled.receipt.id) == ("published", "e1")
    assert fulfilled == await read(world.store, promise.puuid)


class Counted(SqliteBus):
    """A bus that counts what it is given: it keeps each event once however often it comes."""

    given = 0

    async def publish(self, events: Sequence[Event]) -> list[Position | InlakeError]:
        self.given += len(events)
        return await super().publish(events)


async def test_of_many_that_see_both_halves_at_the_same_moment_one_publishes(world: World, tmp_path: Path) -> None:
    bus = Counted(tmp_path / "counted.db")
    processes = [Promises(world.store, bus, upload_timeout=60, me=str(n)) for n in range(4)]
    for n in range(10):
        promise = await announced(world)

        async def claim(at: Promises, promise: Promise = promise, event_id: str = f"e{n}") -> None:
            claimed = await at.claim(promise, event(event_id), SCHEMA)
            if claimed.stored:
                await at.finish(claimed)

        await asyncio.gather(*(p.fulfil(promise, size=7, sha256="ab") for p in processes[1:]), claim(processes[0]))
        told = await read(world.store, promise.puuid)
        assert told is not None
        assert (told.state, bus.given) == ("published", n + 1)
    await bus.close()


@pytest.mark.parametrize("last", ["stored", "claimed"])
async def test_who_died_before_it_published_is_replaced_at_once(world: World, last: str) -> None:
    lost = Promises(world.store, Refusing(BusUnavailable("away")), upload_timeout=60, me=DEAD)  # type: ignore[arg-type]
    promise = await announced(world)
    if last == "stored":
        await lost.fulfil(await world.promises.claim(promise, event(), SCHEMA), size=7, sha256="ab")
    else:
        await lost.claim(await world.promises.fulfil(promise, size=7, sha256="ab"), event(), SCHEMA)
    assert await world.ids() == []
    assert dict(await world.sweep.run()) == {"finished": 1}
    assert await world.ids() == ["e1"]


async def test_a_record_whose_event_the_bus_refuses_for_good_has_failed_with_the_reason(world: World) -> None:
    refused = Promises(world.store, Refusing(RecordTooLarge("too large")), upload_timeout=60)  # type: ignore[arg-type]
    promise = await announced(world)
    told = await refused.fulfil(await refused.claim(promise, event(), SCHEMA), size=7, sha256="ab")
    assert (told.state, told.reason) == ("failed", "record_too_large")
    assert told == await read(world.store, promise.puuid)
    with pytest.raises(PromiseUsed):
        await world.promises.locate(
            Submission(Label("note"), b""),
            promise.puuid,
            None,  # type: ignore[arg-type]
        )


async def test_an_event_that_request_and_sweep_note_at_once_is_answered_to_both(world: World) -> None:
    promise = await announced(world)
    claimed = await world.promises.claim(promise, event(), SCHEMA)
    promise, _ = await add(world.store, claimed, Stored(size=7, sha256="ab"))
    first, second = await asyncio.gather(*(world.promises.finish(promise) for _ in range(2)))
    assert first.id == second.id == "e1"


async def test_a_promise_bound_to_a_request_is_not_there_for_others_yet(world: World) -> None:
    promise = await world.promises.reserve(world.promises.new(SPOT, "anonymous"))
    with pytest.raises(PromiseNotFound):
        await world.promises.locate(Submission(Label("note"), b""), promise.puuid, None)  # type: ignore[arg-type]


async def nothing() -> AsyncIterator[bytes]:
    for chunk in list[bytes]():
        yield chunk


async def test_an_upload_whose_pieces_are_gone_expires(world: World) -> None:
    uploads = Uploads(world.store, world.promises, Leases(world.store))
    sweep = Sweep(world.store, world.promises, uploads, bus_timeout=-1, upload_timeout=60)
    promise = await uploads.create(
        world.promises.new(Promised("spot.obj", "model/obj", Tus(), 7), "anonymous"), at_most=7
    )
    promise, _ = await uploads.append(promise, 0, nothing())
    assert promise.upload
    await world.promises.progress(promise, received=7)
    await world.store.pieces.abort(promise.key)
    assert dict(await sweep.run()) == {"expired": 1}


async def test_a_promise_that_somebody_goes_on_with_is_not_given_up_by_who_read_it_before(world: World) -> None:
    seen = await announced(world)
    claimed = await world.promises.claim(seen, event(), SCHEMA)
    assert not await world.promises.expire(seen)
    await world.promises.fulfil(claimed, size=7, sha256="ab")
    assert await world.ids() == ["e1"], "it was answered 202"
    assert not await world.promises.expire(seen)


async def test_an_upload_whose_object_cannot_be_made_adds_no_entries_and_expires(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(key: str, upload: str) -> bool:
        raise StoreUnavailable("The key of the encryption is switched off.")

    monkeypatch.setattr(world.store.pieces, "complete", refused)
    uploads = Uploads(world.store, world.promises, Leases(world.store))
    sweep = Sweep(world.store, world.promises, uploads, bus_timeout=-1e6, upload_timeout=60)
    new = world.promises.new(Promised("spot.obj", "model/obj", Tus(), AT_ONCE + 1), "anonymous")
    promise = await uploads.create(new, at_most=AT_ONCE + 1)

    async def whole() -> AsyncIterator[bytes]:
        yield bytes(AT_ONCE + 1)

    with pytest.raises(StoreUnavailable):
        await uploads.append(promise, 0, whole())
    left = await read(world.store, promise.puuid)
    for _ in range(2):
        assert await sweep.run() == {"waiting": 1}
        assert await read(world.store, promise.puuid) == left
    assert left is not None
    await add(world.store, left, Uploading(received=AT_ONCE + 1, expires=time.time() - 1))
    assert await sweep.run() == {"expired": 1}
    begun = world.folder / "store" / ".inlake" / "uploads"
    assert [path for path in begun.rglob("*") if path.is_file()] == []


class SlowToForget(FolderStore):
    """A store that never comes to an end with deleting leases."""

    async def delete(self, key: str) -> None:
        if "/leases/" in key:
            await asyncio.Event().wait()
        await super().delete(key)


async def test_no_receipt_waits_for_the_removal_of_a_lease_and_a_sweep_ends_it(world: World) -> None:
    promises = Promises(SlowToForget(world.folder / "store"), world.bus, upload_timeout=60)
    promise = await promises.progress(await announced(world), received=0, upload="begun")
    for _ in range(20):
        async with Leases(world.store).held(promise.puuid):
            pass
    claimed = await promises.claim(promise, event(), SCHEMA)
    async with asyncio.timeout(20):
        assert (await promises.fulfil(claimed, size=7, sha256="ab")).state == "published"
    assert len(await world.keys(".inlake/leases/")) == 40
    await promises.cleanup.close()  # the process ends
    assert await world.patient_sweep() == {"removed": 1}
    assert await world.keys(".inlake/leases/") == await world.keys(".inlake/open/") == []


async def test_an_upload_that_was_begun_stays_the_one_that_was_noted_first(world: World) -> None:
    """Its bytes were confirmed; a process that slept between the beginning and its note comes too late."""
    new = world.promises.new(Promised("spot.obj", "model/obj", Tus(), 10), "anonymous")
    slept = await world.promises.reserve(new)
    await world.promises.progress(slept, received=0, upload="first")
    assert (await world.promises.progress(slept, received=0, upload="second")).upload == "first"


async def test_an_upload_whose_beginning_could_not_be_noted_leaves_nothing(world: World) -> None:
    promises = Promises(NoRoom(world.folder / "store"), world.bus, upload_timeout=60)
    uploads = Uploads(world.store, promises, Leases(world.store))
    promise = await uploads.create(
        world.promises.new(Promised("spot.obj", "model/obj", Tus(), 10), "anonymous"), at_most=10
    )

    async def half() -> AsyncIterator[bytes]:
        yield b"01234"

    for _ in range(2):
        with pytest.raises(OutOfSpace):
            await uploads.append(promise, 0, half())
    begun = world.folder / "store" / ".inlake" / "uploads"
    assert [path for path in begun.rglob("*") if path.is_file()] == []


async def test_promises_that_wait_for_their_clients_cost_a_sweep_nothing_most_of_the_time(waiting: Waiting) -> None:
    sweep = waiting.sweep()
    found = [[finding async for finding in sweep.findings(beside=True)] for _ in range(2)]
    assert (found, waiting.store.gets) == ([[], []], WAIT * 2), "two for a log of one entry, once"
    await sweep.run()
    assert waiting.store.gets == WAIT * 4, "who asks for all gets all"


async def test_one_that_is_claimed_and_waits_for_its_binary_costs_a_sweep_no_more(waiting: Waiting) -> None:
    now, event = time.time(), Event("019a", "note", b"note", b"value", ())
    for number in range(WAIT):
        promise = await read(waiting.store, waiting.puuid(number))
        assert promise is not None
        entry = Claimed(event=ClaimedEvent.of(event), schema=None, owner=owner.me(), expires=now + 10_000)
        await add(waiting.store, promise, structs.replace(entry, at=now - 2000))
    sweep = waiting.sweep()
    assert [finding async for finding in sweep.findings(beside=True)] == []
    waiting.store.gets = 0
    assert [finding async for finding in sweep.findings(beside=True)] == []
    assert waiting.store.gets == 0


async def test_workers_of_one_server_share_the_promises_that_wait(waiting: Waiting) -> None:
    sweeps = [waiting.sweep((number, 3)) for number in range(3)]
    gets: list[int] = []
    for sweep in sweeps:
        assert [finding async for finding in sweep.findings(beside=True)] == []
        gets.append(waiting.store.gets - sum(gets))
    assert sum(gets) == WAIT * 2, "each is looked at once"
    assert max(gets) < WAIT, f"of three workers one has at most half of the work: {gets}"


async def test_what_another_worker_leaves_is_looked_at_in_the_end(waiting: Waiting) -> None:
    sweep = waiting.sweep((0, 2))
    assert [finding async for finding in sweep.findings(beside=True)] == []
    assert waiting.store.gets < WAIT * 2
    waiting.store.gets = 0
    for marker in sweep._rests:
        sweep._rests[marker] -= LONGEST_REST
    assert [finding async for finding in sweep.findings(beside=True)] == []
    assert waiting.store.gets == WAIT * 2


async def test_a_sweep_beside_requests_works_a_part_of_the_time(waiting: Waiting) -> None:
    sweep = waiting.sweep()
    began, used = time.perf_counter(), time.process_time()
    assert [finding async for finding in sweep.findings(beside=True)] == []
    share = (time.process_time() - used) / (time.perf_counter() - began)
    assert share < 2 * BUSY, "a machine that stalls only makes it less"


async def test_a_promise_that_takes_long_does_not_put_the_next_ones_off_for_longer(
    waiting: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleep, slept = asyncio.sleep, list[float]()

    async def get(key: str) -> bytes | None:
        await sleep(0.05)
        return await FolderStore.get(waiting.store, key)

    async def short(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr("inlake.promises.sweep.LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(waiting.store, "get", get)
    monkeypatch.setattr("asyncio.sleep", short)
    assert [finding async for finding in waiting.sweep().findings(beside=True)] == []
    assert slept, "a pause after each batch"
    assert set(slept) == {0.1}


WAIT = 60


class Waiting:
    """Promises that wait for their clients, and what sweeps them."""

    def __init__(self, folder: Path) -> None:
        self.store = Counting(folder / "store")
        self.bus = SqliteBus(folder / "events.db")
        self.promises = Promises(self.store, self.bus, upload_timeout=60)

    def sweep(self, share: tuple[int, int] = (0, 1)) -> Sweep:
        sweep = Sweep(self.store, self.promises, bus_timeout=10, upload_timeout=60)
        sweep.share = share
        return sweep

    def puuid(self, number: int) -> str:
        return f"00000000-0000-4000-8000-{number:012d}"


@pytest_asyncio.fixture
async def waiting(tmp_path: Path) -> AsyncIterator[Waiting]:
    found, now = Waiting(tmp_path), time.time()
    for n in range(WAIT):
        promise = found.promises.new(Promised("spot.obj", "model/obj", Tus()), "anonymous", puuid=found.puuid(n))
        promise = dataclasses.replace(promise, expires=now + 10_000)
        await found.store.create(marker_key("anonymous", promise.puuid), b'{"at": 0}')
        await add(found.store, promise, structs.replace(promise.reserved(), at=now - 2000))
    yield found
    await found.bus.close()


class Counting(FolderStore):
    """A store that counts how often it is read."""

    gets = 0

    async def get(self, key: str) -> bytes | None:
        self.gets += 1
        return await super().get(key)


async def test_one_promise_that_cannot_be_read_keeps_no_other_waiting(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.store.create(marker_key("anonymous", "broken"), b"no JSON")
    promise = await world.dead.store(world.dead.new(SPOT, "anonymous"), file())
    await world.dead.claim(promise, event(), SCHEMA)
    assert dict(await world.sweep.run()) == {"finished": 1, "unreadable": 1}
    assert "cannot be read" in caplog.text


@pytest.mark.parametrize("crash_after", ["reserved", "name"])
async def test_a_crash_before_a_named_place_is_ours_never_deletes_what_stands_there(
    world: World, crash_after: str
) -> None:
    named = dataclasses.replace(world.promises.new(SPOT, "anonymous"), key="theirs")
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
    refused = Promises(world.store, Refusing(error()), upload_timeout=60, me=DEAD)  # type: ignore[arg-type]
    promise = await refused.store(refused.new(SPOT, "anonymous"), file())
    claimed = await refused.claim(promise, event(), SCHEMA)
    with pytest.raises(InlakeError):
        await refused.finish(claimed)
    assert len(await world.keys("objects/")) == len(await world.keys(".inlake/open/")) == len(left)
    await world.sweep.run()
    assert await world.ids() == (["e1"] if left else [])


async def test_what_may_have_been_published_before_keeps_its_object_when_the_bus_refuses_it_now(world: World) -> None:
    promise = await world.dead.store(world.dead.new(SPOT, "anonymous"), file())
    claimed = await world.dead.claim(promise, event(), SCHEMA)
    refused = Promises(world.store, Refusing(RecordTooLarge("too large now")), upload_timeout=60)  # type: ignore[arg-type]
    with pytest.raises(RecordTooLarge):
        await refused.finish(claimed, again=True)
    assert await world.keys(".inlake/open/") == []
    assert await world.keys("objects/") == [promise.key]


async def test_a_repeat_that_the_bus_refuses_keeps_what_the_attempt_before_may_have_published(world: World) -> None:
    """With an Idempotency-Key: it died between publishing and its entry, and the bus takes less now."""
    promise = await world.dead.store(world.dead.new(SPOT, "anonymous"), file())
    await world.bus.publish([event_of(await world.dead.claim(promise, event(), SCHEMA))])
    repeated = Promises(world.store, Refusing(RecordTooLarge("too large now")), upload_timeout=60)  # type: ignore[arg-type]
    claimed = await repeated.claim(await repeated.find(promise.puuid, "anonymous"), event(), SCHEMA)
    with pytest.raises(RecordTooLarge):
        await repeated.finish(claimed)
    await world.patient_sweep()
    assert await world.keys("objects/") == [promise.key]


async def test_a_refusal_that_comes_after_another_process_has_published_deletes_nothing(world: World) -> None:
    promise = await world.promises.store(world.promises.new(SPOT, "anonymous"), file())
    claimed = await world.promises.claim(promise, event(), SCHEMA)
    await world.promises.finish(claimed)
    refused = Promises(world.store, Refusing(RecordTooLarge("too large now")), upload_timeout=60)  # type: ignore[arg-type]
    with pytest.raises(RecordTooLarge):
        await refused.finish(claimed)
    assert await world.keys("objects/") == [promise.key]
