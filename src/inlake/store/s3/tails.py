"""Bytes that are too few for a part of an upload, kept as small objects behind its parts.

Each is `.inlake/tails/<key>/<upload>/<start>-<length>`. It counts only while it goes on exactly where the parts, or the
one before it, end. So nothing counts twice, whatever a crash leaves.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar

from inlake.errors import OffsetConflict
from inlake.model import PART
from inlake.ports import Store

T = TypeVar("T")
TAILS = ".inlake/tails"
Tail = list[tuple[int, int]]
"""(start, length) of each, one behind the other."""


class Tails:
    """The small objects of all uploads to a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def names(self, key: str, upload: str | None = None) -> list[str]:
        """Keys of the small objects of an upload, or of all uploads to `key`, those that count or not."""
        return [name async for name in self._store.list(_folder(key, upload))]

    async def read(self, key: str, upload: str, tail: Tail) -> list[bytes]:
        """The bytes of a tail. `OffsetConflict` when it is not there any more."""
        found = [await self._store.get(f"{_folder(key, upload)}{start}-{length}") for start, length in tail]
        there = [data for data in found if data is not None]
        if len(there) < len(found):
            raise OffsetConflict("Another request has moved the upload on: ask for its offset again.")
        return there

    async def keep(self, key: str, upload: str, start: int, data: bytes) -> None:
        """Put bytes behind what is held."""

        async def chunks() -> AsyncIterator[bytes]:
            for at in range(0, len(data), PART):
                yield data[at : at + PART]

        name = f"{_folder(key, upload)}{start}-{len(data)}"
        await self._store.put(name, chunks(), content_type="application/octet-stream", metadata={})

    async def forget(self, key: str, upload: str, tail: Tail) -> None:
        """Delete a tail that has become part of a part."""
        await self.delete([f"{_folder(key, upload)}{start}-{length}" for start, length in tail])

    async def delete(self, names: Sequence[str]) -> None:
        for name in names:
            await self._store.delete(name)


def behind(names: Sequence[str], length: int) -> tuple[Tail, int]:
    """The tail behind the first `length` bytes of an upload, and where it ends."""
    longest: dict[int, int] = {}
    for name in names:
        start, _, size = name.rpartition("/")[2].partition("-")
        longest[int(start)] = max(int(size), longest.get(int(start), 0))
    tail = []
    while size_here := longest.get(length):
        tail.append((length, size_here))
        length += size_here
    return tail, length


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Await it, also when cancelled meanwhile: nobody else may write before it is over."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # the cancelling is told, and not this
        raise


def _folder(key: str, upload: str | None) -> str:
    of_key = f"{TAILS}/{_digest(key)}/"
    return of_key if upload is None else f"{of_key}{_digest(upload)}/"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
