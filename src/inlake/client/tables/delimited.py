"""Text with a delimiter (CSV, TSV and their like), row by row; what the `csv` module of Python passes over is a fault.

RFC 4180, with any delimiter, and line ends of any kind: a cell that begins with a quote ends with one, a doubled quote
in it is one quote; a quote within a cell that does not begin with one is a character.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator

from inlake.client.tables.encoding import BrokenLine, encodings_for, undecodable
from inlake.client.tables.faults import Fault, letter_of
from inlake.client.tables.row import Row

DELIMITERS = (",", ";", "\t", "|")
"""Delimiters that are looked for; any other can be set."""
LONGEST = 1 << 20
"""Characters of a cell: a quote that is not closed would swallow the table."""
RETRIES = 100
"""Rows with a quote in the wrong place, after which the table is given up."""
_SOME, _NEARLY_ALL = 0.3, 0.6
_LOST = re.compile("[\udc80-\udcff]")
_BLANK_AND_QUOTE = re.compile(r'[ \t]+"')


def read_rows(lines: Iterable[str], delimiter: str, *, encoding: str, quotes: bool = True) -> Iterator[Row]:
    """All rows that are not blank; a row's number counts rows as a spreadsheet does, blank ones and the header too."""
    return _Reader(lines, delimiter, encoding, quotes=quotes).rows()


def find_delimiter(lines: list[str], preferred: str = ",") -> str | None:
    """The delimiter of a table that begins with these lines; None when it has one column.

    The one that cuts the most rows into as many cells; of equals the one that makes most cells. One that leaves the
    first row whole, which may be a title, cuts nearly all the others.
    """
    best, most = None, (_SOME, 0, False)
    for delimiter in DELIMITERS:
        widths = [len(row.cells) for row in read_rows(lines, delimiter, encoding="utf-8") if not row.faults]
        wide = [width for width in widths if width > 1]
        if not wide:
            continue
        usual = max(set(wide), key=wide.count)
        score = (wide.count(usual) / len(widths), usual, delimiter == preferred)
        if score >= most and (widths[0] > 1 or score[0] > _NEARLY_ALL):
            best, most = delimiter, score
    return best


def absent_delimiter(lines: list[str]) -> str:
    """One that cuts no cell, for a table of one column."""
    return next((delimiter for delimiter in reversed(DELIMITERS) if not any(delimiter in line for line in lines)), "\t")


class _Misplaced(Exception):
    """A quote stands where it cannot: the index of the cell, and the fault."""

    def __init__(self, index: int, fault: Fault) -> None:
        super().__init__(fault.detail)
        self.index = index
        self.fault = fault


class _Reader:
    def __init__(self, lines: Iterable[str], delimiter: str, encoding: str, *, quotes: bool) -> None:
        self._lines = iter(lines)
        self._again: deque[str] = deque()
        """Lines that a row without a closing quote took in: they are read again, as rows of their own."""
        self._delimiter = delimiter
        self._encoding = encoding
        self._quotes = quotes
        self._taken: list[str] = []
        """The lines of the row at hand."""

    def rows(self) -> Iterator[Row]:
        delimiter, quotes, taken = self._delimiter, self._quotes, self._taken
        number, line, misplaced = 0, 1, 0
        while (text := self._next()) is not None:
            number += 1
            faults = _NONE
            if quotes and '"' in text:
                try:
                    cells = self._quickly(text) or self._cells(text)
                except _Misplaced as error:
                    misplaced += 1
                    cells, faults = self._give_back(error, last=misplaced > RETRIES)
            else:
                cells = text.rstrip("\r\n").split(delimiter)
            if any(cells):
                if type(text) is not str or "\0" in text or len(taken) > 1:
                    faults += self._characters(cells)
                yield Row(number, line, tuple(cells), faults)
            line += len(taken)
            taken.clear()
            if misplaced > RETRIES:
                return

    def _quickly(self, text: str) -> list[str] | None:
        """The cells of most rows that have quotes and are one line; None where it is not certain."""
        if ' "' in text or '\t"' in text:
            return None
        try:
            return next(csv.reader((text,), delimiter=self._delimiter, strict=True))
        except csv.Error:
            return None

    def _next(self) -> str | None:
        line = self._again.popleft() if self._again else next(self._lines, None)
        if line is not None:
            self._taken.append(line)
        return line

    def _cells(self, text: str) -> list[str]:
        """The cells of a row that has quotes in it, over as many lines as it takes."""
        cells: list[str] = []
        delimiter, here = self._delimiter, 0
        while True:
            if text.startswith('"', here):
                cell, text, here = self._quoted(text, here + 1, len(cells))
                cells.append(cell)
                if not text[here:].strip("\r\n"):
                    return cells
                if not text.startswith(delimiter, here):
                    raise _Misplaced(len(cells) - 1, _text_behind(text[here:].rstrip("\r\n"), delimiter))
                here += len(delimiter)
                continue
            if _BLANK_AND_QUOTE.match(text, here) and delimiter.strip():
                raise _Misplaced(len(cells), _BLANK_BEFORE)
            end = text.find(delimiter, here)
            if end < 0:
                cells.append(text[here:].rstrip("\r\n"))
                return cells
            cells.append(text[here:end])
            here = end + len(delimiter)

    def _quoted(self, text: str, here: int, index: int) -> tuple[str, str, int]:
        """A cell from behind its quote on: its text, the line where it ends, and where in that line."""
        parts: list[str] = []
        length = 0
        while True:
            end = text.find('"', here)
            if end >= 0:
                parts.append(text[here:end])
                if not text.startswith('"', end + 1):
                    return "".join(parts), text, end + 1
                parts.append('"')
                here = end + 2
                continue
            parts.append(text[here:])
            length += len(parts[-1])
            line = self._next() if length < LONGEST else None
            if line is None:
                raise _Misplaced(index, _UNCLOSED)
            text, here = line, 0

    def _give_back(self, error: _Misplaced, *, last: bool) -> tuple[list[str], tuple[Fault, ...]]:
        """The first line of the row as its cells, as far as one can tell; the others are read again."""
        self._again.extendleft(reversed(self._taken[1:]))
        del self._taken[1:]
        fault = error.fault._replace(letter=letter_of(error.index))
        if last:
            fault = fault._replace(advice=f"{fault.advice} {RETRIES} rows are like this: the rest is not read.")
        cells = self._taken[0].rstrip("\r\n").split(self._delimiter)
        return cells, (fault._replace(cell=cells[error.index] if error.index < len(cells) else None),)

    def _characters(self, cells: list[str]) -> tuple[Fault, ...]:
        """Faults of characters that cannot be."""
        faults = [_NUL._replace(letter=letter_of(index), cell=cell) for index, cell in enumerate(cells) if "\0" in cell]
        first = next((line.position for line in self._taken if isinstance(line, BrokenLine)), None)
        if first is not None:
            faults += self._lost(cells, first)
        return tuple(faults)

    def _lost(self, cells: list[str], position: int) -> Iterator[Fault]:
        """A fault for each cell with bytes that are no characters; `position`: of the first of them in the file."""
        text = "".join(self._taken)
        raw = text.encode(self._encoding, "surrogateescape")
        lost = [len(text[: match.start()].encode(self._encoding, "surrogateescape")) for match in _LOST.finditer(text)]
        others, seen = encodings_for(raw), 0
        for index, cell in enumerate(cells):
            if inside := len(_LOST.findall(cell)):
                at = lost[seen]
                seen += inside
                fault = undecodable(self._encoding, position - lost[0] + at, raw[at : at + 1], others)
                yield fault._replace(letter=letter_of(index), cell=_LOST.sub("\ufffd", cell))


_NONE: tuple[Fault, ...] = ()
_UNCLOSED = Fault(
    "unclosed_quote",
    "The cell begins with a quote that is not closed.",
    'Close it; a quote that belongs to the text is written "" within quotes.',
)
_BLANK_BEFORE = Fault(
    "blank_before_quote", "A blank stands before the quote that begins the cell.", "Take the blank out."
)
_NUL = Fault("nul", "The cell holds a NUL character.", "Take it out: no text has one.")


def _text_behind(text: str, delimiter: str) -> Fault:
    shown = text.partition(delimiter)[0][:20]
    return Fault(
        "text_behind_quote",
        f"Behind the closing quote of the cell stands {shown!r}.",
        'A quote that belongs to the text is written "" within quotes; or an earlier quote is not closed.',
    )
