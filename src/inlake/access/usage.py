"""The usage of the current minute, by who sends: a table in memory that all workers of a gateway share."""

from __future__ import annotations

import fcntl
import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

ROWS, WAYS = 65_536, 8
"""A principal's row is one of eight that its hash names."""
_ROW = struct.Struct("<16s4d")
BYTES = (ROWS + 1) * _ROW.size
"""The size of the table: 3 MiB, of which a page takes memory once it is used."""


class Row(NamedTuple):
    """A minute of one principal, or of all together."""

    place: int
    key: bytes
    since: float
    """When the minute began, by the clock that all processes of the machine share (`time.monotonic`)."""
    used: tuple[float, float, float]
    """Requests, records and bytes."""


class Usage:
    """The table. A row whose minute is over, and which owes nothing, is free for another principal."""

    def __init__(self, file: int | None = None) -> None:
        """`file`: descriptor of a file of `BYTES` bytes that other processes have, too; None: of this process alone."""
        self._file = file
        self._memory = mmap.mmap(-1 if file is None else file, BYTES)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else reads or writes meanwhile. The kernel frees the lock of a process that dies."""
        if self._file is None:
            yield
            return
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)

    def of_all(self) -> Row:
        """The row of all principals together."""
        return self._read(ROWS)

    def of(self, principal: str) -> Row:
        """The row of a principal; it takes the place of whom nothing was heard from for longest."""
        key = _key(principal)
        first = int.from_bytes(key[:4]) % (ROWS // WAYS) * WAYS
        rows = [self._read(place) for place in range(first, first + WAYS)]
        for row in rows:
            if row.key == key:
                return row
        return Row(min(rows, key=lambda row: row.since).place, key, 0.0, (0.0, 0.0, 0.0))

    def write(self, row: Row) -> None:
        """Keep a row in its place."""
        _ROW.pack_into(self._memory, row.place * _ROW.size, row.key, row.since, *row.used)

    def _read(self, place: int) -> Row:
        key, since, requests, records, octets = _ROW.unpack_from(self._memory, place * _ROW.size)
        return Row(place, key, since, (requests, records, octets))


@lru_cache(10_000)
def _key(principal: str) -> bytes:
    return sha256(principal.encode()).digest()[:16]
