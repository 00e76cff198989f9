"""Who may write to something now: a log of create-once entries that is renewed or taken over by the next entry.

.inlake/leases/<name>/<n>   {"holder", "owner", "until", "wanted"}

A clock decides only who tries: the store lets one of any number create entry n. A holder that sees `wanted`, or an
entry of another, stops; one whose process is gone for certain is taken over at once. Entries are not deleted before
the end, so a slow process cannot create a number a second time.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

from inlake.errors import InlakeError, UploadLocked
from inlake.logbook import process as owner
from inlake.logbook.log import STATE
from inlake.ports import Store

LEASES = f"{STATE}/leases"
SECONDS = 30.0
"""A lease not renewed for so long may be taken over."""
RENEW = 10.0
LOOK = 1.0
"""Seconds between two looks of a holder whether another wants what it holds."""
WAIT = 10.0
"""Longest wait for a holder that was asked to stop."""
KNOWN = 10_000
TAKEN = "Another request writes to this upload, or has taken it over: ask for its offset again, and go on from there."

Entry = dict[str, Any]


class Lease:
    """Held by one request of this process."""

    def __init__(self, token: str, n: int, until: float) -> None:
        self.token, self.n, self.until = token, n, until
        self.released = asyncio.Event()
        self._scope: asyncio.Timeout | None = None
        self._wanted = False

    @asynccontextmanager
    async def giving_way(self) -> AsyncIterator[None]:
        """A block that is cancelled when another wants the lease, or has it. Raises `UploadLocked` then."""
        try:
            async with asyncio.timeout(0 if self._wanted else None) as self._scope:
                yield
        except TimeoutError:
            if self._wanted:
                raise UploadLocked(TAKEN) from None
            raise
        finally:
            self._scope = None

    def go_through(self) -> None:
        """What is left of the block is short, and comes to its end."""
        if self._scope is not None and not self._wanted:
            self._scope.reschedule(None)
            self._scope = None

    def give_way(self) -> None:
        """Stop the block; once more is no more."""
        if self._scope is not None and not self._wanted:
            self._scope.reschedule(asyncio.get_running_loop().time())
        self._wanted = True


class Leases:
    """The leases of a process, and its view of those of others."""

    def __init__(self, store: Store, *, process: str | None = None) -> None:
        """`process`: who holds them (default: `owner.me`)."""
        self._store = store
        self._me = process or owner.me()
        self._mine: dict[str, Lease] = {}
        self._known: dict[str, int] = {}
        """Numbers of the last entries seen: where to look on."""

    @asynccontextmanager
    async def held(self, name: str, *, wait: float = WAIT) -> AsyncIterator[Lease]:
        """Hold the lease during a block; who holds it now is asked to stop. `UploadLocked` when it does not in time."""
        lease = await self._acquire(name, wait)
        self._mine[name] = lease
        watching = asyncio.create_task(self._watch(name, lease))
        try:
            yield lease
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            await asyncio.shield(self._release(name, lease))

    async def freed(self, name: str, *, wait: float = WAIT) -> bool:
        """Ask who holds the lease to stop, and wait; False when it goes on."""
        end = time.monotonic() + wait
        while True:
            n, last = await self._last(name)
            if _is_free(last):
                return True
            await self._ask_for(name, n, last)
            if time.monotonic() >= end:
                return False

    async def _acquire(self, name: str, wait: float) -> Lease:
        end, token = time.monotonic() + wait, uuid4().hex
        while True:
            n, last = await self._last(name)
            if _is_free(last):
                until = time.time() + SECONDS
                if await self._create(name, n + 1, self._entry(token, until)):
                    return Lease(token, n + 1, until)
                continue
            if time.monotonic() >= end:
                raise UploadLocked(TAKEN)
            await self._ask_for(name, n, last)

    async def _ask_for(self, name: str, n: int, last: Entry) -> None:
        """Tell the holder that its lease is wanted, and give it a moment."""
        if mine := self._mine.get(name):
            mine.give_way()
            with suppress(TimeoutError):
                await asyncio.wait_for(mine.released.wait(), LOOK)
            return
        if not last["wanted"]:
            await self._create(name, n + 1, {**last, "wanted": True})
        await asyncio.sleep(LOOK / 8)

    async def _watch(self, name: str, lease: Lease) -> None:
        """Renew, and look whether another wants it."""
        while True:
            await asyncio.sleep(LOOK)
            with suppress(InlakeError):  # the store is away for a moment
                while entry := await self._read(name, lease.n + 1):
                    lease.n += 1
                    if entry["wanted"] or entry["holder"] != lease.token:
                        lease.give_way()
                now = time.time()
                due = now > lease.until - SECONDS + RENEW
                if due and await self._create(name, lease.n + 1, self._entry(lease.token, now + SECONDS)):
                    lease.n, lease.until = lease.n + 1, now + SECONDS
            if time.time() > lease.until:
                lease.give_way()

    async def _release(self, name: str, lease: Lease) -> None:
        try:
            while not await self._create(name, lease.n + 1, self._entry("", 0.0)):
                entry = await self._read(name, lease.n + 1)
                if entry is None or entry["holder"] != lease.token:
                    break  # taken over, or forgotten
                lease.n += 1
        except InlakeError:
            pass  # it runs out by itself
        finally:
            if self._mine.get(name) is lease:
                del self._mine[name]
            lease.released.set()

    def _entry(self, token: str, until: float) -> Entry:
        return {"holder": token, "owner": self._me, "until": until, "wanted": False}

    async def _create(self, name: str, n: int, entry: Entry) -> bool:
        created = await self._store.create(f"{LEASES}/{name}/{n}", json.dumps(entry).encode())
        if created:
            self._note(name, n)
        return created

    async def _last(self, name: str) -> tuple[int, Entry]:
        """Number and content of the last entry; 0 and a free one when there is none."""
        n = self._known.get(name)
        if n is None:
            numbers = [int(key.rpartition("/")[2]) async for key in self._store.list(f"{LEASES}/{name}/")]
            n = max(numbers, default=0)
            last = await self._read(name, n)
        else:
            last = await self._read(name, n)
            while following := await self._read(name, n + 1):
                n, last = n + 1, following
        if last is None:
            return n, self._entry("", 0.0)
        self._note(name, n)
        return n, last

    async def _read(self, name: str, n: int) -> Entry | None:
        data = await self._store.get(f"{LEASES}/{name}/{n}") if n else None
        return None if data is None else json.loads(data)

    def _note(self, name: str, n: int) -> None:
        self._known.pop(name, None)
        self._known[name] = n
        if len(self._known) > KNOWN:
            del self._known[next(iter(self._known))]


async def forget(store: Store, name: str) -> None:
    """Delete the log of a lease that nobody needs any more."""
    for key in [key async for key in store.list(f"{LEASES}/{name}/")]:
        await store.delete(key)


def _is_free(entry: Entry) -> bool:
    return not entry["holder"] or time.time() > entry["until"] or owner.is_certainly_dead(entry["owner"])
