"""The table of the SQLite event log: opening it, adding rows, and what SQLite's errors mean."""

from __future__ import annotations

import errno
import sqlite3
import time
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec

from inlake.errors import BusUnavailable, IdempotencyKeyReused, InlakeError, OutcomeUnknown, OutOfSpace
from inlake.model import Context, Event, Position

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
MOST_ROWS = 256
"""Rows of one statement: with one each, Python's lock is let go and taken again for every row."""
INSERT = "INSERT OR ROLLBACK INTO events (id, topic, key, value, headers, timestamp_ms) VALUES"
"""OR ROLLBACK: for the usual OR ABORT SQLite would copy pages, to be able to undo a statement of many rows."""
PAGE_BYTES = 8_192
"""Page size of a new file. Each page is written two times, and larger ones are fewer: with 4,096 bytes a window costs a
quarter more CPU; with 16,384 a tenth less, but a single event writes twice the bytes."""
WAL_BYTES = 16 << 20
"""Length of the write-ahead log at which it is copied into the file."""

NO_ROOM = {"SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHMSIZE", "SQLITE_IOERR_SHMOPEN", "SQLITE_IOERR_TRUNCATE"}
"""How SQLite calls a full disk, an exceeded quota or file size limit; nothing was committed."""


def open_log(path: Path, timeout: float, schema: str = SCHEMA) -> sqlite3.Connection:
    """A connection for writing; makes folder, file and tables. Blocks up to `timeout` seconds for a lock."""
    path.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + timeout
    while True:
        try:
            return _open(path, timeout, schema)
        except sqlite3.OperationalError as error:
            # two processes that make the log at once: turning to WAL fails at once, whatever the time-out for locks
            if not locked(error) or time.monotonic() > end:
                raise
            time.sleep(0.02)


def _open(path: Path, timeout: float, schema: str) -> sqlite3.Connection:
    log = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
    try:
        log.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # means nothing to a file that is there
        log.execute("PRAGMA journal_mode = WAL")
        log.execute("PRAGMA synchronous = FULL")  # WAL with NORMAL would lose the last transactions in a power cut
        [(page_bytes,)] = log.execute("PRAGMA page_size")
        log.execute(f"PRAGMA wal_autocheckpoint = {WAL_BYTES // page_bytes}")
        for statement in schema.split(";\n"):
            log.execute(statement)
    except BaseException:
        log.close()
        raise
    return log


def append(log: sqlite3.Connection, events: Sequence[Event]) -> list[Position | InlakeError]:
    """Insert events within a new transaction, so that no other process can take an offset; a known id keeps its first.

    An id that stands there with another event is `IdempotencyKeyReused`.
    """
    now = time.time_ns() // 1_000_000
    log.execute("BEGIN IMMEDIATE")
    try:
        return [position for run in _runs(events) for position in _insert(log, run, now)]
    except sqlite3.IntegrityError:  # an id is known: nothing is left of the transaction
        log.execute("BEGIN IMMEDIATE")
        return [_position(log, event) or _insert_one(log, event, now) for event in events]


def _runs(events: Sequence[Event]) -> Iterator[list[Event]]:
    """Neighbours that differ in id and value only; a power of two of them, so that there are few statements."""
    for start in range(0, len(events), MOST_ROWS):
        for _, group in groupby(events[start : start + MOST_ROWS], attrgetter("topic", "key", "context")):
            run = list(group)
            while run:
                rows = 1 << (len(run).bit_length() - 1)
                yield run[:rows]
                run = run[rows:]


def _insert(log: sqlite3.Connection, run: list[Event], now: int) -> list[Position]:
    """Insert events that differ in id and value only."""
    ids = [event.id for event in run]
    if not _plain(ids):
        return [_insert_one(log, event, now) for event in run]
    first, rows = run[0], len(run)
    values: list[Any] = [None] * (4 + 2 * rows)
    values[:4] = first.topic, first.key, _rest(first.context), now
    values[4::2] = ids
    values[5::2] = [event.value for event in run]
    last = log.execute(_statement(rows), values).lastrowid or 0
    return [Position(first.topic, 0, offset) for offset in range(last - rows + 1, last + 1)]


def _plain(ids: list[str]) -> bool:
    """Whether JSON has them as they are: ASCII, nothing to escape."""
    text = "".join(ids)
    return len(msgspec.json.encode(text)) == len(text) + 2


@cache
def _statement(rows: int) -> str:
    """The statement that inserts so many events; what they share is bound once.

    SQLite puts the headers together: Python would hold its lock for that.
    """
    row = """(?{0}, ?1, ?2, ?{1}, '[["ce_id","' || ?{0} || '"]' || ?3, ?4)"""
    return f"{INSERT} {', '.join([row.format(at, at + 1) for at in range(5, 5 + 2 * rows, 2)])}"


@lru_cache(1000)
def _rest(context: Context) -> str:
    """The headers that many events share, and the end of the list."""
    pairs = [msgspec.json.encode((name, value.decode())).decode() for name, value in context]
    return "".join([f",{pair}" for pair in pairs]) + "]"


def _insert_one(log: sqlite3.Connection, event: Event, now: int) -> Position:
    headers = f'[["ce_id",{msgspec.json.encode(event.id).decode()}]{_rest(event.context)}'
    row = (event.id, event.topic, event.key, event.value, headers, now)
    return Position(event.topic, 0, log.execute(f"{INSERT} (?, ?, ?, ?, ?, ?)", row).lastrowid or 0)


def _position(log: sqlite3.Connection, event: Event) -> Position | InlakeError | None:
    """The position of an event that is there already."""
    row = log.execute('SELECT topic, "offset", key, value FROM events WHERE id = ?', (event.id,)).fetchone()
    if row is None:
        return None
    topic, offset, *stored = row
    if stored != [event.key, event.value]:
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
