"""Facts of the columns of a table: the types that their cells would fit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from inlake.client.tables.cells import Misfit, converter, is_empty, text_of
from inlake.client.tables.faults import shorten
from inlake.client.tables.mapping import Rules
from inlake.client.tables.row import Cell, Column, Row
from inlake.client.tables.shape import Field

TYPES = ("boolean", "integer", "number", "date", "timestamp")
"""Types that are looked for, the narrowest first; what fits none is text."""
EXAMPLES = 3
FORGIVEN = 100
"""Cells that do not fit a type, after which it is given up."""
DIGITS = 15
"""Digits of a number that a double keeps."""
_LARGEST = 1 << 63
_COMMA = re.compile(r"-?[0-9]+,[0-9]+\Z")
_RULES = Rules()
_CONVERTERS = {name: converter(Field("", name), _RULES, "AVRO") for name in TYPES}


class Odd(NamedTuple):
    """Cells that do not fit a type: how many cells, and the first of them."""

    cells: int
    row: int
    cell: str


@dataclass(slots=True)
class Facts:
    """A column after all its cells."""

    column: Column
    cells: int = 0
    empty: int = 0
    longest: int = 0
    examples: list[str] = field(default_factory=list)
    odd: dict[str, Odd | None] = field(default_factory=lambda: dict.fromkeys(TYPES))
    """By type, what does not fit it; types that a lot does not fit are not in it."""
    commas: int = 0
    """Cells that are numbers with a decimal comma."""

    def add(self, cell: Cell, row: int) -> None:
        """One more cell, in this row."""
        self.cells += 1
        if is_empty(cell, _RULES):
            self.empty += 1
            return
        text = text_of(cell)
        self.longest = max(self.longest, len(text))
        if len(self.examples) < EXAMPLES and (shown := shorten(text)) not in self.examples:
            self.examples.append(shown)
        self.commas += bool(_COMMA.match(text))
        for name in list(self.odd):
            if not _fits(name, cell):
                self._add_odd(name, row, text)

    def _add_odd(self, name: str, row: int, text: str) -> None:
        found = self.odd[name]
        if found is None:
            self.odd[name] = Odd(1, row, shorten(text))
        elif found.cells < FORGIVEN:
            self.odd[name] = found._replace(cells=found.cells + 1)
        else:
            del self.odd[name]

    @property
    def type(self) -> str:
        """The narrowest type that all cells fit; a column without any is text."""
        return next((name for name, odd in self.odd.items() if odd is None), "text") if self.examples else "text"

    @property
    def sentence(self) -> str:
        """The facts in words, for the doc of a field."""
        said = f"Column {self.column.letter} ({self.column.name}): {self.cells:,} cells, {self.empty:,} of them empty"
        if not self.examples:
            return f"{said}."
        said += f"; up to {self.longest:,} characters; for example {', '.join(self.examples)}."
        return f"{said} {self._nearly()}".rstrip() if self.type == "text" else said

    def _nearly(self) -> str:
        """The type that a column of text could have, but for a few cells or for how they are written."""
        filled = self.cells - self.empty
        if self.commas * 2 >= filled:
            return "They look like numbers with a decimal comma: a map with decimal_comma = true reads them."
        for name, odd in self.odd.items():
            if odd is not None and odd.cells * 10 <= filled:
                return f"All but {odd.cells} would be {name}; the first that is not is in row {odd.row}: {odd.cell}."
        return ""


def collect_facts(columns: Sequence[Column], rows: Iterable[Row]) -> list[Facts]:
    """All cells of a table, row by row; rows with faults are passed over."""
    facts = [Facts(column) for column in columns]
    for row in rows:
        if not row.faults:
            for one in facts:
                one.add(row.cells[one.column.index], row.number)
    return facts


def _fits(name: str, cell: Cell) -> bool:
    try:
        text = _CONVERTERS[name](cell)
    except Misfit:
        return False
    if name == "number":
        return len(re.split("[eE]", text)[0].replace(".", "").lstrip("-0")) <= DIGITS
    return name != "integer" or -_LARGEST <= int(text) < _LARGEST
