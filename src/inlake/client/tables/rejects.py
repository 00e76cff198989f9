"""Refused rows in the form they came in, each with why: to be mended in a spreadsheet and sent again."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, Self

from inlake.client.tables.cells import text_of
from inlake.client.tables.faults import Fault
from inlake.client.tables.layout import Layout
from inlake.client.tables.row import Cell, Row

REASON = "inlake_reason"
"""The first column of such a file; a table that has it is read without it."""


class Rejects:
    """A file of refused rows: delimiter and encoding are the table's; of XLSX and ODS it is CSV that Excel reads, of
    NDJSON the lines alone."""

    def __init__(self, path: Path, layout: Layout, header: Sequence[Cell]) -> None:
        """`header`: as the table has it. The file is written over. OSError."""
        self._columns = bool(header)
        encoding = layout.encoding if layout.format == "csv" else "utf-8-sig" if header else "utf-8"
        self._file = path.open("w", encoding=encoding, errors="surrogateescape", newline="")
        self._delimiter, self._quotes = layout.delimiter or ",", layout.quotes
        quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if layout.quotes else csv.QUOTE_NONE
        quotechar = '"' if layout.quotes else None
        self._writer = csv.writer(self._file, delimiter=self._delimiter, quoting=quoting, quotechar=quotechar)
        if header:
            self._write([REASON, *map(text_of, header)])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, row: Row, faults: Iterable[Fault]) -> None:
        """A row and all that is wrong with it."""
        if self._columns:
            self._write([self._reason(faults), *map(text_of, row.cells)])
        elif row.record is not None:
            self._file.write(row.record.decode("utf-8", "surrogateescape") + "\n")

    def _reason(self, faults: Iterable[Fault]) -> str:
        """Without the row: it has another number in the new file."""
        text = " / ".join(fault._replace(row=None, letter=None).sentence for fault in faults)
        return text if self._quotes else " ".join(re.split(rf"[\r\n{re.escape(self._delimiter)}]+", text))

    def _write(self, cells: list[str]) -> None:
        try:
            self._writer.writerow(cells)
        except UnicodeEncodeError:  # a reason may quote what the encoding of the table has no bytes for
            known = self._file.encoding
            self._writer.writerow([cells[0].encode(known, "backslashreplace").decode(known), *cells[1:]])
