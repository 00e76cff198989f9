"""A table of any kind, row by row."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, Self

from inlake.client.tables.faults import Fault

Cell = str | int | float | bool | dt.date | dt.time | dt.datetime | dt.timedelta | None
"""Text in a CSV file; typed in XLSX and ODS; None is empty there."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a table is written. What is asked for may leave out anything (None: detected); what was found has all."""

    format: str | None = None
    """`csv` (any delimiter), `xlsx`, `ods` or `ndjson`."""
    encoding: str | None = None
    """As Python names it."""
    delimiter: str | None = None
    header: int | None = None
    """Number of the row with the names of the columns, from 1."""
    sheet: str | None = None
    notes: tuple[str, ...] = ()
    """Sentences about what was found and a person should know."""

    def sentence(self) -> str:
        """What was found, in one line: `CSV, encoding cp1252, delimiter ;, names in row 1`."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Column:
    """A column that has a name."""

    name: str
    index: int
    """From 0, in `Row.cells`."""
    letter: str
    """As a spreadsheet names it."""


class Row(NamedTuple):
    """A row with its cells as they stand in the table."""

    number: int
    """From 1, as a spreadsheet counts."""
    line: int
    """Of the file, from 1, where the row begins; in XLSX and ODS the same as `number`."""
    cells: tuple[Cell, ...]
    """As many as the header has; empty for NDJSON."""
    faults: tuple[Fault, ...] = ()
    """What is wrong with the row itself: too long, cut, a quote that is not closed, bytes that are no characters."""
    record: bytes | None = None
    """NDJSON: the line as it stands."""


class Table:
    """An open table: a context manager, and an iterator over its rows, once."""

    layout: Layout
    """What was found."""
    columns: tuple[Column, ...]
    """Empty for NDJSON."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Row]:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def open_table(source: str | Path | BinaryIO, layout: Layout | None = None, *, name: str | None = None) -> Table:
    """A table in a file, or in a stream of bytes (`name` says what it is called). `TableError`, OSError."""
    raise NotImplementedError
