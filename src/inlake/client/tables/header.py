"""The header of a table: which row it is, the columns it names, and the rows below held against it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from inlake.client.tables.cells import text_of
from inlake.client.tables.faults import Fault, TableError, letter_of, no_table, shorten
from inlake.client.tables.rejects import REASON
from inlake.client.tables.row import Column, Row, plain_name

_TITLES = 20
"""Rows that may stand above the header."""


def split_at_header(rows: list[Row]) -> tuple[Row, list[Row]]:
    """The first row with two cells, above which titles may stand; the first of all in a table of one column."""
    if not rows:
        raise no_table("The table has no row.", "", code="empty_table")
    widest = max(_filled(row) for row in rows)
    at = next((i for i, row in enumerate(rows[:_TITLES]) if _filled(row) > 1), 0) if widest > 1 else 0
    return rows[at], rows[at + 1 :]


def _filled(row: Row) -> int:
    return sum(1 for cell in row.cells if cell is not None and cell != "")


def columns_of(header: Row) -> tuple[tuple[Column, ...], tuple[int, ...]]:
    """The columns with a name, and the indexes of those without."""
    if header.faults:
        raise TableError([fault._replace(row=header.number) for fault in header.faults])
    columns, unnamed, faults = [], [], []
    by_name: dict[str, Column] = {}
    for index, cell in enumerate(header.cells):
        column = Column(plain_name(text_of(cell)), index, letter_of(index))
        if not column.name:
            unnamed.append(index)
        elif column.name in by_name:
            detail = f"Columns {by_name[column.name].letter} and {column.letter} have the same name."
            advice = "Give each a name of its own."
            faults.append(
                Fault("equal_columns", detail, advice, header.number, column.name, column.letter, column.name)
            )
        elif column.name != REASON:
            by_name[column.name] = column
            columns.append(column)
    if faults:
        raise TableError(faults)
    return tuple(columns), tuple(unnamed)


def is_number(name: str) -> bool:
    return name.replace(".", "", 1).replace(",", "", 1).removeprefix("-").isdecimal()


class Checked:
    """Rows held against the header."""

    def __init__(self, columns: tuple[Column, ...], unnamed: tuple[int, ...], width: int, *, text: bool) -> None:
        """`width`: cells of the header. `text`: rows have cells up to its last name; else they end where they like."""
        self._names = {column.letter: column.name for column in columns}
        self._unnamed = unnamed
        self._text = text
        self._width = width
        self._named = max((column.index for column in columns), default=-1) + 1

    def rows(self, rows: Iterable[Row]) -> Iterator[Row]:
        width, unnamed = self._width, self._unnamed
        for row in rows:
            if len(row.cells) == width and not unnamed and not row.faults:
                yield row
            else:
                yield self._checked(row)

    def _checked(self, row: Row) -> Row:
        faults = [fault._replace(row=row.number, column=self._names.get(fault.letter or "")) for fault in row.faults]
        cells = row.cells
        if self._text and len(cells) < self._named and not faults:
            faults.append(self._cut(row))
        faults += [_unnamed(row, i) for i in self._unnamed if i < len(cells) and cells[i] not in (None, "")]
        extra = [index for index in range(self._width, len(cells)) if cells[index] not in (None, "")]
        if extra and not row.faults:
            faults.append(_too_long(row, extra[0], self._width))
        padded = (*cells[: self._width], *(None,) * (self._width - len(cells)))
        return row._replace(cells=cells if faults else padded, faults=tuple(faults))

    def _cut(self, row: Row) -> Fault:
        letter = letter_of(len(row.cells))
        detail = f"The row ends behind {len(row.cells)} of {self._named} cells."
        advice = "A delimiter is missing, a line break stands in a cell without quotes, or the file is cut off."
        return Fault("cut_row", detail, advice, row.number, self._names.get(letter), letter)


def _unnamed(row: Row, index: int) -> Fault:
    shown = shorten(text_of(row.cells[index]))
    return Fault(
        "unnamed_column",
        f"The cell stands in a column without a name: {shown!r}.",
        "Name the column in the header, or empty it; a map can say ignore_unnamed = true.",
        row.number,
        None,
        letter_of(index),
        text_of(row.cells[index]),
    )


def _too_long(row: Row, index: int, width: int) -> Fault:
    shown = shorten(text_of(row.cells[index]))
    return Fault(
        "long_row",
        f"The row has {len(row.cells)} cells and the header {width}; behind its end stands {shown!r}.",
        "A cell that holds the delimiter is written in quotes.",
        row.number,
        None,
        letter_of(index),
        text_of(row.cells[index]),
    )
