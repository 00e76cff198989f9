"""Records made from a map and the facts of each file, where neither a table nor a sidecar has them."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from inlake.client.files import Item, Placed
from inlake.client.media_types import media_type
from inlake.client.tables import Cell, Column, Fault, Map, Plan, Row, Shape, Table, TableError

FACTS = (
    "file.path", "file.name", "file.stem", "file.extension", "file.folder", "file.size", "file.media_type",
    "file.modified", "file.sha256",
)  # fmt: skip
"""Facts that the columns of a map may name, beside the labels of a bag's `bag-info.txt`."""


class Template:
    """A map whose columns are facts of a file."""

    def __init__(self, shape: Shape, map_: Map, about: Mapping[str, str] | None = None) -> None:
        """`about`: what all files share, such as the labels of a bag. `TableError` for a column that is neither, and
        for a field that nothing fills."""
        self._about = dict(about or {})
        known = {*FACTS, *self._about}
        if strange := [name for name in map_.columns if name not in known]:
            advice = f"Without a table a map has facts of the file: {', '.join(FACTS)}."
            raise TableError([Fault("no_such_column", f"There is no {name!r}.", advice) for name in strange])
        by_name = [name for name in self._about if name not in map_.columns and shape.root.field(name)]
        self._names = [*map_.columns, *by_name]
        columns = [Column(name, index, "") for index, name in enumerate(self._names)]
        self._plan = Plan(columns, shape, map_) if columns else Plan([Column("", 0, "")], shape, _ignoring(map_))

    def items(self, files: Mapping[str, Path | Placed]) -> Iterator[Item]:
        """Each file with its record."""
        for name, there in files.items():
            path, placed = (there, None) if isinstance(there, Path) else (None, there)
            try:
                cells = tuple(self._cell(column, name, there) for column in self._names) or (None,)
            except OSError as error:
                fault = Fault("unreadable", f"The file cannot be read: {error.strerror}.")
                yield Item(name, path, None, faults=(fault,), placed=placed)
                continue
            row = Row(0, 0, cells)
            _, record, _, faults, _ = self._plan.convert(row)
            faults = tuple(fault._replace(row=None) for fault in faults)
            yield Item(name, path, record, None, faults, placed, self._plan.former(row))

    def _cell(self, column: str, name: str, there: Path | Placed) -> Cell:
        return fact_of(column, name, there) if column in FACTS else self._about[column]


class Facts:
    """Facts of files as more columns of a table, where a map names them."""

    def __init__(self, table: Table, map_: Map) -> None:
        known = {column.name for column in table.columns}
        self._names = [name for name in map_.columns if name in FACTS and name not in known]
        self._width = len(table.header)
        self.columns = [Column(name, self._width + n, "") for n, name in enumerate(self._names)]

    def beside(self, row: Row, name: str, there: Path | Placed) -> Row:
        """The row with the facts of its file behind its cells. Raises OSError."""
        empty = (None,) * (self._width - len(row.cells))
        return row._replace(cells=(*row.cells, *empty, *(fact_of(fact, name, there) for fact in self._names)))


def fact_of(fact: str, name: str, there: Path | Placed) -> Cell:
    """One of `FACTS` of a file that is called so. Raises OSError."""
    last = name.rpartition("/")[2]
    stem, dot, extension = last.rpartition(".")
    match fact:
        case "file.path":
            return name
        case "file.name":
            return last
        case "file.stem":
            return stem if dot and stem else last
        case "file.extension":
            return extension if dot and stem else ""
        case "file.folder":
            return name.rpartition("/")[0]
        case "file.media_type":
            return media_type(last)
        case "file.size":
            return there.size if isinstance(there, Placed) else there.stat().st_size
        case "file.modified":
            seconds = there.modified / 1e9 if isinstance(there, Placed) else there.stat().st_mtime
            return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return _digest(there)


def _digest(there: Path | Placed) -> str:
    if isinstance(there, Placed):
        raise TableError([Fault("no_such_column", "Of an object in place the gateway alone reads file.sha256.")])
    if not stat.S_ISREG(there.stat().st_mode):  # reading a pipe would wait for who writes into it
        return ""
    with there.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _ignoring(map_: Map) -> Map:
    """A map with constants alone, of a table without a column."""
    return Map(ignore=frozenset({""}), constants=map_.constants, rules=map_.rules)
