"""The file `ids.json` of a folder of schemas: every schema that ever got an id, by its id, for as long as events live.

Events carry the id alone, so the file keeps the text too: a version that a person edits gets a new id, and events
written before are still read with the old text. Losing the file is losing the meaning of the events: back it up.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka.schema_registry import Schema

from inlake.disk import lock, write_durably
from inlake.errors import RegistryUnavailable

LOCK_SECONDS = 5.0
# `~` cannot stand in the name of a schema, so these files never collide with one
LOCK_FILE = "ids.json~lock"
Signature = tuple[int, int, int]


class Ids:
    """`ids.json` as a mapping in both directions. Blocking, for one thread; several processes may share the file."""

    def __init__(self, root: Path) -> None:
        self._path = root / "ids.json"
        self._signature: Signature | None = None
        self._schemas: dict[int, Schema] = {}
        self._ids: dict[Schema, int] = {}

    def find(self, schema_id: int) -> Schema | None:
        """The schema that got this id. `RegistryUnavailable` when the file is broken."""
        self._load()
        return self._schemas.get(schema_id)

    def give(self, schema: Schema) -> int:
        """The id of a schema, from 1: the same type, text and references have one id, whatever their subject."""
        self._load()
        if schema in self._ids:
            return self._ids[schema]
        with locked(self._path.parent):
            self._load()
            if schema not in self._ids:
                self._save(max(self._schemas, default=0) + 1, schema)
        return self._ids[schema]

    def _save(self, schema_id: int, schema: Schema) -> None:
        schemas = {**self._schemas, schema_id: schema}
        text = json.dumps({"schemas": {str(i): s.to_dict() for i, s in schemas.items()}}, ensure_ascii=False, indent=1)
        write_durably(self._path, text.encode())
        self._load()

    def _load(self) -> None:
        found = signature(self._path)
        if found == self._signature:
            return
        try:
            entries = json.loads(self._path.read_bytes())["schemas"] if found else {}
            schemas = {int(i): Schema.from_dict(entry) for i, entry in entries.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RegistryUnavailable(f"{self._path} is broken, restore it from a backup: {error!r}.") from None
        self._schemas, self._ids = schemas, {schema: i for i, schema in schemas.items()}
        self._signature = found


def signature(path: Path) -> Signature | None:
    """What changes with every change of a file; None when there is none."""
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
