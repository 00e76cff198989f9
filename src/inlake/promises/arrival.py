"""A binary as it arrives: counted, hashed, checked against its digest, cut into parts for the store; or held back."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from inlake.errors import DigestMismatch, IdempotencyKeyReused, PromiseExpired
from inlake.model import PART, Binary

AT_ONCE = 256 << 10
"""Bytes of a binary that may be held in memory as a whole."""


class Arrival:
    """One binary that is read once."""

    def __init__(self, file: Binary) -> None:
        self._file = file
        self.size = 0
        """Bytes so far."""
        self._sha256 = hashlib.sha256()
        self.expires = 0.0
        """The time until which the binary may be stored, as the log of its promise has it; seconds since 1970."""

    @property
    def sha256(self) -> str:
        """The SHA-256 of the bytes so far, hexadecimal."""
        return self._sha256.hexdigest()

    async def parts(self) -> AsyncIterator[bytes | bytearray]:
        """Buffers of `PART` bytes, each a fresh one: the store may keep it without a copy.

        The store commits nothing before the end, which raises `DigestMismatch` and `PromiseExpired`.
        """
        part = bytearray()
        async for chunk in self._file.chunks:
            self._sha256.update(chunk)
            self.size += len(chunk)
            view = memoryview(chunk)
            while len(view) > 0:
                taken = PART - len(part)
                part += view[:taken]
                view = view[taken:]
                if len(part) == PART:
                    yield part
                    part = bytearray()
        if time.time() > self.expires:  # this process slept: its place may be another's by now, and is not written to
            raise PromiseExpired("The upload stood still for too long and was given up: send it again.")
        check_digest(self._file.sha256, self.sha256)
        if part:
            yield part


class Body:
    """The bytes of one request, held back as long as all of them may come soon."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self.data = bytearray()
        self.is_whole = False
        self._chunks = chunks
        self._coming: asyncio.Future[bytes | None] | None = None

    async def read(self, seconds: float) -> None:
        """Take what comes in that time. Raises what ends it if nothing has come; else `again` raises that."""
        end = time.monotonic() + seconds
        while True:
            self._coming = asyncio.ensure_future(anext(self._chunks, None))
            await asyncio.wait({self._coming}, timeout=end - time.monotonic())
            if not self._coming.done() or (self.data and self._coming.exception()):
                return
            if (chunk := self._coming.result()) is None:
                self.is_whole = True
                return
            self.data += chunk

    async def again(self) -> AsyncIterator[bytes]:
        """The bytes from the first on, and what comes behind them."""
        if self.data:
            yield bytes(self.data)
        if self.is_whole or self._coming is None:
            return
        if (chunk := await self._coming) is not None:
            yield chunk
            async for chunk in self._chunks:
                yield chunk

    def close(self) -> None:
        """Wait for nothing more."""
        if self._coming is not None:
            self._coming.cancel()


def check_digest(announced: str | None, sha256: str) -> None:
    """Compare two SHA-256 in hexadecimal, if one was announced. Raises `DigestMismatch`."""
    if announced is not None and announced != sha256:
        raise DigestMismatch(
            f"The bytes that came have the SHA-256 {sha256}, and {announced} was announced: nothing was stored, "
            "send them again."
        )


async def check_same(file: Binary, sha256: str) -> None:
    """Read a file that is stored already. Raises `IdempotencyKeyReused` when what is stored is another."""
    received = hashlib.sha256()
    async for chunk in file.chunks:
        received.update(chunk)
    if received.hexdigest() != sha256:
        raise IdempotencyKeyReused(
            "This Idempotency-Key was used for a request with another file: a new request takes a new key."
        )


class in_background:  # noqa: N801 - a context manager reads as a verb
    """Run a coroutine while a block runs; it ends with the block."""

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = asyncio.ensure_future(work)

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
