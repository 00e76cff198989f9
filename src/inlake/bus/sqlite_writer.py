"""The one thread that writes the SQLite event log: all that waits while a transaction runs shares the next one."""

from __future__ import annotations

import asyncio
import errno
import logging
import sqlite3
import threading
import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from inlake.errors import BusUnavailable, IdempotencyKeyReused, InlakeError, OutcomeUnknown, OutOfSpace
from inlake.model import Position

logger = logging.getLogger("inlake.bus")

GROUP = 4096
"""Events after which a transaction takes no further publish call."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
  "offset" INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  topic TEXT NOT NULL,
  key BLOB NOT NULL,
  value BLOB NOT NULL,
  headers TEXT NOT NULL, -- JSON: [[name, value], ...]
  timestamp_ms INTEGER NOT NULL
)"""
ROWS = 50
"""Rows of one statement: with one each, Python's lock is let go and taken again for every row."""
_INSERT = "INSERT INTO events VALUES {} ON CONFLICT (id) DO NOTHING"
INSERT_ONE = _INSERT.format("(?, ?, ?, ?, ?, ?, ?)")
INSERT_ROWS = _INSERT.format(", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * ROWS))

NO_ROOM = {"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_SHMOPEN", "SQLITE_IOERR_TRUNCATE"}
"""How SQLite calls a full disk, an exceeded quota or file size limit; nothing was committed."""


class Row(NamedTuple):
    """An event as the table has it, but for offset and time."""

    id: str
    topic: str
    key: bytes
    value: bytes
    headers: str


class Write:
    """The rows of one publish call, and what became of them once `done`."""

    __slots__ = ("done", "outcome", "rows", "size")

    def __init__(self, rows: Sequence[Row], size: int, done: asyncio.Future[None]) -> None:
        self.rows = rows
        self.size = size
        self.done = done
        self.outcome: list[Position | InlakeError] = []


class Writer:
    """The queue of writes and its thread, which starts with the first write, and again should it be gone."""

    def __init__(self, path: Path, *, patience: float) -> None:
        """`patience`: seconds to wait while another process writes."""
        self.pending_events = self.pending_bytes = 0
        self._path = path
        self._patience = patience
        self._queue: SimpleQueue[Write | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._log: sqlite3.Connection | None = None
        self._stopping = False

    def submit(self, rows: Sequence[Row], size: int) -> Write:
        """Queue rows of `size` bytes; `Write.done` follows in any case."""
        loop = self._loop = asyncio.get_running_loop()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="event-log", daemon=True)
            self._thread.start()
        write = Write(rows, size, loop.create_future())
        self.pending_events += len(rows)
        self.pending_bytes += size
        self._queue.put(write)
        return write

    def close(self) -> None:
        """Block until all that is queued is committed and the file is let go."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            writes = self._take()
            try:
                self._commit(writes)
            except Exception:  # the thread must live: every publisher waits for it
                logger.exception("The event log could not be written")
                self._fail(writes, OutcomeUnknown("The event log failed while the event was written: try again."))
            self._hand_over(writes)
        self._drop()

    def _take(self) -> list[Write]:
        """Wait for a write, then take what came with it."""
        first = self._queue.get()
        if first is None:
            self._stopping = True
            return []
        taken, count = [first], len(first.rows)
        while count < GROUP and (write := self._next()) is not None:
            taken.append(write)
            count += len(write.rows)
        return taken

    def _next(self) -> Write | None:
        try:
            write = self._queue.get_nowait()
        except Empty:
            return None
        self._stopping = write is None
        return write

    def _commit(self, writes: list[Write]) -> None:
        rows, committing = [row for write in writes for row in write.rows], False
        if not rows:
            return
        try:
            log = self._log = self._log or open_log(self._path, self._patience)
            log.execute("BEGIN IMMEDIATE")
            positions = iter(append(log, rows))
            committing = True
            log.execute("COMMIT")  # the one fsync of all these writes
        except (sqlite3.Error, OSError) as e:
            error = refusal(e, self._path, committing=committing)
            if locked(e):  # who queued meanwhile has waited for the same lock
                while (write := self._next()) is not None:
                    writes.append(write)
            self._fail(writes, error)
            return
        for write in writes:
            write.outcome = [next(positions) for _ in write.rows]

    def _fail(self, writes: list[Write], error: InlakeError) -> None:
        """Give every row the error, and start afresh."""
        for write in writes:
            write.outcome = [error for _ in write.rows]
        self._drop()

    def _hand_over(self, writes: list[Write]) -> None:
        """Wake the event loop once for the whole transaction."""
        try:
            if writes and self._loop is not None:
                self._loop.call_soon_threadsafe(self._finish, writes)
        except RuntimeError:
            logger.warning("The event loop was closed before the event log confirmed")

    def _finish(self, writes: list[Write]) -> None:
        for write in writes:
            self.pending_events -= len(write.rows)
            self.pending_bytes -= write.size
            if not write.done.done():  # the publisher may have been cancelled
                write.done.set_result(None)

    def _drop(self) -> None:
        """Close the connection, which rolls back what is open; the next transaction opens another."""
        log, self._log = self._log, None
        if log is not None:
            try:
                log.close()
            except sqlite3.Error:
                logger.exception("The event log did not close cleanly; SQLite repairs it at the next start")


def open_log(path: Path, patience: float) -> sqlite3.Connection:
    """A connection for writing; makes folder, file and table. Blocks up to `patience` seconds for a lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + patience
    while True:
        try:
            return _open(path, patience)
        except sqlite3.OperationalError as error:
            # two processes that make the log at once: turning to WAL fails at once, whatever the time-out for locks
            if not locked(error) or time.monotonic() > end:
                raise
            time.sleep(0.02)


def _open(path: Path, patience: float) -> sqlite3.Connection:
    log = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    try:
        log.execute("PRAGMA journal_mode = WAL")
        log.execute("PRAGMA synchronous = FULL")  # WAL with NORMAL would lose the last transactions in a power cut
        log.execute("PRAGMA wal_autocheckpoint = 4000")
        log.execute(SCHEMA)
    except BaseException:
        log.close()
        raise
    return log


def append(log: sqlite3.Connection, rows: Sequence[Row]) -> list[Position | InlakeError]:
    """Insert rows within a transaction, so that no other process can take an offset; a known id keeps its first.

    An id that stands there with another event is `IdempotencyKeyReused`.
    """
    [(last,)] = log.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'events'")
    now = time.time_ns() // 1_000_000
    numbered = [(offset, *row, now) for offset, row in enumerate(rows, last + 1)]
    if _insert(log, numbered) == len(rows):
        return [Position(row.topic, 0, offset) for offset, row in enumerate(rows, last + 1)]
    return [_position(log, row) for row in rows]


def _insert(log: sqlite3.Connection, rows: Sequence[tuple[Any, ...]]) -> int:
    """How many rows were new."""
    inserted, rest = 0, len(rows) - len(rows) % ROWS
    for start in range(0, rest, ROWS):
        inserted += log.execute(INSERT_ROWS, [*chain.from_iterable(rows[start : start + ROWS])]).rowcount
    for row in rows[rest:]:
        inserted += log.execute(INSERT_ONE, row).rowcount
    return inserted


def _position(log: sqlite3.Connection, row: Row) -> Position | InlakeError:
    [(topic, offset, *event)] = log.execute('SELECT topic, "offset", key, value FROM events WHERE id = ?', (row.id,))
    if event != [row.key, row.value]:
        return IdempotencyKeyReused(
            "This Idempotency-Key was used for another record long ago: a new request takes a new key."
        )
    return Position(topic, 0, offset)


def locked(error: Exception) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def refusal(error: Exception, path: Path, *, committing: bool = False) -> InlakeError:
    """Our error for SQLite's or the system's. `committing`: it came from COMMIT, which may have reached the disk."""
    name = getattr(error, "sqlite_errorname", "")
    if name in NO_ROOM or getattr(error, "errno", None) == errno.ENOSPC:
        return OutOfSpace(f"There is no room for the event log {path} ({error}): free some disk space.")
    if locked(error):
        return BusUnavailable(f"The event log {path} was locked by another program for too long: try again.")
    if committing:
        return OutcomeUnknown(f"The event log {path} could not be written ({error}): check the disk.")
    return BusUnavailable(f"The event log {path} cannot be used ({error}): check the path, its rights and the disk.")
