"""The table of rejects: a file, or for what a topic has, one that is nowhere once it is closed. All of it blocks."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import msgspec

from inlake.errors import OutOfSpace, StoreUnavailable
from inlake.rejects.reject import PAGE_TEXT, Cause, Cursor, Mark, Reject, Wanted

TABLE = """
CREATE TABLE IF NOT EXISTS rejects (
  id TEXT PRIMARY KEY,
  at INTEGER NOT NULL, -- milliseconds since 1970
  principal TEXT NOT NULL,
  schema TEXT NOT NULL,
  cause TEXT NOT NULL,
  mended TEXT, -- ce_id of the event
  mended_at INTEGER,
  document BLOB NOT NULL, -- JSON
  destination TEXT NOT NULL DEFAULT ''
);
CREATE TABLE IF NOT EXISTS marks ( -- of rejects that are not there, or not yet
  id TEXT PRIMARY KEY,
  event TEXT NOT NULL,
  at INTEGER NOT NULL
);
"""
MARK = (
    "UPDATE rejects SET mended = marks.event, mended_at = marks.at FROM marks "
    "WHERE rejects.id = ? AND marks.id = rejects.id AND rejects.mended IS NULL"
)
WITH_DESTINATION = """
ALTER TABLE rejects ADD COLUMN destination TEXT NOT NULL DEFAULT '';
UPDATE rejects SET destination = coalesce(json_extract(CAST(document AS TEXT), '$.destination'), '');
DROP INDEX IF EXISTS rejects_counted;
"""
"""For a file of a gateway that asked for rights on schemas alone."""
INDEXES = """
CREATE INDEX IF NOT EXISTS rejects_at ON rejects (at, id);
CREATE INDEX IF NOT EXISTS rejects_cause ON rejects (cause, mended, at, id);
CREATE INDEX IF NOT EXISTS rejects_waiting ON rejects (mended, at, id);
CREATE INDEX IF NOT EXISTS rejects_own ON rejects (principal, mended, at, id);
CREATE INDEX IF NOT EXISTS rejects_summed ON rejects (mended, principal, schema, destination, cause, at, id);
"""
LOCK_SECONDS = 10.0
CLEAN_SECONDS = 600.0
"""How often what is too old is looked for."""
MOST_CAUSES = 1_000
FEWER = 10
"""One byte in so many is made free when there is no room for all."""
OF_ONE = 0.5
"""Most of what a principal has that goes at once."""
P = ParamSpec("P")
T = TypeVar("T")
_decode = msgspec.json.Decoder(Reject).decode


class Table:
    """Rejects as rows of SQLite. May be used by any thread, one at a time; `run` has one for it."""

    def __init__(self, path: Path | None, *, seconds: float, most_bytes: int) -> None:
        """`path`: None is a file without a name; `seconds`: how long a reject stays; `most_bytes`: some go when
        there are more, those that are mended first, then the oldest of who has most."""
        self._path = path
        self._seconds = seconds
        self._most_bytes = most_bytes
        self._one_at_a_time = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "rejects")
        self._open: sqlite3.Connection | None = None
        self._cleaned = 0.0
        self.dropped = 0
        """Rejects that went for lack of room before they were mended."""

    async def run(self, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """Do a work of this table in its thread: those who wait for it hold none of the threads that all else needs."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, partial(work, *given, **named))

    async def end(self) -> None:
        """Close the table, and end its thread."""
        self._thread.shutdown(wait=False)
        await asyncio.to_thread(self.close)

    def add(self, rejects: Sequence[Reject], documents: Iterable[bytes] | None = None) -> None:
        """`documents`: the JSON text of each of the rejects, where it is at hand."""
        texts = documents or map(msgspec.json.encode, rejects)
        rows = [
            (r.id, r.at, r.principal, r.schema, r.cause, r.mended, r.mended_at, text, r.destination or "")
            for r, text in zip(rejects, texts, strict=True)
        ]
        with self._one_at_a_time:
            try:
                table = self._table()
                with table:
                    table.executemany("INSERT OR IGNORE INTO rejects VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
                    if table.execute("SELECT 1 FROM marks LIMIT 1").fetchone():
                        table.executemany(MARK, [(r.id,) for r in rejects])
                if time.monotonic() > self._cleaned + CLEAN_SECONDS or self._size(table) > self._most_bytes:
                    self._clean(table)
            except (sqlite3.Error, OSError) as error:
                raise self._refusal(error) from None

    def index(self) -> None:
        """Make the indexes that questions need: a table without a name has none until then, since many rows come into
        it in half the time so."""
        with self._used() as table:
            table.executescript(INDEXES)

    def mend(self, mark: Mark) -> None:
        """Mark a reject as mended, be it one that comes later: Kafka keeps no order between partitions."""
        with self._used() as table:
            table.execute("INSERT OR IGNORE INTO marks VALUES (?, ?, ?)", (mark.id, mark.event, mark.at))
            if table.execute(MARK, (mark.id,)).rowcount or self._is_there(table, mark.id):
                table.execute("DELETE FROM marks WHERE id = ?", (mark.id,))

    def find(self, reject_id: str) -> Reject | None:
        rows = self._do("SELECT document, mended, mended_at FROM rejects WHERE id = ?", reject_id)
        return _reject(rows[0]) if rows else None

    def page(self, wanted: Wanted, limit: int, after: Cursor | None) -> Sequence[Reject]:
        where, values = _where(wanted)
        if after is not None:
            where, values = f"{where} AND (at, id) < (?, ?)", [*values, after.at, after.id]
        query = f"SELECT document, mended, mended_at FROM rejects WHERE {where} ORDER BY at DESC, id DESC LIMIT ?"  # noqa: S608
        with self._used(wanted) as table:
            found, size = list[Reject](), 0
            for row in table.execute(query, (*values, limit)):
                found.append(_reject(row))
                size += len(found[-1].text)
                if size >= PAGE_TEXT:
                    break
            return found

    def causes(self, wanted: Wanted) -> Sequence[Cause]:
        where, values = _where(wanted)
        query = (
            "SELECT c.number, c.first, c.last, r.document, r.mended, r.mended_at FROM "  # noqa: S608
            "(SELECT count(*) AS number, min(at) AS first, max(at) AS last, max(printf('%015d', at) || id) AS newest "
            f"FROM rejects WHERE {where} GROUP BY cause ORDER BY number DESC, last DESC LIMIT {MOST_CAUSES}) AS c "
            "JOIN rejects AS r ON r.id = substr(c.newest, 16) ORDER BY c.number DESC, c.last DESC"
        )
        found = []
        with self._used(wanted) as table:
            for number, first, last, *row in table.execute(query, values):
                r = _reject(row)
                found.append(Cause(r.cause, r.schema, r.reasons, number, first, last, r.id, r.detail))
        return found

    def close(self) -> None:
        with self._one_at_a_time:
            if self._open is not None:
                self._open.close()
                self._open = None

    def _do(self, query: str, *values: object) -> list[Any]:
        with self._used() as table:
            return table.execute(query, values).fetchall()

    @contextmanager
    def _used(self, wanted: Wanted | None = None) -> Iterator[sqlite3.Connection]:
        with self._one_at_a_time:
            try:
                table = self._table()
                if wanted is not None and wanted.sees is not None:
                    table.create_function("sees", 2, wanted.sees, deterministic=True)
                with table:
                    yield table
            except (sqlite3.Error, OSError) as error:
                raise self._refusal(error) from None

    def _table(self) -> sqlite3.Connection:
        if self._open is None:
            if self._path is not None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
            table = sqlite3.connect(self._path or "", timeout=LOCK_SECONDS, check_same_thread=False)
            try:
                table.execute("PRAGMA journal_mode = WAL")
                table.execute("PRAGMA synchronous = NORMAL")
                table.executescript(TABLE)
                if self._path is not None:
                    if "destination" not in {name for _, name, *_ in table.execute("PRAGMA table_info(rejects)")}:
                        table.executescript(WITH_DESTINATION)
                    table.executescript(INDEXES)
            except BaseException:
                table.close()
                raise
            self._open = table
        return self._open

    def _is_there(self, table: sqlite3.Connection, reject_id: str) -> bool:
        return table.execute("SELECT 1 FROM rejects WHERE id = ?", (reject_id,)).fetchone() is not None

    def _size(self, table: sqlite3.Connection) -> int:
        [(pages,)], [(free,)], [(size,)] = (
            table.execute(f"PRAGMA {name}") for name in ("page_count", "freelist_count", "page_size")
        )
        return int(pages - free) * int(size)

    def _clean(self, table: sqlite3.Connection) -> None:
        self._cleaned = time.monotonic()
        with table:
            oldest = (time.time() - self._seconds) * 1000
            table.execute("DELETE FROM rejects WHERE at < ?", (oldest,))
            table.execute("DELETE FROM marks WHERE at < ?", (oldest,))
        if self._size(table) > self._most_bytes:
            self._make_room(table, self._most_bytes - self._most_bytes // FEWER)

    def _make_room(self, table: sqlite3.Connection, most: int) -> None:
        """Remove mended rejects, the oldest first; then of the principals, who has most first, the oldest."""
        count = "SELECT count(*), sum(length(document)) FROM rejects"
        number, size = table.execute(f"{count} WHERE mended IS NOT NULL").fetchone()
        self._remove(table, "mended IS NOT NULL", (), self._share(table, number, size, most, 1.0))
        for principal, number, size in table.execute(
            "SELECT principal, count(*), sum(length(document)) FROM rejects GROUP BY principal ORDER BY 3 DESC"
        ).fetchall():
            if not (wanted := self._share(table, number, size, most, OF_ONE)):
                break
            self.dropped += self._remove(table, "mended IS NULL AND principal = ?", (principal,), wanted)

    def _share(self, table: sqlite3.Connection, number: int, size: int | None, most: int, part: float) -> int:
        """How many of so many rejects go, of so many bytes together, so that there is room, but at most such a part."""
        more = self._size(table) - most
        return math.ceil(number * min(part, more / size)) if size and more > 0 else 0

    def _remove(self, table: sqlite3.Connection, which: str, values: tuple[str, ...], number: int) -> int:
        """Remove the oldest of these; how many went."""
        oldest = f"SELECT id FROM rejects WHERE {which} ORDER BY at, id LIMIT ?"  # noqa: S608
        with table:
            return table.execute(f"DELETE FROM rejects WHERE id IN ({oldest})", (*values, number)).rowcount  # noqa: S608

    def _refusal(self, error: Exception) -> OutOfSpace | StoreUnavailable:
        where = self._path or "of rejects"
        if getattr(error, "sqlite_errorname", "") == "SQLITE_FULL":
            return OutOfSpace(f"There is no room for the file {where} ({error}): free some disk space.")
        return StoreUnavailable(f"The file {where} cannot be used ({error}): check the path, its rights and the disk.")


def _reject(row: Sequence[Any]) -> Reject:
    document, mended, mended_at = row
    return msgspec.structs.replace(_decode(document), mended=mended, mended_at=mended_at)


def _where(wanted: Wanted) -> tuple[str, list[object]]:
    """A condition, and its values."""
    given = {"schema": wanted.schema, "cause": wanted.cause}
    parts = [f"{name} = ?" for name, value in given.items() if value is not None]
    if wanted.mended is not None:
        parts.append(f"mended IS {'NOT ' if wanted.mended else ''}NULL")
    values: list[object] = [value for value in given.values() if value is not None]
    if wanted.principal is not None:
        parts.append("(principal = ? OR sees(schema, destination))" if wanted.sees else "principal = ?")
        values.append(wanted.principal)
    return " AND ".join(parts) or "1", values
