"""The bus in one SQLite file: an event is published when it is on the disk."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from inlake.bus.sqlite.table import SCHEMA, append, open_log, refusal
from inlake.bus.sqlite.writer import Writer
from inlake.errors import BusUnavailable, Busy, InlakeError, RecordTooLarge, ShuttingDown
from inlake.model import Event, Message, Moment, Position

PENDING_EVENTS = 65_536
PENDING_BYTES = 128 << 20
"""How much may wait for the disk; more is `Busy`."""
LARGEST = 64 << 20
"""Bytes of the largest value; SQLite's own limit is near 1 GB."""
IN_ONE_GO = 10_000
"""Events looked at before others have their turn in the event loop."""
CHUNK_EVENTS = 500
CHUNK_BYTES = 4 << 20
"""How much a reader takes at once."""
LAST = (1 << 63) - 1
"""The largest number of SQLite."""
POLL = 0.2
"""Seconds between looks for new events while following."""
CHECK = 3.0
"""Seconds `check` waits for a lock."""
SCARCE = 1 << 30
"""Bytes free on the disk below which `check` warns."""


class SqliteBus:
    """Adapter of `Bus` for one SQLite file. One event loop; any number of processes may use the same file.

    Publishing an event id again publishes nothing and gives the position of the first.
    """

    def __init__(self, path: Path, *, timeout: float = 10.0) -> None:
        """`path`: the file, made with its folder at first use; `timeout`: seconds to wait while others write."""
        self._path = path
        self._writer = Writer(path, timeout=timeout, schema=SCHEMA, append=append)
        self._closed = False

    async def publish(self, events: Sequence[Event]) -> list[Position | InlakeError]:
        """See `Bus.publish`. Also `Busy` and `OutOfSpace`. One call is one transaction, but for what is too large."""
        sizes = await _sizes(events)
        if max(sizes, default=0) <= LARGEST:
            return await self._write(events, sum(sizes))
        taken = [event for event in events if len(event.value) <= LARGEST]
        results = iter(await self._write(taken, sum([size for size in sizes if size <= LARGEST])))
        return [next(results) if len(event.value) <= LARGEST else _too_large(event) for event in events]

    async def publish_all_or_none(self, events: Sequence[Event]) -> list[Position]:
        """See `Bus.publish_all_or_none`. Also `Busy` and `OutOfSpace`."""
        sizes = await _sizes(events)
        for index, size in enumerate(sizes):
            if size > LARGEST:
                raise _too_large(events[index], event=index)
        positions = []
        for result in await self._write(events, sum(sizes)):  # all have a position, or all the same error
            if isinstance(result, InlakeError):
                raise result
            positions.append(result)
        return positions

    async def read(
        self,
        topics: Sequence[str] | None = None,
        *,
        start: Literal["earliest", "latest"] = "earliest",
        follow: bool = False,
        after: Iterable[Position] = (),
    ) -> AsyncIterator[Message]:
        """See `Bus.read`. In the order of publishing, over all topics."""
        reader, known = Reader(self._path), {at.topic: at.offset for at in after}
        try:
            end = await asyncio.to_thread(reader.end)
            begin = end if start == "latest" else 0
            last = min(known.get(topic, begin) for topic in topics) if topics else min([begin, *known.values()])
            while True:
                messages = await asyncio.to_thread(reader.take, last, None if follow else end)
                for message in messages:
                    at = message.position
                    last = at.offset
                    if (topics is None or at.topic in topics) and last > known.get(at.topic, begin):
                        yield message
                if not messages and not follow:
                    return
                if not messages:
                    await asyncio.sleep(POLL)
        finally:
            await asyncio.to_thread(reader.close)

    async def recent(
        self, limit: int, topics: Sequence[str] | None = None, *, before: Moment | None = None
    ) -> list[Message]:
        """See `Bus.recent`. In the order of publishing, over all topics."""
        reader = Reader(self._path)
        try:
            return await asyncio.to_thread(reader.newest, limit, topics, before or Moment.end_of(LAST))
        finally:
            await asyncio.to_thread(reader.close)

    async def find(self, at: Position) -> Message | None:
        """See `Bus.find`."""
        if at.offset > LAST:  # SQLite has no such numbers
            return None
        reader = Reader(self._path)
        try:
            found = await asyncio.to_thread(reader.take, at.offset - 1, at.offset)
        finally:
            await asyncio.to_thread(reader.close)
        return next((message for message in found if message.position == at), None)

    async def check(self) -> list[str]:
        """See `Bus.check`: the file can be written; warns when its disk is nearly full."""
        return await asyncio.to_thread(_check, self._path)

    async def close(self) -> None:
        """Commit what is queued, then let go of the file; publishing afterwards is `ShuttingDown`."""
        self._closed = True
        await asyncio.to_thread(self._writer.close)

    async def _write(self, events: Sequence[Event], size: int) -> list[Position | InlakeError]:
        if self._closed:
            return [ShuttingDown("The gateway is stopping: send the record again.") for _ in events]
        if self._full(len(events), size):
            return [Busy("More events wait for the disk than the gateway may hold: try again.") for _ in events]
        return await self._writer.submit(events, size)

    def _full(self, events: int, size: int) -> bool:
        """A call of any size is taken while nothing waits."""
        waiting = self._writer.pending_events
        return waiting > 0 and (waiting + events > PENDING_EVENTS or self._writer.pending_bytes + size > PENDING_BYTES)


class Reader:
    """A connection that only reads. Its methods block.

    A cancelled reader leaves its thread inside `take`: the lock makes `close` wait for it.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._path = path
        self._log: sqlite3.Connection | None = None

    def end(self) -> int:
        """Offset of the last event; 0 when there is none."""
        [(last,)] = self._ask('SELECT coalesce(max("offset"), 0) FROM events') or [(0,)]
        return int(last)

    def take(self, after: int, end: int | None) -> list[Message]:
        """The next events after one offset and up to another; none when there are no more now."""
        query = 'SELECT * FROM events WHERE "offset" > ? AND "offset" <= ? ORDER BY "offset" LIMIT ?'
        rows = self._ask(query, after, LAST if end is None else end, CHUNK_EVENTS)
        return [to_message(row) for row in rows]

    def newest(self, limit: int, topics: Sequence[str] | None, before: Moment) -> list[Message]:
        """The last events before a moment, the newest first. Times may go back, offsets do not: they are the order."""
        of_topics = "" if topics is None else f"AND topic IN ({', '.join('?' * len(topics))})"
        until = min(before.timestamp_ms, LAST) if before.offset >= LAST else LAST
        where = f'"offset" < ? AND timestamp_ms <= ? {of_topics}'
        query = f'SELECT * FROM events WHERE {where} ORDER BY "offset" DESC LIMIT ?'  # noqa: S608
        rows = self._ask(query, min(before.offset, LAST), until, *(topics or ()), limit)
        return [to_message(row) for row in rows]

    def close(self) -> None:
        with self._lock:
            if self._log is not None:
                self._log.close()

    def _ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows up to CHUNK_BYTES of values, at least one; a log that is not there yet is empty."""
        try:
            with self._lock:
                return self._rows(query, values)
        except sqlite3.Error as e:
            if "no such table" in str(e):  # another process is just making it
                return []
            raise refusal(e, self._path) from None

    def _rows(self, query: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        if self._log is None and self._path.exists():
            address = f"{self._path.absolute().as_uri()}?mode=ro"
            self._log = sqlite3.connect(address, uri=True, check_same_thread=False)
        rows, size = [], 0
        for row in self._log.execute(query, values) if self._log else ():
            rows.append(row)
            size += len(row[4]) if len(row) > 4 else 0
            if size > CHUNK_BYTES:
                break
        return rows


async def _sizes(events: Sequence[Event]) -> list[int]:
    """Bytes of the values."""
    sizes: list[int] = []
    for start in range(0, len(events), IN_ONE_GO):
        if start:
            await asyncio.sleep(0)
        sizes += [len(event.value) for event in events[start : start + IN_ONE_GO]]
    return sizes


def to_message(row: tuple[int, str, str, bytes, bytes, str, int]) -> Message:
    """A row of the table of events as a message."""
    offset, _, topic, key, value, headers, timestamp_ms = row
    pairs = [(name, text.encode()) for name, text in msgspec.json.decode(headers)]
    return Message(Position(topic, 0, offset), key, value, pairs, timestamp_ms)


def _too_large(event: Event, /, **members: int) -> RecordTooLarge:
    return RecordTooLarge(
        f"The record has {len(event.value)} bytes as an event; the event log takes {LARGEST}", **members
    )


def _check(path: Path) -> list[str]:
    try:
        open_log(path, CHECK).close()
    except (sqlite3.Error, OSError) as e:
        raise refusal(e, path) from None
    if not os.access(path, os.W_OK):
        raise BusUnavailable(f"The event log {path} is read-only: give the gateway the right to write it.")
    free = shutil.disk_usage(path.parent).free
    if free < SCARCE:
        return [f"The disk of the event log {path} has {free >> 20} MiB left: free some space"]
    return []
