"""The file of the outbox: adding events, taking the oldest of each topic, removing what is on the bus.

All processes of a gateway add to one file; one at a time takes events out of it (`Drainer`).
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from inlake.bus.sqlite.table import WAL_BYTES, open_log
from inlake.errors import BusUnavailable, InlakeError
from inlake.model import Event, InOutbox

SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  topic TEXT NOT NULL,
  kept_ms INTEGER NOT NULL,
  event BLOB NOT NULL -- MessagePack of an Event
);
CREATE INDEX IF NOT EXISTS events_topic ON events (topic);
CREATE TABLE IF NOT EXISTS waiting ( -- what `events` holds, by topic: without a row nothing
  topic TEXT PRIMARY KEY,
  events INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  closing INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refused ( -- what the bus will not take however often it is asked
  number INTEGER PRIMARY KEY,
  topic TEXT NOT NULL,
  kept_ms INTEGER NOT NULL,
  event BLOB NOT NULL,
  code TEXT NOT NULL,
  detail TEXT NOT NULL
)"""
RESERVE = 2 * WAL_BYTES
"""Bytes that stay free on the disk: events can be taken out of SQLite's file only while it can be written."""
LOCK_SECONDS = 10.0
"""How long a process waits while another one writes."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Event).decode


class Backlog(NamedTuple):
    """The events of a topic that wait."""

    topic: str
    events: int
    bytes: int
    closing: int
    """1: what is left is on its way to the bus, and new events are held back for a moment."""


class State(NamedTuple):
    """The content of the file, in numbers."""

    waiting: Sequence[Backlog] = ()
    """The topics of which events wait."""
    oldest_ms: int | None = None
    """The time when the oldest of them came in, in milliseconds since 1970; None where none waits."""
    refused: int = 0
    """Number of events that the bus will not take."""

    @property
    def events(self) -> int:
        """Number of events that wait."""
        return sum([one.events for one in self.waiting])

    @property
    def bytes(self) -> int:
        """Their size."""
        return sum([one.bytes for one in self.waiting])


class Row(NamedTuple):
    """An event that waits."""

    number: int
    event: Event
    size: int
    """Bytes in the file."""


class Refused(NamedTuple):
    """An event that the bus will not take, and its reason."""

    row: Row
    error: InlakeError


class PutAside(NamedTuple):
    """An event in the file that the bus does not take, and why."""

    number: int
    event: Event
    kept_ms: int
    """The time when it came in, in milliseconds since 1970."""
    code: str
    detail: str


class Appender:
    """Adds events for the writer's thread; those that find no room are refused."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._folder = path.parent
        self._most_bytes = most_bytes

    def __call__(self, log: sqlite3.Connection, events: Sequence[Event]) -> list[InOutbox | InlakeError]:
        """See `Append`. Once there is no room for one event there is none for those behind it."""
        if shutil.disk_usage(self._folder).free < RESERVE:
            raise OSError(errno.ENOSPC, f"less than {RESERVE >> 20} MiB are free")
        now = time.time_ns() // 1_000_000
        log.execute("BEGIN IMMEDIATE")
        [(used,)] = log.execute("SELECT coalesce(sum(bytes), 0) FROM waiting")
        room = self._most_bytes - used
        rows: list[tuple[str, int, bytes]] = []
        for event in events:
            data = _encode(event)
            room -= len(data)
            if room < 0:
                break
            rows.append((event.topic, now, data))
        log.executemany("INSERT INTO events (topic, kept_ms, event) VALUES (?, ?, ?)", rows)
        _count(log, ((topic, 1, len(data)) for topic, _, data in rows))
        results: list[InOutbox | InlakeError] = [InOutbox(topic) for topic, _, _ in rows]
        return results + [_full(self._most_bytes) for _ in events[len(rows) :]]


class Table:
    """The file as the one reads it who takes events out. Its methods block; any thread may call them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._log: sqlite3.Connection | None = None

    def check(self) -> None:
        """Raises ValueError, with a sentence, for a file that is damaged or that no process of ours can use."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock:
                found = [str(row[0]) for row in self._open().execute("PRAGMA quick_check(1)")]
        except OSError as error:
            raise ValueError(f"{self._path} cannot be used ({error})") from None
        except sqlite3.Error as error:
            if _will_pass(error):
                return
            found = [str(error)]
        if found != ["ok"]:
            raise ValueError(
                f"{self._path} is damaged ({found[0]}). It may hold events that are nowhere else: move it away, with "
                "the files beside it that begin with its name, and see what `sqlite3 FILE .recover` finds in it"
            )

    def state(self) -> State:
        """The content of the file now."""
        with self._lock:
            log = self._open()
            waiting = log.execute("SELECT topic, events, bytes, closing FROM waiting ORDER BY topic").fetchall()
            oldest = log.execute("SELECT kept_ms FROM events ORDER BY number LIMIT 1").fetchone() if waiting else None
            [(refused,)] = log.execute("SELECT count(*) FROM refused").fetchall()
        return State(tuple([Backlog(*row) for row in waiting]), oldest and oldest[0], refused)

    def take(self, topic: str, count: int, size: int) -> list[Row]:
        """The oldest events of a topic: at most `count`, and at least one however large it is; `size`: bytes."""
        rows: list[Row] = []
        query = "SELECT number, event FROM events WHERE topic = ? ORDER BY number LIMIT ?"
        with self._lock:
            for number, data in self._open().execute(query, (topic, count)):
                rows.append(Row(number, _decode(data), len(data)))
                size -= len(data)
                if size <= 0:
                    break
        return rows

    def remove(self, published: Sequence[Row], refused: Sequence[Refused]) -> None:
        """Removes events that are on the bus, and puts aside those that it will not take."""
        gone = [*published, *(one.row for one in refused)]
        aside = "INSERT INTO refused SELECT number, topic, kept_ms, event, ?, ? FROM events WHERE number = ?"
        with self._lock, _transaction(self._open()) as log:
            log.executemany(aside, [(error.code, error.detail, row.number) for row, error in refused])
            log.executemany("DELETE FROM events WHERE number = ?", [(row.number,) for row in gone])
            _count(log, ((row.event.topic, -1, -row.size) for row in gone))
            log.execute("DELETE FROM waiting WHERE events = 0")

    def put_aside(self) -> list[PutAside]:
        """The events that the bus will not take, the oldest first."""
        query = "SELECT number, event, kept_ms, code, detail FROM refused ORDER BY number"
        with self._lock:
            return [
                PutAside(number, _decode(data), *rest) for number, data, *rest in self._open().execute(query).fetchall()
            ]

    def put_back(self, numbers: Collection[int]) -> int:
        """Lets events that were put aside wait again, before those that came in after them; how many of them were still
        there."""
        mark = "WHERE number IN (SELECT value FROM json_each(?))"
        chosen = (str(sorted(numbers)),)
        with self._lock, _transaction(self._open()) as log:
            moved = log.execute(f"SELECT topic, 1, length(event) FROM refused {mark}", chosen).fetchall()  # noqa: S608
            back = (
                "INSERT INTO events (number, topic, kept_ms, event) SELECT number, topic, kept_ms, event FROM refused"
            )
            log.execute(f"{back} {mark}", chosen)
            log.execute(f"DELETE FROM refused {mark}", chosen)  # noqa: S608
            _count(log, moved)
        return len(moved)

    def close_in(self, topics: Collection[str]) -> None:
        """Has new events of these topics held back for a moment, and of no others."""
        with self._lock:
            log = self._open()
            marks = ", ".join("?" * len(topics))
            log.execute(f"UPDATE waiting SET closing = topic IN ({marks})", tuple(topics))  # noqa: S608

    def close(self) -> None:
        with self._lock:
            log, self._log = self._log, None
            if log is not None:
                log.close()

    def _open(self) -> sqlite3.Connection:
        self._log = self._log or open_log(self._path, LOCK_SECONDS, SCHEMA)
        return self._log


class Look:
    """A look at what waits, quick enough for every call: it reads memory that all processes share, as a rule."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log: sqlite3.Connection | None = None

    def closing(self, topic: str) -> int | None:
        """None where no event of the topic waits; 1 where what is left is on its way to the bus, else 0.

        A file that cannot be read has something in it: events then go where the trouble is told.
        """
        try:
            if self._log is None:
                self._log = open_log(self._path, 0.0, SCHEMA)
            row = self._log.execute("SELECT closing FROM waiting WHERE topic = ?", (topic,)).fetchone()
        except (sqlite3.Error, OSError):
            self.close()
            return 0
        return None if row is None else int(row[0])

    def close(self) -> None:
        log, self._log = self._log, None
        if log is not None:
            log.close()


def lock_file(path: Path) -> int:
    """Opens the file whose lock says who takes events out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.open(path.with_name(f"{path.name}-drainer"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)


@contextmanager
def _transaction(log: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All that is done in the block, or nothing."""
    log.execute("BEGIN IMMEDIATE")
    try:
        yield log
        log.execute("COMMIT")
    except BaseException:
        if log.in_transaction:
            log.execute("ROLLBACK")
        raise


def _count(log: sqlite3.Connection, changes: Iterable[tuple[str, int, int]]) -> None:
    """Notes how many events and bytes of topics came, or went."""
    events, sizes = Counter[str](), Counter[str]()
    for topic, count, size in changes:
        events[topic] += count
        sizes[topic] += size
    log.executemany(
        "INSERT INTO waiting (topic, events, bytes) VALUES (?, ?, ?) "
        "ON CONFLICT (topic) DO UPDATE SET events = events + excluded.events, bytes = bytes + excluded.bytes",
        [(topic, count, sizes[topic]) for topic, count in events.items()],
    )


def _full(most_bytes: int) -> BusUnavailable:
    return BusUnavailable(f"The outbox is full: it may hold {most_bytes:,} bytes (INLAKE_OUTBOX_BYTES).")


def _will_pass(error: sqlite3.Error) -> bool:
    """Whether it is a state of the machine, not of the file: the gateway starts, and tells it in its answers."""
    return not getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))
