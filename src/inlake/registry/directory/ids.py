"""The file `ids.json` of a folder of schemas: every schema that ever got an id, by its id, for as long as events live.

Events carry the id alone, so the file keeps the text too, and the ids of what it refers to: a version that a person
edits gets a new id, and so does all that refers to it; events written before are still read with the old texts. Losing
the file is losing the meaning of the events: back it up.

Each schema has a line of its own, and a new one is written behind the others, over the end of the JSON object. What a
crash leaves of a line was never used, and is cut off.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka.schema_registry import Schema

from inlake.disk import lock, write_all, write_durably
from inlake.errors import RegistryUnavailable

LOCK_SECONDS = 5.0
# `~` cannot stand in the name of a schema, so these files never collide with one
LOCK_FILE = "ids.json~lock"
HEAD, BETWEEN, END = '{"schemas": {\n', ",\n", "\n}}\n"
_ID = re.compile(r'"(\d+)": ')
Signature = tuple[int, int, int]
Known = tuple[Schema, tuple[int, ...]]
"""A schema, and the ids of what it refers to, in the order of its references; none where not all of them are there."""


class Ids:
    """`ids.json` as a mapping in both directions. Blocking, for one thread; several processes may share the file."""

    def __init__(self, root: Path) -> None:
        self._path = root / "ids.json"
        self._signature: Signature | None = None
        self._schemas: dict[int, Known] = {}
        self._ids: dict[Known, int] = {}

    def find(self, schema_id: int) -> Known | None:
        """The schema that got this id. `RegistryUnavailable` when the file is broken."""
        self._load()
        return self._schemas.get(schema_id)

    def give(self, schema: Schema, refers_to: tuple[int, ...] = ()) -> int:
        """The id of a schema, from 1: the same type, text and references to the same ids have one id, whatever their
        subject."""
        known = (schema, refers_to)
        self._load()
        if known not in self._ids:
            with locked(self._path.parent):
                self._load(is_locked=True)
                if known not in self._ids:
                    self._add(known)
        return self._ids[known]

    def _add(self, known: Known) -> None:
        unnoted = self._ids.get((known[0], ())) if known[1] else None
        if unnoted is not None:  # given before the file held what a schema refers to
            self._take({unnoted: known})
            write_durably(self._path, self._text().encode())
        else:
            schema_id = max(self._schemas, default=0) + 1
            self._take({schema_id: known})
            if not self._append(_line(schema_id, known)):
                write_durably(self._path, self._text().encode())
        self._signature = signature(self._path)

    def _append(self, line: str) -> bool:
        """Write a line behind the others; False where the file is not there, or does not end as we write it."""
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            end = os.lseek(file, -len(END), os.SEEK_END) if os.fstat(file).st_size > len(HEAD + END) else 0
            if os.pread(file, len(END), end) != END.encode():
                return False
            write_all(file, f"{BETWEEN}{line}{END}".encode())
            os.fsync(file)
        finally:
            os.close(file)
        return True

    def _load(self, *, is_locked: bool = False) -> None:
        found = signature(self._path)
        if found == self._signature:
            return
        text = self._path.read_text(encoding="utf-8", errors="replace") if found else HEAD + END
        try:
            schemas = _read(json.loads(text)["schemas"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if not is_locked:  # another process may be writing just now
                with locked(self._path.parent):
                    self._load(is_locked=True)
                return
            schemas = _read(_whole_lines(text))
            if not schemas:
                raise RegistryUnavailable(f"{self._path} is broken, restore it from a backup: {error!r}.") from None
            self._schemas = schemas
            write_durably(self._path, self._text().encode())
            found = signature(self._path)
        self._schemas, self._ids = {}, {}
        self._take(schemas)
        self._signature = found

    def _take(self, schemas: dict[int, Known]) -> None:
        self._schemas |= schemas
        self._ids |= {known: schema_id for schema_id, known in schemas.items()}

    def _text(self) -> str:
        """The file's whole text."""
        return HEAD + BETWEEN.join(_line(*item) for item in self._schemas.items()) + END


def _line(schema_id: int, known: Known) -> str:
    schema, refers_to = known
    entry = schema.to_dict() | ({"refers_to": refers_to} if refers_to else {})
    return f'"{schema_id}": {json.dumps(entry, ensure_ascii=False)}'


def _read(entries: dict[str, Any]) -> dict[int, Known]:
    return {int(i): (Schema.from_dict(entry), tuple(entry.get("refers_to", ()))) for i, entry in entries.items()}


def _whole_lines(text: str) -> dict[str, Any]:
    """The entries before what a crash left of the last one; none in a file that is not ours."""
    found: dict[str, Any] = {}
    place, decode = len(HEAD), json.JSONDecoder().raw_decode
    while text.startswith(HEAD) and (name := _ID.match(text, place)):
        try:
            found[name[1]], place = decode(text, name.end())
        except ValueError:
            break
        place += len(BETWEEN)
    return found


def signature(path: Path) -> Signature | None:
    """A mark that changes with every change of a file; None when there is none."""
    try:
        stat = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """One writer at a time, over all processes. `RegistryUnavailable` when another takes longer than 5 seconds."""
    root.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + LOCK_SECONDS
    with (root / LOCK_FILE).open("ab") as file:  # closing it releases the lock, a crash does too
        while not lock(file.fileno()):
            if time.monotonic() > deadline:
                raise RegistryUnavailable(f"Another process keeps {root / LOCK_FILE} locked: find out which and why.")
            time.sleep(0.01)
        yield
