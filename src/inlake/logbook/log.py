"""A log in the store: entries 0, 1, 2, ..., each created only if there is none: of any number of writers one wins.

Promises, leases and requests with an `Idempotency-Key` are such logs. Who loses an entry reads the log again and
decides anew: that is the only lock there is.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Generic, TypeVar

import msgspec

from inlake.errors import OutOfSpace
from inlake.logbook.reserve import make_room
from inlake.ports import Store

STATE = ".inlake"
"""Folder of the gateway's state, below the prefix of the store."""
E = TypeVar("E")
_encode = msgspec.json.Encoder().encode


class Log(Generic[E]):
    """The entries of one folder."""

    def __init__(self, store: Store, folder: str, decode: Callable[[bytes], E], *, suffix: str = "") -> None:
        """`decode`: JSON to an entry; `suffix`: what the entries' names have behind their number."""
        self._store, self._folder, self._decode, self._suffix = store, folder, decode, suffix

    async def get(self, n: int) -> E | None:
        """Entry n; None when there is none."""
        data = await self._store.get(self._key(n))
        return None if data is None else self._decode(data)

    async def size(self, n: int) -> int:
        """Bytes of entry n; 0 when there is none."""
        return await self._store.head(self._key(n)) or 0

    async def read(self, start: int = 0) -> list[E]:
        """The entries from number `start` on, `start` included."""
        entries: list[E] = []
        while (entry := await self.get(start + len(entries))) is not None:
            entries.append(entry)
        return entries

    async def add(self, n: int, entry: E, *, ends: bool = False) -> bool:
        """Create entry n: True for one of any number of callers at once.

        `ends`: the entry ends something, and may use the room that is kept for such entries in a full store.
        """
        key, data = self._key(n), _encode(entry)
        while True:
            try:
                # a store may have taken it before it was asked once more: then what stands there is ours
                return await self._store.create(key, data) or await self._store.get(key) == data
            except OutOfSpace:
                if not (ends and await make_room(self._store)):
                    raise

    async def last(self) -> int | None:
        """The highest number, as a listing has it; None when there is no entry."""
        return max([n async for n in self._numbers()], default=None)

    async def delete(self, *, at_once: int = 1) -> None:
        """Delete all entries, the last one first: what is left of a log begins where it began.

        `at_once`: of more than one some may be left between others, for who looks at the last entry only.
        """
        numbers = sorted([n async for n in self._numbers()], reverse=True)
        for i in range(0, len(numbers), at_once):
            await asyncio.gather(*(self._store.delete(self._key(n)) for n in numbers[i : i + at_once]))

    async def _numbers(self) -> AsyncIterator[int]:
        async for key in self._store.list(f"{self._folder}/"):
            yield int(key.rpartition("/")[2].removesuffix(self._suffix))

    def _key(self, n: int) -> str:
        return f"{self._folder}/{n}{self._suffix}"
