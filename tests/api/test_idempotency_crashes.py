"""A request with an `Idempotency-Key` whose process dies before or after any step: its repeat makes the same event."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from inlake.model import Event
from tests.gateways import Answer, embedded, form
from tests.processes import Crash, Steps, World


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


@pytest.mark.parametrize("swept", [False, True], ids=["", "swept"])
async def test_whatever_step_an_announcement_dies_at_its_repeat_makes_no_second_shipment(
    tmp_path: Path, swept: bool
) -> None:
    file = {"filename": "1.obj", "size": 3, "sha256": hashlib.sha256(b"v 1").hexdigest()}
    body = json.dumps({"file": file, "record": {"title": "Spot"}}).encode()
    sent = ("/shipments?schema=note", body, "application/x-ndjson")
    async with world(tmp_path) as w:
        living = w.process()
        for last in range(100):
            died = await dies_at(w, sent, last)
            if swept:
                await living.deployment.sweep.run()
            answer, again = [await living.post(*sent, headers=key(last)) for _ in range(2)]
            assert (answer.status, again.body) == (201, answer.body), last
            logs = [name async for name in living.deployment.store.list(".inlake/shipments/")]
            marks = [name async for name in living.deployment.store.list(".inlake/shipping/")]
            assert (len(logs), len(marks)) == (last + 1, last + 1)
            if not died:
                assert last >= 3
                return
    raise AssertionError("it never got through")
