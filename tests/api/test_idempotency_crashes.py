"""A request with an `Idempotency-Key` whose process dies before or after any step: its repeat makes the same event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inlake import owner
from inlake.errors import InlakeError
from inlake.gateway import Gateway as DataPath
from inlake.idempotency import Receipts
from inlake.model import Event, Position
from inlake.promises import Promises
from inlake.sweep import Sweep
from inlake.web.app import create_app
from tests.gateways import Answer, Gateway, embedded, form

DEAD = owner.me().rpartition(":")[0] + ":0"


class Crash(BaseException):
    """The process dies."""


class Steps:
    """Counts the steps that change something outside of the process, and dies before one of them."""

    def __init__(self, last: int) -> None:
        self.left = last

    def take(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Crash


class DyingStore:
    """The store as a process sees it that dies."""

    def __init__(self, store: Any, steps: Steps) -> None:
        self._store, self._steps = store, steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def create(self, key: str, data: bytes) -> bool:
        self._steps.take()
        created: bool = await self._store.create(key, data)
        return created

    async def put(self, key: str, chunks: AsyncIterator[bytes], **about: Mapping[str, str]) -> None:
        self._steps.take()
        await self._store.put(key, chunks, **about)

    async def delete(self, key: str) -> None:
        self._steps.take()
        await self._store.delete(key)


class WatchedBus:
    """Remembers every event that was published, repeats too: the embedded log drops them."""

    def __init__(self, bus: Any, seen: list[Event], steps: Steps | None = None) -> None:
        self._bus, self.seen, self._steps = bus, seen, steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)

    async def publish(self, events: Sequence[Event]) -> list[Position | InlakeError]:
        if self._steps:
            self._steps.take()
        self.seen.extend(events)
        positions: list[Position | InlakeError] = await self._bus.publish(events)
        return positions


class World:
    """One deployment, and the processes that live and die on it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.seen: list[Event] = []

    def process(self, steps: Steps | None = None) -> Gateway:
        d = self._gateway.deployment
        store: Any = DyingStore(d.store, steps) if steps else d.store
        bus: Any = WatchedBus(d.bus, self.seen, steps)
        me = DEAD if steps else None
        promises = Promises(store, bus, upload_timeout=60, process=me)
        deployment = replace(
            d,
            store=store,
            bus=bus,
            gateway=DataPath(d.gateway.codecs, promises, bus),
            receipts=Receipts(store, ttl=60, process=me),
            sweep=Sweep(store, promises, bus_timeout=10, upload_timeout=60),
        )
        return Gateway(create_app(deployment), deployment)

    async def settle(self) -> None:
        """Sweep until nothing is left to do."""
        d = self._gateway.deployment
        promises = Promises(d.store, WatchedBus(d.bus, self.seen), upload_timeout=60)
        while await Sweep(d.store, promises, bus_timeout=-1e6, upload_timeout=-1e6).run():
            pass


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[World]:
    async with embedded(folder, idempotency_ttl=60) as gateway:
        yield World(gateway)


RECORDS, BINARIES = "/ingress/record-json?schema=note", "/ingress/record-json-and-binary?schema=note"
FILE, RECORD = ("file", b"v 0 0 0", "spot.obj", None), ("record", b'{"title": "Spot"}', None, None)
REQUESTS: dict[str, tuple[str, bytes, str]] = {
    "record": (RECORDS, RECORD[1], "application/json"),
    "lines": (RECORDS, b'{"title": "a"}\n{"title": "b"}\n{"title": 3}\n', "application/x-ndjson"),
    "binary": (BINARIES, *form(RECORD, FILE)),
    "binary first": (BINARIES, *form(FILE, RECORD)),
    "promised": (RECORDS, b'{"title": "Spot", "__resource_path__": "%b"}', "application/json"),
}


@pytest.mark.parametrize("swept", [False, True], ids=["", "swept"])
@pytest.mark.parametrize("name", REQUESTS)
async def test_whatever_step_a_process_dies_at_its_repeat_makes_the_same_event(
    tmp_path: Path, name: str, swept: bool
) -> None:
    path, body, kind = REQUESTS[name]
    async with world(tmp_path) as w:
        living = w.process()
        for last in range(100):
            if name == "promised":
                promise = (await living.post("/ingress/binary", b"v 0 0 0", "model/obj")).json()["puuid"]
                body = REQUESTS[name][1].replace(b"%b", promise.encode())
            sent = (path, body, kind)
            died = await dies_at(w, sent, last)
            if swept:
                await living.deployment.sweep.run()
            answer, again = [await living.post(*sent, headers=key(last)) for _ in range(2)]
            assert answer.status in {201, 207}, (last, answer)
            assert (again.status, again.body) == (answer.status, answer.body)
            assert again.headers["idempotent-replayed"] == "true"
            await w.settle()
            check(w.seen, answer)
            w.seen.clear()
            objects = await living.objects()
            assert len(objects) == (0 if name in {"record", "lines"} else last + 1), (last, objects)
            assert await living.open_promises() == []
            if not died:
                assert last >= 3
                return
    raise AssertionError("it never got through")


def key(n: int) -> dict[str, str]:
    return {"idempotency-key": str(n)}


async def dies_at(w: World, sent: tuple[str, bytes, str], last: int) -> bool:
    """Send a request to a process that takes `last` steps; whether it died."""
    try:
        await w.process(Steps(last)).post(*sent, headers=key(last))
    except Crash:
        return True
    return False


def check(seen: list[Event], answer: Answer) -> None:
    """Each event of the answer was published, and every repeat of it is the same."""
    first: dict[str, Event] = {}
    for event in seen:
        assert first.setdefault(event.id, event) == event
    assert list(first) == [line["id"] for line in answer.lines() if "id" in line]


async def test_a_request_that_is_cancelled_leaves_its_key_free(tmp_path: Path) -> None:
    """As when the server stops and waits no longer."""
    async with world(tmp_path) as w:
        gateway = w.process()
        body, kind = form(RECORD, ("file", b"x" * 100, "a.bin", None))
        sending = asyncio.create_task(gateway.post(BINARIES, [body[:-50]], kind, headers=key(1), stall=True))
        while not [key async for key in gateway.deployment.store.list(".inlake/promises/")]:
            await asyncio.sleep(0.01)
        sending.cancel()
        assert (await sending).status == 503
        assert (await gateway.post(BINARIES, body, kind, headers=key(1))).status == 201
        assert len(await gateway.objects()) == 1


@pytest.mark.parametrize("parts", [(RECORD, FILE), (FILE, RECORD)], ids=["record first", "file first"])
async def test_another_file_does_not_take_the_place_of_the_one_that_is_stored(tmp_path: Path, parts: Any) -> None:
    async with world(tmp_path) as w:
        living, sent = w.process(), (BINARIES, *form(*parts))
        last = 1
        while not await living.objects():  # until it dies with its file stored
            assert await dies_at(w, sent, last)
            last += 1
        other = [(*part[:1], b"other", *part[2:]) if part is FILE else part for part in parts]
        assert await dies_at(w, sent, last), "its entry `stored` is there now too"
        for _ in range(2):
            answer = await living.post(BINARIES, *form(*other), headers=key(last))
            assert (answer.status, answer.json()["code"]) == (422, "idempotency_key_reused")
        assert w.seen == []
        assert (await living.post(*sent, headers=key(last))).status == 201
        assert len(w.seen) == 1
