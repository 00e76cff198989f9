"""The body of a streamed put: obstore asks for its parts, and each comes from the caller when it is asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from inlake.errors import BinaryTooLarge
from inlake.model import PART

Chunk = bytes | bytearray


class Body:
    """A body that obstore takes parts from. It runs in obstore's own task: nothing of the caller is awaited here."""

    def __init__(self) -> None:
        self._given: asyncio.Queue[Chunk | Exception | None] = asyncio.Queue()
        self._asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done while obstore waits for a part."""
        self.size = 0
        """Bytes given so far."""

    async def feed(self, chunks: AsyncIterator[Chunk], upload: asyncio.Future[Any], max_parts: int) -> None:
        """Give `chunks` to the upload, each when it asks for it, until the end or until the upload fails.

        Raises `BinaryTooLarge`.
        """
        for _ in range(max_parts):
            await asyncio.wait({self._asked, upload}, return_when=asyncio.FIRST_COMPLETED)
            if upload.done():
                return
            chunk = await anext(chunks, None)
            self.give(chunk)
            if chunk is None:
                return
            self.size += len(chunk)
        if await anext(chunks, None) is not None:
            limit = max_parts * PART
            raise BinaryTooLarge(f"A binary whose length is not known may have {limit} bytes at most.", limit=limit)
        self.give(None)

    def give(self, part: Chunk | Exception | None) -> None:
        """A part, None at the end, or an exception to raise in obstore."""
        self._asked = asyncio.get_running_loop().create_future()
        self._given.put_nowait(part)

    def __aiter__(self) -> Body:
        return self

    async def __anext__(self) -> Chunk:
        if not self._asked.done():
            self._asked.set_result(None)
        match await self._given.get():
            case None:
                raise StopAsyncIteration
            case Exception() as error:
                raise error
            case part:
                return part


class Abandoned(Exception):
    """Makes obstore abort; what really happened is raised to the caller."""


async def chained(first: Chunk, second: Chunk, rest: AsyncIterator[Chunk]) -> AsyncIterator[Chunk]:
    """All chunks, one after the other."""
    yield first
    yield second
    async for chunk in rest:
        yield chunk
