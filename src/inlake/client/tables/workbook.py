"""XLSX and ODS, by python-calamine; and what it passes over: cells that hold an error, formulas without a result."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol
from xml.parsers import expat

import python_calamine as calamine

from inlake.client.tables.faults import Fault, TableError, letter_of
from inlake.client.tables.row import ERROR, Cell, Row

_PLACE = re.compile(r"([A-Z]+)[0-9]+\Z")
_ODS_CELLS = frozenset({"table-cell", "covered-table-cell"})


class Sheet(NamedTuple):
    """One sheet of a workbook."""

    name: str
    others: tuple[str, ...]
    """Visible sheets that are not read and hold something."""
    rows: Iterator[Row]


def open_sheet(file: BinaryIO, format_: str, name: str | None) -> Sheet:
    """A sheet by its name, else the first that holds something. `TableError`."""
    try:
        book = calamine.CalamineWorkbook.from_filelike(file)
        visible = [
            sheet.name
            for sheet in book.sheets_metadata
            if sheet.visible == calamine.SheetVisibleEnum.Visible and sheet.typ == calamine.SheetTypeEnum.WorkSheet
        ]
        if name is not None and name not in book.sheet_names:
            known = ", ".join(visible)
            raise TableError([Fault("sheet_missing", f"There is no sheet {name}.", f"The workbook has: {known}.")])
        filled = [one for one in visible if book.get_sheet_by_name(one).start is not None]
        chosen = name or next(iter(filled or visible), None)
        if chosen is None:
            raise TableError([Fault("empty_table", "The workbook has no sheet.")])
        sheet = book.get_sheet_by_name(chosen)
    except calamine.PasswordError:
        fault = Fault("not_a_table", "The workbook is locked with a password.", "Save it without one.")
        raise TableError([fault]) from None
    except calamine.CalamineError as error:
        raise TableError([_broken(str(error))]) from None
    try:
        lost = _lost_cells(file, format_, book.sheet_names.index(chosen))
    except (KeyError, IndexError, zipfile.BadZipFile, expat.ExpatError) as error:
        raise TableError([_broken(str(error))]) from None
    return Sheet(chosen, tuple(one for one in filled if one != chosen), _rows(sheet, lost))


def _broken(reason: str) -> Fault:
    return Fault("not_a_table", f"The workbook cannot be read: {reason}.", "Open it in a spreadsheet and save it anew.")


def _rows(sheet: calamine.CalamineSheet, lost: dict[int, list[Fault]]) -> Iterator[Row]:
    """All rows that are not blank, from column A on."""
    start = sheet.start
    if start is None:
        return
    left = (None,) * start[1]
    for number, values in enumerate(sheet.iter_rows(), 1):
        cells: tuple[Cell, ...] = left + tuple(None if value == "" else value for value in values)
        faults = tuple(lost.get(number, ()))
        if faults or any(cell is not None for cell in cells):
            yield Row(number, number, cells, faults)


def _lost_cells(file: BinaryIO, format_: str, index: int) -> dict[int, list[Fault]]:
    """Faults by row, of cells that the library gives as empty though something stands there."""
    file.seek(0)
    with zipfile.ZipFile(file) as archive:
        if format_ == "ods":
            ods = _OdsCells(index)
            _parse(archive, "content.xml", ods)
            return ods.faults
        xlsx = _XlsxCells()
        _parse(archive, _xlsx_part(archive, index), xlsx)
        return xlsx.faults


def _xlsx_part(archive: zipfile.ZipFile, index: int) -> str:
    """The file in the archive that has the sheet with this index."""
    sheets, relations = _Tags("sheet"), _Tags("Relationship")
    _parse(archive, "xl/workbook.xml", sheets)
    _parse(archive, "xl/_rels/workbook.xml.rels", relations)
    wanted = next(value for name, value in sheets.found[index].items() if _local(name) == "id")
    target = next(found["Target"] for found in relations.found if found["Id"] == wanted)
    return target.removeprefix("/") if target.startswith("/") else f"xl/{target}"


class _Handler(Protocol):
    """A handler of the elements of a file of XML."""

    def start(self, tag: str, attributes: dict[str, str]) -> None: ...

    def text(self, data: str) -> None: ...

    def end(self, tag: str) -> None: ...


def _parse(archive: zipfile.ZipFile, part: str, handler: _Handler) -> None:
    """Reads a file of the archive block by block; `expat` limits what entities can make of it."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = lambda tag, attributes: handler.start(_local(tag), attributes)
    parser.CharacterDataHandler = handler.text
    parser.EndElementHandler = lambda tag: handler.end(_local(tag))
    with archive.open(part) as content:
        parser.ParseFile(content)


def _local(name: str) -> str:
    return name.rpartition(":")[2]


class _Tags:
    """The attributes of all tags of a name."""

    def __init__(self, name: str) -> None:
        self.found: list[dict[str, str]] = []
        self._name = name

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == self._name:
            self.found.append(attributes)

    def text(self, data: str) -> None: ...

    def end(self, tag: str) -> None: ...


class _Cells:
    """Faults of a sheet, by row."""

    def __init__(self) -> None:
        self.faults: dict[int, list[Fault]] = {}
        self._said = ""

    def text(self, data: str) -> None:
        self._said += data

    def add(self, row: int, column: int, error: str) -> None:
        """An error that stands in a cell; without one a formula that has no result."""
        fault = (
            Fault(
                "error_cell", f"The cell holds the error {error}.", "Mend its formula, or empty the cell.", cell=error
            )
            if error
            else Fault(
                "formula_without_result",
                "The cell has a formula whose result is not in the file.",
                "Open the table in a spreadsheet and save it.",
            )
        )
        self.faults.setdefault(row, []).append(fault._replace(row=row, letter=letter_of(column)))


class _XlsxCells(_Cells):
    """ECMA-376, 18.3.1.4: a `c` with `t="e"` is an error, one with `f` and nothing in `v` was never computed."""

    def __init__(self) -> None:
        super().__init__()
        self._row = self._column = 0
        self._type = ""
        self._formula = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "c":
            match = _PLACE.match(attributes.get("r", ""))
            self._column = _index_of(match[1]) if match else self._column + 1
            self._type, self._formula, self._said = attributes.get("t", ""), False, ""
        elif tag == "row":
            self._row = int(attributes.get("r", self._row + 1))
            self._column = -1
        elif tag == "f":
            self._formula = True
        elif tag in {"v", "is"}:
            self._said = ""

    def end(self, tag: str) -> None:
        if tag == "f":
            self._said = ""
        elif tag == "c" and self._type == "e":
            self.add(self._row, self._column, self._said or "of the spreadsheet")
        elif tag == "c" and self._formula and not self._said and self._type != "str":
            self.add(self._row, self._column, "")


class _OdsCells(_Cells):
    """OpenDocument 1.3, 9.1: LibreOffice marks errors by `calcext:value-type`; other programs by the text alone."""

    def __init__(self, index: int) -> None:
        super().__init__()
        self._sheet = index + 1
        """Counts down to the sheet that is read, 0."""
        self._row, self._column, self._rows, self._columns = 0, 0, 1, 0
        self._type: str | None = None
        self._formula = self._is_error = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "table":
            self._sheet -= 1
        elif tag == "table-row":
            self._row += self._rows
            self._rows, self._column, self._columns = int(attributes.get("table:number-rows-repeated", 1)), 0, 0
        elif tag in _ODS_CELLS:
            self._column += self._columns
            self._columns = int(attributes.get("table:number-columns-repeated", 1))
            self._type = attributes.get("office:value-type")
            self._formula = "table:formula" in attributes
            self._is_error = attributes.get("calcext:value-type") == "error"
            self._said = ""

    def end(self, tag: str) -> None:
        if self._sheet or tag not in _ODS_CELLS:
            return
        if self._is_error or (self._formula and ERROR.match(self._said)):
            self.add(self._row, self._column, self._said or "of the spreadsheet")
        elif self._formula and self._type is None:
            self.add(self._row, self._column, "")


def _index_of(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number - 1
