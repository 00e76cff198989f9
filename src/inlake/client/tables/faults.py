"""Faults of a table, in places that a person finds: row and column as a spreadsheet shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

SHOWN = 60
"""Characters of a cell in a sentence."""


class Fault(NamedTuple):
    """One thing that is wrong, and what to do about it."""

    code: str
    """Stable: what a program decides by. Of an error of the gateway: its code."""
    detail: str
    """A sentence for a person."""
    advice: str = ""
    """A sentence that says what to do."""
    row: int | None = None
    """From 1, as a spreadsheet counts: the header has one too, and a line break in a cell makes no new row."""
    column: str | None = None
    """The name in the header."""
    letter: str | None = None
    """The column as a spreadsheet names it: A, B, ... AA."""
    cell: str | None = None
    """The text of the cell."""
    pointer: str | None = None
    """JSON Pointer of the field in the record, where one is known."""

    @property
    def place(self) -> str:
        """`row 7, column C (title)`, as far as it is known."""
        named = f"column {self.letter}" if self.letter else ""
        if self.column:
            named = f"{named} ({self.column})" if named else f"column {self.column}"
        return ", ".join(part for part in (f"row {self.row}" if self.row else "", named) if part)

    @property
    def sentence(self) -> str:
        """Place, detail and advice in one line."""
        said = f"{self.detail} {self.advice}".rstrip()
        return f"{self.place}: {said}" if self.place else said


class TableError(Exception):
    """A table cannot be read, or not be made into records: `faults` are all that is wrong."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(fault.sentence for fault in faults))
        self.faults = tuple(faults)


def no_table(detail: str, advice: str, code: str = "not_a_table") -> TableError:
    """The one fault of a file that is no table."""
    return TableError([Fault(code, detail, advice)])


def letter_of(index: int) -> str:
    """The name of a column in a spreadsheet: 0 is A, 26 is AA."""
    name, number = "", index + 1
    while number:
        number, digit = divmod(number - 1, 26)
        name = chr(ord("A") + digit) + name
    return name


def shorten(text: str) -> str:
    """A cell as sentences quote it: one line, not too long."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else line[: SHOWN - 1] + "…"
