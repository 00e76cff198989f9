"""A table of any kind, row by row: opened, its header found, its rows held against the header."""

from __future__ import annotations

import codecs
import gzip
import io
import itertools
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Self, cast

from inlake.client.tables.delimited import find_delimiter, read_rows
from inlake.client.tables.encoding import BLOCK, SAMPLE, decode_lines, find_encoding
from inlake.client.tables.faults import Fault, TableError, letter_of, shorten
from inlake.client.tables.layout import Layout
from inlake.client.tables.lines import read_json_lines
from inlake.client.tables.rejects import REASON
from inlake.client.tables.row import Cell, Column, Row
from inlake.client.tables.workbook import open_sheet

LOOKED_AT = 50
"""Rows that header and delimiter are found by."""
_TITLES = 20
"""Rows that may stand above the header."""


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
        """What was found."""
        self.columns = columns
        """Those with a name; empty for NDJSON."""
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
        return self._rows

    def close(self) -> None:
        self._close()


def open_table(source: str | Path | BinaryIO, layout: Layout | None = None, *, name: str | None = None) -> Table:
    """A table in a file (also one that ends in `.gz`), or in a stream of bytes; `name` says what a stream is called.

    What `layout` leaves open is detected. `TableError`, OSError.
    """
    asked = layout or Layout()
    if not isinstance(source, str | Path):
        return _opened(_Source(source, name or str(getattr(source, "name", ""))), asked)
    path = Path(source)
    file = cast("BinaryIO", gzip.GzipFile(path)) if path.suffix == ".gz" else path.open("rb")
    try:
        return _opened(_Source(file, name or path.name), asked)
    except BaseException:
        file.close()
        raise


class _Source:
    """A stream whose beginning was looked at, and can be read from the start once more."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.stream = stream
        self.suffix = Path(name.removesuffix(".gz")).suffix.lower()
        self.sample = _read_up_to(stream, SAMPLE)

    def rest(self) -> Iterator[bytes]:
        """What follows the sample, where the stream can be read twice; nothing where it cannot."""
        if self.stream.seekable():
            while block := self.stream.read(BLOCK):
                yield block

    def again(self) -> BinaryIO:
        """The stream from its start."""
        if self.stream.seekable():
            self.stream.seek(0)
            return self.stream
        return cast("BinaryIO", io.BufferedReader(_Joined(self.sample, self.stream), BLOCK))


class _Joined(io.RawIOBase):
    """Bytes that were read already, and the rest of a pipe."""

    def __init__(self, begun: bytes, stream: BinaryIO) -> None:
        super().__init__()
        self._begun = io.BytesIO(begun)
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self._begun.read(len(view)) or self._stream.read(len(view))
        view[: len(data)] = data
        return len(data)


def _read_up_to(stream: BinaryIO, size: int) -> bytes:
    parts: list[bytes] = []
    while size > 0 and (data := stream.read(size)):
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def _opened(source: _Source, asked: Layout) -> Table:
    match asked.format or _find_format(source):
        case "ndjson":
            rows = read_json_lines(source.again())
            return Table(replace(asked, format="ndjson"), (), rows, source.stream.close)
        case "xlsx" | "ods" as format_:
            return _workbook(source, replace(asked, format=format_))
        case _:
            return _delimited(source, replace(asked, format="csv"))


def _find_format(source: _Source) -> str:
    """By what the file holds; its name counts for NDJSON alone."""
    sample = source.sample
    if sample.startswith(b"PK\x03\x04"):
        return _format_of_archive(source)
    if sample.startswith(b"\xd0\xcf\x11\xe0"):
        raise _no_table("The file is a workbook of before Excel 2007, or one with a password.", "Save it as .xlsx.")
    text = sample[:1024].removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:15].lower().startswith((b"<html", b"<table", b"<!doctype html", b"<?xml")):
        raise _no_table(
            "The file is a page of HTML or XML, whatever its name says.",
            "Open it in a spreadsheet and save it as .xlsx.",
        )
    if not text:
        raise _no_table("The file is empty.", "", code="empty_table")
    return "ndjson" if source.suffix in {".ndjson", ".jsonl"} or text.startswith((b'{"', b"{}", b"{ ")) else "csv"


def _format_of_archive(source: _Source) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(source.again().read())) as archive:
            names = set(archive.namelist())
            if "xl/workbook.xml" in names:
                return "xlsx"
            if "mimetype" in names and archive.read("mimetype").startswith(
                b"application/vnd.oasis.opendocument.spreadsheet"
            ):
                return "ods"
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
        raise _no_table("The file is a damaged ZIP archive.", "Copy or save it anew.") from None
    raise _no_table("The file is a ZIP archive and no workbook.", "Tables are CSV, TSV, XLSX, ODS and NDJSON.")


def _no_table(detail: str, advice: str, code: str = "not_a_table") -> TableError:
    return TableError([Fault(code, detail, advice)])


def _workbook(source: _Source, asked: Layout) -> Table:
    sheet = open_sheet(cast("BinaryIO", io.BytesIO(source.again().read())), asked.format or "", asked.sheet)
    notes = (f"Sheets that are not read: {', '.join(sheet.others)}.",) if sheet.others and not asked.sheet else ()
    found = replace(asked, sheet=sheet.name, notes=notes)
    return _with_header(sheet.rows, found, source.stream.close)


def _delimited(source: _Source, asked: Layout) -> Table:
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
            delimiter, notes = ",", (*notes, "The table has one column.")
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
            raise _no_table(
                f"Row {layout.header} is blank or not there.", "Set the row that has the names.", "no_header"
            )
        seen: list[Row] = []
    else:
        seen = list(itertools.islice(rows, LOOKED_AT))
        header, seen = _split_at_header(seen)
    columns, unnamed = _columns(header)
    notes = layout.notes
    if layout.header is None and header.number > 1:
        notes += (f"Row {header.number} is taken for the names of the columns; what stands above it is not read.",)
    if sum(1 for column in columns if _is_number(column.name)) * 2 > len(columns):
        notes += (f"Row {header.number} is taken for the names of the columns, though it holds numbers.",)
    found = replace(layout, header=header.number, notes=notes)
    checked = _Checked(columns, unnamed, len(header.cells), text=layout.format == "csv")
    return Table(found, columns, checked.rows(itertools.chain(seen, rows)), close, header.cells)


def _split_at_header(rows: list[Row]) -> tuple[Row, list[Row]]:
    """The first row with two cells, above which titles may stand; the first of all in a table of one column."""
    if not rows:
        raise _no_table("The table has no row.", "", code="empty_table")
    widest = max(_filled(row) for row in rows)
    at = next((i for i, row in enumerate(rows[:_TITLES]) if _filled(row) > 1), 0) if widest > 1 else 0
    return rows[at], rows[at + 1 :]


def _filled(row: Row) -> int:
    return sum(1 for cell in row.cells if cell is not None and cell != "")


def _columns(header: Row) -> tuple[tuple[Column, ...], tuple[int, ...]]:
    """The columns with a name, and the indexes of those without."""
    if header.faults:
        raise TableError([fault._replace(row=header.number) for fault in header.faults])
    columns, unnamed, faults = [], [], []
    by_name: dict[str, Column] = {}
    for index, cell in enumerate(header.cells):
        column = Column(" ".join(_shown(cell).split()), index, letter_of(index))
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


def _shown(cell: Cell) -> str:
    if cell is None:
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _is_number(name: str) -> bool:
    return name.replace(".", "", 1).replace(",", "", 1).removeprefix("-").isdecimal()


class _Checked:
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
    shown = shorten(_shown(row.cells[index]))
    return Fault(
        "unnamed_column",
        f"The cell stands in a column without a name: {shown!r}.",
        "Name the column in the header, or empty it.",
        row.number,
        None,
        letter_of(index),
        _shown(row.cells[index]),
    )


def _too_long(row: Row, index: int, width: int) -> Fault:
    shown = shorten(_shown(row.cells[index]))
    return Fault(
        "long_row",
        f"The row has {len(row.cells)} cells and the header {width}; behind its end stands {shown!r}.",
        "A cell that holds the delimiter is written in quotes.",
        row.number,
        None,
        letter_of(index),
        _shown(row.cells[index]),
    )
