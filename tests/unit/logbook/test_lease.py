"""Leases: held by one, given up when another wants it, and read as version 0.5.0 wrote them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from inlake.errors import UploadLocked
from inlake.logbook.lease import LEASES, Leases, forget
from inlake.store.folder.store import FolderStore

HELD = b'{"holder": "f0479a916e234ebe82e28011bf40d57a", "owner": "machine:1:2", "until": 1e12, "wanted": false}'
FREE = b'{"holder": "", "owner": "machine:1:2", "until": 0.0, "wanted": false}'


async def test_a_lease_of_before_is_held_until_its_log_says_that_it_is_free(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    await store.create(f"{LEASES}/u/1", HELD)
    with pytest.raises(UploadLocked):
        async with Leases(store).held("u", wait=0):
            pass
    assert not await Leases(store).freed("u", wait=0)
    asked = json.loads(await store.get(f"{LEASES}/u/2") or b"")
    assert asked == {**json.loads(HELD), "wanted": True}
    await store.create(f"{LEASES}/u/3", FREE)
    async with Leases(store).held("u", wait=0) as lease:
        assert lease.n == 4
    assert await Leases(store).freed("u", wait=0)


async def test_who_slept_writes_nothing_behind_the_next_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inlake.logbook.lease.LOOK", 0.01)
    store = FolderStore(tmp_path)

    async def sleeper() -> None:
        async with Leases(store).held("u") as lease, lease.giving_way():
            await store.create(f"{LEASES}/u/2", HELD)
            lease.until = 0.0  # its time is long over: it would renew the lease now
            await asyncio.sleep(20)

    with pytest.raises(UploadLocked):
        await sleeper()
    assert sorted([key async for key in store.list("")]) == [f"{LEASES}/u/1", f"{LEASES}/u/2"]


async def test_who_holds_what_was_forgotten_stops_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inlake.logbook.lease.LOOK", 0.01)
    monkeypatch.setattr("inlake.logbook.lease.RENEW", 0.0)
    store = FolderStore(tmp_path)

    async def holder() -> None:
        async with Leases(store).held("u") as lease, lease.giving_way():
            await forget(store, "u")
            await asyncio.sleep(20)

    with pytest.raises(UploadLocked):
        await holder()
    assert [key async for key in store.list("")] == []


async def test_a_lease_that_is_forgotten_leaves_nothing(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    async with Leases(store).held("u"):
        pass
    await forget(store, "u")
    assert [key async for key in store.list("")] == []
