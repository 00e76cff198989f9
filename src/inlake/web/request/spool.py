"""Receipts on their way to a client that may not read yet: memory first, then an unlinked temporary file."""

from __future__ import annotations

import asyncio
import tempfile
from collections import deque
from typing import IO

IN_MEMORY = 1 << 20
CHUNK = 256 << 10
REJECTS_RESERVE = 16 << 20
"""Memory for the rejects of one request whose spool is full."""


class Room:
    """Bytes on disk that all spools of a process may take together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0


class Spool:
    """A first-in first-out buffer of bytes with one writer and one reader, neither of which waits for the other.

    The order is: `_first` in memory, then the file from `_read` to `_written`, then `_last` in memory. `_last` is for
    what must get through although the disk is full. The file is a ring: what was read gives its place to what comes, so
    that a reader who is always a little late can go on without end.
    """

    def __init__(self, room: Room) -> None:
        self._room = room
        self._limit = room.limit
        self._first: deque[bytes] = deque()
        self._first_size = 0
        self._last = bytearray()
        self._file: IO[bytes] | None = None
        self._read = self._written = 0
        self._news = asyncio.Event()
        self._ended = False

    def put(self, data: bytes, *, reserve: int = 0) -> bool:
        """Add bytes. False when spool or disk are full, and a `reserve` of memory, in bytes, is used up too."""
        self._news.set()
        if not data:
            return True
        if self._read == self._written and not self._last and self._first_size + len(data) <= IN_MEMORY:
            self._first.append(data)
            self._first_size += len(data)
        elif self._last or not self._to_disk(data):
            if len(self._last) + len(data) > reserve:
                return False
            self._last += data
        return True

    def end(self) -> None:
        """Nothing more will be put."""
        self._ended = True
        self._news.set()

    async def take(self) -> bytes:
        """The next bytes, as many as are handy; empty when the writer has ended and all is taken."""
        while not (data := self._next()):
            if self._ended:
                return b""
            self._news.clear()
            await self._news.wait()
        return data

    def close(self) -> None:
        self._room.used -= self._written - self._read
        self._read = self._written
        if self._file:
            self._file.close()

    def _next(self) -> bytes:
        if self._first:
            data = self._first.popleft()
            self._first_size -= len(data)
        elif self._file and self._read < self._written:
            at = self._read % self._limit
            self._file.seek(at)
            data = self._file.read(min(CHUNK, self._written - self._read, self._limit - at))
            self._read += len(data)
            self._room.used -= len(data)
            if self._read == self._written:  # caught up: the file begins anew
                self._read = self._written = 0
                self._file.truncate(0)
        else:
            data, self._last = bytes(self._last), bytearray()
        return data

    def _to_disk(self, data: bytes) -> bool:
        if self._room.used + len(data) > self._limit:
            return False
        try:
            # unbuffered: a buffer keeps what found no room, and fails once more when the file is read
            self._file = self._file or tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by close()
            at = self._written % self._limit
            _write(self._file, at, data[: self._limit - at])
            _write(self._file, 0, data[self._limit - at :])
        except OSError:
            return False
        self._written += len(data)
        self._room.used += len(data)
        return True


def _write(file: IO[bytes], at: int, data: bytes) -> None:
    """All of the data, which an unbuffered file takes in pieces. Raises `OSError`."""
    file.seek(at)
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
