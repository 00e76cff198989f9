"""A client's own memory of what it sent, a SQLite file beside the source: a second run sends what is missing."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self
from uuid import uuid4

from inlake.client.problems import ClientError

SUFFIX = ".inlake-journal"
TABLES = """
CREATE TABLE IF NOT EXISTS runs (target TEXT PRIMARY KEY, run TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS files (
  run TEXT, name TEXT, size INTEGER, modified INTEGER, sha256 TEXT, record TEXT, receipt TEXT,
  PRIMARY KEY (run, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS streams (
  run TEXT, name TEXT, lines INTEGER, sha256 TEXT, sending INTEGER, summary TEXT,
  PRIMARY KEY (run, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
  number INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT, name TEXT, sending TEXT, first INTEGER, body BLOB);
CREATE TABLE IF NOT EXISTS records (run TEXT, name TEXT, digest BLOB);
CREATE TABLE IF NOT EXISTS shipments (
  number INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT, body BLOB, files TEXT, shipment TEXT);
CREATE TABLE IF NOT EXISTS large (run TEXT, name TEXT, file TEXT, puuid TEXT, way TEXT, PRIMARY KEY (run, name));
CREATE TABLE IF NOT EXISTS parts (run TEXT, name TEXT, number INTEGER, PRIMARY KEY (run, name, number)) WITHOUT ROWID;
"""


class JournalError(ClientError):
    """A journal cannot be used, or does not fit what is to be sent."""


class Sent(NamedTuple):
    """A file that went in."""

    name: str
    """Relative to its source."""
    size: int
    modified: int
    """Nanoseconds since 1970."""
    sha256: str
    record: str
    """sha256 of the record that went with it."""
    receipt: dict[str, Any]


class File(NamedTuple):
    """A file as it was when it was announced."""

    name: str
    size: int
    modified: int
    sha256: str
    record: str

    def sent(self, receipt: dict[str, Any]) -> Sent:
        return Sent(self.name, self.size, self.modified, self.sha256, self.record, receipt)


class Announcement(NamedTuple):
    """Files that are announced together, and on their way."""

    number: int
    key: str
    """The `Idempotency-Key` of each request that announces them."""
    body: bytes
    """The body of that request: a line for each file."""
    files: list[File]
    """In the order of the lines."""
    shipment: str | None
    """The shipment's id; None while nobody knows whether the gateway has it."""


class Underway(NamedTuple):
    """A large file on its way by itself."""

    file: File
    """Without its SHA-256, which is made while it is sent."""
    puuid: str
    """The puuid of the file's promise."""
    way: Literal["parts", "tus"]
    done: frozenset[int] = frozenset()
    """Numbers of the parts that the store has confirmed: one that was cut may look whole there."""


@dataclass(slots=True)
class Position:
    """How far a stream of records went in."""

    lines: int = 0
    """Confirmed, from the first."""
    sha256: str = ""
    """The SHA-256 of them."""
    sending: int | None = None
    """Last line of the batch that was on its way."""
    summary: dict[str, int] | None = None


class Journal:
    """A record of what went to one target. One process at a time; each entry is on disk when its method returns."""

    def __init__(self, path: Path, target: str) -> None:
        """`target`: gateway, schema and destination in one text; what went to another one is apart from it."""
        self.path = path
        self._turn = Lock()
        """Several threads write, one at a time."""
        try:
            self._file = sqlite3.connect(path, isolation_level=None, timeout=0.2, check_same_thread=False)
            for setting in "locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL":
                self._file.execute(f"PRAGMA {setting}")
            self._file.executescript(TABLES)
            self._file.execute("INSERT OR IGNORE INTO runs VALUES (?, ?)", (target, uuid4().hex))
            ((self.run,),) = self._file.execute("SELECT run FROM runs WHERE target = ?", (target,))
        except sqlite3.Error as error:
            if "locked" in str(error):
                raise JournalError(f"{path}: another `inlake` sends this now; wait for it, or end it.") from None
            raise JournalError(
                f"The journal {path} cannot be used ({error}): name another place with --journal, or delete it."
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._file.close()

    def files(self) -> Iterator[File]:
        """Every file that went in, without its receipt."""
        query = "SELECT name, size, modified, sha256, record FROM files WHERE run = ?"
        return map(File._make, self._file.execute(query, (self.run,)))

    def add(self, sent: Sent) -> None:
        values = (self.run, *sent[:-1], json.dumps(sent.receipt))
        with self._turn:
            self._file.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def find(self, name: str) -> Sent | None:
        """The file of this name, if it went in."""
        query = "SELECT name, size, modified, sha256, record, receipt FROM files WHERE run = ? AND name = ?"
        with self._turn:
            row = self._file.execute(query, (self.run, name)).fetchone()
        return Sent(*row)._replace(receipt=json.loads(row[-1])) if row else None

    def announce(self, files: list[File], body: bytes) -> Announcement:
        """Files go out together now: written before the gateway hears of them."""
        query = "INSERT INTO shipments (run, body, files) VALUES (?, ?, ?) RETURNING number"
        with self._turn:
            ((number,),) = self._file.execute(query, (self.run, body, json.dumps(files))).fetchall()
        return self._announcement(number, body, files, None)

    def announced(self, announcement: Announcement, shipment: str) -> None:
        """The gateway has them, as this shipment."""
        with self._turn:
            query = "UPDATE shipments SET shipment = ? WHERE number = ?"
            self._file.execute(query, (shipment, announcement.number))

    def settle(self, announcement: Announcement, sent: Iterable[Sent], *, ended: bool) -> None:
        """These of its files went in; `ended`: no more of them will."""
        rows = [(self.run, *one[:-1], json.dumps(one.receipt)) for one in sent]
        with self._turn:
            self._file.execute("BEGIN")
            self._file.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            if ended:
                self._file.execute("DELETE FROM shipments WHERE number = ?", (announcement.number,))
            self._file.execute("COMMIT")

    def underway(self) -> list[Announcement]:
        """Announcements that an earlier run did not end."""
        query = "SELECT number, body, files, shipment FROM shipments WHERE run = ? ORDER BY number"
        with self._turn:
            rows = self._file.execute(query, (self.run,)).fetchall()
        return [
            self._announcement(number, body, [File(*file) for file in json.loads(files)], shipment)
            for number, body, files, shipment in rows
        ]

    def begin_large(self, underway: Underway) -> None:
        """A large file goes out now: written before its first byte."""
        file, puuid, way, _ = underway
        with self._turn:
            self._file.execute("DELETE FROM parts WHERE run = ? AND name = ?", (self.run, file.name))
            values = (self.run, file.name, json.dumps(file), puuid, way)
            self._file.execute("INSERT OR REPLACE INTO large VALUES (?, ?, ?, ?, ?)", values)

    def underway_large(self, name: str) -> Underway | None:
        """The large file of this name, if an earlier run did not end it."""
        query = "SELECT file, puuid, way FROM large WHERE run = ? AND name = ?"
        with self._turn:
            row = self._file.execute(query, (self.run, name)).fetchone()
            parts = "SELECT number FROM parts WHERE run = ? AND name = ?"
            done = frozenset(number for (number,) in self._file.execute(parts, (self.run, name)))
        if row is None:
            return None
        file, puuid, way = row
        return Underway(File(*json.loads(file)), puuid, way, done)

    def note_part(self, name: str, number: int) -> None:
        """The store has confirmed this part of a large file."""
        with self._turn:
            self._file.execute("INSERT OR IGNORE INTO parts VALUES (?, ?, ?)", (self.run, name, number))

    def end_large(self, name: str) -> None:
        """Nothing is on its way of this file any more."""
        with self._turn:
            self._file.execute("DELETE FROM large WHERE run = ? AND name = ?", (self.run, name))
            self._file.execute("DELETE FROM parts WHERE run = ? AND name = ?", (self.run, name))

    def _announcement(self, number: int, body: bytes, files: list[File], shipment: str | None) -> Announcement:
        return Announcement(number, f"{self.run}-shipment-{number}", body, files, shipment)

    def name_of(self, source: str, *, alone: bool) -> str:
        """The name by which this journal knows a file of records, however that is typed: its path from the journal's
        folder on, or what an earlier version of Inlake wrote. What is no file has the name that is typed.

        `alone`: the journal is of one file.
        """
        if not Path(source).is_file():
            return source
        whole = Path(source).resolve()
        name = os.path.relpath(whole, self.path.resolve().parent)
        query = (
            "SELECT name FROM streams WHERE run = :run UNION SELECT name FROM batches WHERE run = :run "
            "UNION SELECT name FROM records WHERE run = :run"
        )
        names = [name for (name,) in self._file.execute(query, {"run": self.run})]
        earlier = [one for one in names if alone or one == source or Path(one).resolve() == whole]
        return name if name in names else min(earlier, key=lambda one: one != source, default=name)

    def begin(self, name: str, first: int, body: bytes) -> str:
        """A batch of a table goes out now; returns what its Idempotency-Key begins with."""
        sending = uuid4().hex
        query = "INSERT INTO batches (run, name, sending, first, body) VALUES (?, ?, ?, ?, ?)"
        self._file.execute(query, (self.run, name, sending, first, body))
        return sending

    def confirm(self, name: str, sending: str, records: Iterable[bytes]) -> None:
        """A batch is settled; these records of it, by their digests, went in."""
        self._file.execute("BEGIN")
        rows = ((self.run, name, digest) for digest in records)
        self._file.executemany("INSERT INTO records VALUES (?, ?, ?)", rows)
        self._file.execute("DELETE FROM batches WHERE sending = ?", (sending,))
        self._file.execute("COMMIT")

    def batches(self, name: str) -> list[tuple[str, int, bytes]]:
        """Batches of a table that are not settled: what their keys begin with, their first lines, their bodies."""
        query = "SELECT sending, first, body FROM batches WHERE run = ? AND name = ? ORDER BY number"
        return self._file.execute(query, (self.run, name)).fetchall()

    def records(self, name: str) -> Iterator[bytes]:
        """Digests of the records of a table that went in, each as often as it did."""
        for (digest,) in self._file.execute("SELECT digest FROM records WHERE run = ? AND name = ?", (self.run, name)):
            yield digest

    def position(self, name: str) -> Position:
        """The position in the stream with this name; its beginning when nothing of it was sent."""
        query = "SELECT lines, sha256, sending, summary FROM streams WHERE run = ? AND name = ?"
        for lines, sha256, sending, summary in self._file.execute(query, (self.run, name)):
            return Position(lines, sha256, sending, json.loads(summary) if summary else None)
        return Position()

    def move(self, name: str, to: Position) -> None:
        """Remember how far a stream went."""
        summary = None if to.summary is None else json.dumps(to.summary)
        self._file.execute(
            "INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?, ?, ?)",
            (self.run, name, to.lines, to.sha256, to.sending, summary),
        )


def beside(source: Path) -> Path:
    """The journal of a file or a folder: hidden, in the same folder."""
    whole = source.resolve()
    return whole.parent / f".{whole.name}{SUFFIX}"
