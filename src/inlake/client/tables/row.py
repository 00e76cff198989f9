"""Columns and rows, as they stand in a table."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import NamedTuple

from inlake.client.tables.faults import Fault

Cell = str | int | float | bool | dt.date | dt.time | dt.datetime | dt.timedelta | None
"""Text in a CSV file; typed in XLSX and ODS; None is empty there."""
ERROR = re.compile(r"(?:#(?:REF!|N/A|DIV/0!|VALUE!|NAME\?|NUM!|NULL!)|Err:[0-9]{3})\Z")
"""How spreadsheets write an error into a cell."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column that has a name."""

    name: str
    index: int
    """From 0, in `Row.cells`."""
    letter: str
    """As a spreadsheet names it."""


def plain_name(name: str) -> str:
    """The name of a column as it is known: without line breaks, and with one blank where there are several."""
    return " ".join(name.split())


class Row(NamedTuple):
    """A row with its cells as they stand in the table."""

    number: int
    """From 1, as a spreadsheet counts."""
    line: int
    """The line of the file, from 1, where the row begins; in XLSX and ODS the same as `number`."""
    cells: tuple[Cell, ...]
    """As many as the header has, unless a fault says otherwise; empty for NDJSON."""
    faults: tuple[Fault, ...] = ()
    """Faults of the row itself: too long, cut, a quote that is not closed, bytes that are no characters."""
    record: bytes | None = None
    """NDJSON: the line as it stands."""
