"""A lease says who may write to something now: a log of create-once entries, of which the last one counts.

.inlake/leases/<name>/<n>   `Holder`, n = 1, 2, ...

A clock decides only who tries: the store lets one of any number create entry n. A holder that sees `wanted`, or an
entry of another, stops; one whose process is gone for certain is taken over at once. Entries are not deleted before
the end, so a slow process cannot create a number a second time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import uuid4

import msgspec
from msgspec import Struct, structs

from inlake.errors import InlakeError, OutOfSpace, UploadLocked
from inlake.logbook import process
from inlake.logbook.log import STATE, Log
from inlake.memory import Recent
from inlake.ports import Store

LEASES = f"{STATE}/leases"
SECONDS = 30.0
"""A lease not renewed for so long may be taken over."""
RENEW = 10.0
LOOK = 1.0
"""Seconds between two looks of a holder whether another wants what it holds."""
DELETED_AT_ONCE = 16
WAIT = 10.0
"""Longest wait for a holder that was asked to stop."""
TAKEN = "Another request writes to this upload, or has taken it over: ask for its offset again, and go on from there."


class Holder(Struct, frozen=True):
    """The holder of a lease. All of it is in every entry: the last one counts."""

    holder: str
    """Token of the request that holds it; empty when it is free."""
    owner: str
    """Process of the holder (`process.me`)."""
    until: float
    """Seconds since 1970; who has not renewed it by then has lost it."""
    wanted: bool = False
    """Another waits for it."""

    @property
    def is_free(self) -> bool:
        return not self.holder or time.time() > self.until or process.is_certainly_dead(self.owner)


_decode = msgspec.json.Decoder(Holder).decode


class Lease:
    """Held by one request of this process."""

    def __init__(self, token: str, n: int, until: float) -> None:
        self.token, self.n, self.until = token, n, until
        self.is_lost = False
        """Another has it, or its log was forgotten: nothing is written there any more."""
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
        """Lets the block end, though another wants the lease: what is left of it is short."""
        if self._scope is not None and not self._wanted:
            self._scope.reschedule(None)
            self._scope = None

    def lose(self) -> None:
        """Stop the block, and write nothing more to the log."""
        self.is_lost = True
        self.give_way()

    def give_way(self) -> None:
        """Stop the block; once more is no more."""
        if self._scope is not None and not self._wanted:
            self._scope.reschedule(asyncio.get_running_loop().time())
        self._wanted = True


class Leases:
    """The leases of a process, and its view of those of others."""

    def __init__(self, store: Store, *, me: str | None = None) -> None:
        """`me`: who holds them (default: `process.me`)."""
        self._store = store
        self._me = me or process.me()
        self._mine: dict[str, Lease] = {}
        self._left = Recent[str, bool]()
        """Tokens of leases that were let go of, where the store had no room to say so."""
        self._known = Recent[str, int]()
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
            if self._is_free(last):
                return True
            await self._ask_for(name, n, last)
            if time.monotonic() >= end:
                return self._is_free((await self._last(name))[1])

    async def _acquire(self, name: str, wait: float) -> Lease:
        end, token = time.monotonic() + wait, uuid4().hex
        while True:
            n, last = await self._last(name)
            if self._is_free(last):
                until = time.time() + SECONDS
                if await self._add(name, n + 1, self._entry(token, until)):
                    return Lease(token, n + 1, until)
                continue
            if time.monotonic() >= end:
                raise UploadLocked(TAKEN)
            await self._ask_for(name, n, last)

    async def _ask_for(self, name: str, n: int, last: Holder) -> None:
        """Tell the holder that its lease is wanted, and give it a moment."""
        if mine := self._mine.get(name):
            mine.give_way()
            with suppress(TimeoutError):
                await asyncio.wait_for(mine.released.wait(), LOOK)
            return
        if not last.wanted:
            with suppress(OutOfSpace):  # the holder cannot be told: it comes to its end by itself
                await self._add(name, n + 1, structs.replace(last, wanted=True))
        await asyncio.sleep(LOOK / 8)

    async def _watch(self, name: str, lease: Lease) -> None:
        """Renew the lease, and look whether another wants it, until another has it or it is forgotten."""
        while True:
            await asyncio.sleep(LOOK)
            with suppress(InlakeError):  # the store is away for a moment
                for entry in await self._log(name).read(lease.n + 1):
                    if entry.holder != lease.token:
                        lease.lose()
                        return
                    lease.n += 1
                    if entry.wanted:
                        lease.give_way()
                now = time.time()
                if now > lease.until - SECONDS + RENEW:
                    if await self._log(name).get(lease.n) is None:
                        lease.lose()
                        return
                    if await self._add(name, lease.n + 1, self._entry(lease.token, now + SECONDS)):
                        lease.n, lease.until = lease.n + 1, now + SECONDS
            if time.time() > lease.until:
                lease.give_way()

    async def _release(self, name: str, lease: Lease) -> None:
        try:
            while not lease.is_lost and not await self._add(name, lease.n + 1, self._entry("", 0.0)):
                entry = await self._log(name).get(lease.n + 1)
                if entry is None or entry.holder != lease.token:
                    break  # taken over, or forgotten
                lease.n += 1
        except InlakeError:
            self._left.keep(lease.token, value=True)  # for others it runs out by itself
        finally:
            if self._mine.get(name) is lease:
                del self._mine[name]
            lease.released.set()

    def _is_free(self, entry: Holder) -> bool:
        return entry.is_free or entry.holder in self._left

    def _entry(self, token: str, until: float) -> Holder:
        return Holder(token, self._me, until)

    async def _add(self, name: str, n: int, entry: Holder) -> bool:
        added = await self._log(name).add(n, entry)
        if added:
            self._known.keep(name, n)
        return added

    async def _last(self, name: str) -> tuple[int, Holder]:
        """Number and content of the last entry; 0 and a free one when there is none."""
        log, n = self._log(name), self._known.recall(name)
        if n is None:
            n = await log.last()
        if n is None or not (entries := await log.read(n)):
            return n or 0, self._entry("", 0.0)
        n += len(entries) - 1
        self._known.keep(name, n)
        return n, entries[-1]

    def _log(self, name: str) -> Log[Holder]:
        return _log(self._store, name)


async def forget(store: Store, name: str) -> None:
    """Delete the log of a lease that nobody needs any more."""
    await _log(store, name).delete(at_once=DELETED_AT_ONCE)


def _log(store: Store, name: str) -> Log[Holder]:
    return Log(store, f"{LEASES}/{name}", _decode)
