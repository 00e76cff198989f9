"""A table of any kind, row by row: opened, its header found, its rows held against the header."""

from __future__ import annotations

import codecs
import gzip
import io
import itertools
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Self, cast

from inlake.client.tables.delimited import absent_delimiter, find_delimiter, read_rows
from inlake.client.tables.encoding import decode_lines, find_encoding
from inlake.client.tables.faults import Fault, TableError, no_table
from inlake.client.tables.header import Checked, columns_of, is_number, split_at_header
from inlake.client.tables.layout import Layout
from inlake.client.tables.lines import read_json_lines
from inlake.client.tables.row import Cell, Column, Row
from inlake.client.tables.source import Source, find_format

_DAMAGED = (gzip.BadGzipFile, zlib.error, EOFError)
LOOKED_AT = 50
"""Rows that header and delimiter are found by."""


class Table:
    """An open table: a context manager, and an iterator over its rows, once."""

    def __init__(
        self,
        layout: Layout,
        columns: tuple[Column, ...],
        rows: Iterator[Row],
        close: Callable[[], None],
        header: tuple[Cell, ...] = (),
    ) -> None:
        self.layout = layout
        """The layout that was found."""
        self.columns = columns
        """Columns with a name; empty for NDJSON."""
        self.header = header
        """The cells of the header as they stand."""
        self._rows = rows
        self._close = close

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Row]:
        """Rows below the header that are not blank. `TableError` where the file cannot be read further."""
        try:
            yield from self._rows
        except _DAMAGED as error:
            raise _damaged(error) from None

    def close(self) -> None:
        self._close()


def open_table(source: str | Path | BinaryIO, layout: Layout | None = None, *, name: str | None = None) -> Table:
    """A table in a file (also one that ends in `.gz`), or in a stream of bytes; `name` says what a stream is called.

    What `layout` leaves open is detected. `TableError`, OSError.
    """
    asked = layout or Layout()
    if not isinstance(source, str | Path):
        return _opened(source, name or str(getattr(source, "name", "")), asked)
    path = Path(source)
    file = cast("BinaryIO", gzip.GzipFile(path)) if path.suffix == ".gz" else path.open("rb")
    try:
        return _opened(file, name or path.name, asked)
    except BaseException:
        file.close()
        raise


def _opened(stream: BinaryIO, name: str, asked: Layout) -> Table:
    try:
        return _detected(Source(stream, name), asked)
    except _DAMAGED as error:
        raise _damaged(error) from None


def _damaged(error: Exception) -> TableError:
    return no_table(f"The file is a damaged gzip archive: {error}.", "Copy or save it anew.")


def _detected(source: Source, asked: Layout) -> Table:
    match asked.format or find_format(source):
        case "ndjson":
            rows = read_json_lines(source.again())
            return Table(replace(asked, format="ndjson"), (), rows, source.stream.close)
        case "xlsx" | "ods" as format_:
            return _workbook(source, replace(asked, format=format_))
        case _:
            if asked.sheet:
                detail = f"The table is a text file and has no sheet {asked.sheet}."
                raise TableError(
                    [Fault("bad_layout", detail, "Only XLSX and ODS have sheets: leave it out, or name the workbook.")]
                )
            return _delimited(source, replace(asked, format="csv"))


def _workbook(source: Source, asked: Layout) -> Table:
    from inlake.client.tables.workbook import open_sheet  # noqa: PLC0415 - ZIP and XML, which most tables are not

    sheet = open_sheet(cast("BinaryIO", io.BytesIO(source.again().read())), asked.format or "", asked.sheet)
    notes = (f"Sheets that are not read: {', '.join(sheet.others)}.",) if sheet.others and not asked.sheet else ()
    found = replace(asked, sheet=sheet.name, notes=notes)
    return _with_header(sheet.rows, found, source.stream.close)


def _delimited(source: Source, asked: Layout) -> Table:
    _check_asked(asked)
    notes: tuple[str, ...] = ()
    encoding = asked.encoding
    if encoding is None:
        guess = find_encoding(source.sample, source.rest())
        encoding, notes = guess.encoding, (guess.note,) if guess.note else ()
    lines = decode_lines(source.again(), encoding)
    first = list(itertools.islice(lines, LOOKED_AT * 4))
    delimiter = asked.delimiter
    if first and first[0].lower().startswith("sep=") and len(first[0].strip()) == 5:
        delimiter = delimiter or first[0][4]  # Excel's own line, which it does not show
        first = first[1:]
    if delimiter is None:
        delimiter = find_delimiter(first, preferred="\t" if source.suffix in {".tsv", ".tab"} else ",")
        if delimiter is None:
            delimiter, notes = absent_delimiter(first), (*notes, "The table has one column.")
    found = replace(asked, encoding=encoding, delimiter=delimiter, notes=notes)
    rows = read_rows(itertools.chain(first, lines), delimiter, encoding=encoding, quotes=asked.quotes)
    return _with_header(rows, found, source.stream.close)


def _check_asked(asked: Layout) -> None:
    if asked.delimiter is not None and (len(asked.delimiter) != 1 or asked.delimiter in '"\r\n'):
        detail = f"{asked.delimiter!r} cannot be a delimiter."
        raise TableError([Fault("bad_layout", detail, "It is one character, and no quote or line end.")])
    try:
        codecs.lookup(asked.encoding or "utf-8")
    except LookupError:
        detail = f"There is no encoding {asked.encoding}."
        raise TableError(
            [Fault("bad_layout", detail, "Names are those of Python: utf-8, cp1252, mac_roman.")]
        ) from None


def _with_header(rows: Iterator[Row], layout: Layout, close: Callable[[], None]) -> Table:
    """The table below its header. `TableError` with all that is wrong with the header."""
    if layout.header is not None:
        header = next((row for row in rows if row.number >= layout.header), None)
        if header is None or header.number != layout.header:
            raise no_table(
                f"Row {layout.header} is blank or not there.", "Set the row that has the names.", "no_header"
            )
        seen: list[Row] = []
    else:
        seen = list(itertools.islice(rows, LOOKED_AT))
        header, seen = split_at_header(seen)
    columns, unnamed = columns_of(header)
    notes = layout.notes
    if layout.header is None and header.number > 1:
        notes += (f"Row {header.number} is taken for the names of the columns; what stands above it is not read.",)
    if sum(1 for column in columns if is_number(column.name)) * 2 > len(columns):
        notes += (f"Row {header.number} is taken for the names of the columns, though it holds numbers.",)
    found = replace(layout, header=header.number, notes=notes)
    checked = Checked(columns, () if layout.ignore_unnamed else unnamed, len(header.cells), text=layout.format == "csv")
    return Table(found, columns, checked.rows(itertools.chain(seen, rows)), close, header.cells)
