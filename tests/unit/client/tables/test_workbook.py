"""XLSX and ODS: typed cells, the sheet with the table, and nothing that a reader passes over in silence."""

from __future__ import annotations

import datetime as dt
import io
from pathlib import Path
from typing import Any

import pytest

from inlake.client.tables import Layout, TableError, open_table
from tests.unit.client.tables.workbooks import ods, ods_error, ods_row, ods_text, ods_typed, xlsx


def refused(file: io.BytesIO, layout: Layout | None = None) -> str:
    with pytest.raises(TableError) as found:
        open_table(file, layout)
    assert found.value.faults[0].advice
    return found.value.faults[0].code


def test_cells_of_xlsx_have_their_types() -> None:
    day, moment, time = dt.date(1999, 12, 31), dt.datetime.fromisoformat("2020-02-03 04:05:06"), dt.time(10, 30)
    with open_table(xlsx(["a", "b", "c", "d", "e", "f", "g"], ["007", 7, 1.5, True, day, moment, time])) as table:
        assert table.layout.sentence() == "XLSX, sheet Objects, names in row 1"
        assert [row.cells for row in table] == [("007", 7, 1.5, True, day, moment, time)]


def test_cells_of_ods_have_their_types() -> None:
    head = ods_row(*map(ods_text, "abcd"))
    row = ods_row(
        ods_text("007"),
        ods_typed("float", value="7"),
        ods_typed("boolean", boolean_value="true"),
        ods_typed("date", date_value="1999-12-31"),
    )
    with open_table(ods(head, row)) as table:
        assert table.layout.format == "ods"
        assert [one.cells for one in table] == [("007", 7, True, dt.date(1999, 12, 31))]


def test_rows_and_columns_are_counted_as_the_spreadsheet_does() -> None:
    with open_table(xlsx([], [], [None, "a", "b"], [], [None, 1, 2])) as table:
        assert [(column.name, column.letter) for column in table.columns] == [("a", "B"), ("b", "C")]
        assert [(row.number, row.cells[1:]) for row in table] == [(5, (1, 2))]


def test_an_error_in_a_cell_of_xlsx_is_a_fault_and_not_empty() -> None:
    with open_table(xlsx(["a", "b"], [1, "#REF!"], [3, "#N/A"])) as table:
        faults = [fault for row in table for fault in row.faults]
    assert [(f.code, f.row, f.letter, f.column, f.cell) for f in faults] == [
        ("error_cell", 2, "B", "b", "#REF!"),
        ("error_cell", 3, "B", "b", "#N/A"),
    ]


def test_an_error_in_a_cell_of_ods_is_a_fault_wherever_rows_and_cells_are_repeated() -> None:
    empty = ods_row('<table:table-cell table:number-columns-repeated="2"/>', repeated=3)
    skipped = '<table:table-cell table:number-columns-repeated="1"/>'
    with open_table(ods(ods_row(ods_text("a"), ods_text("b")), empty, ods_row(skipped, ods_error("#DIV/0!")))) as table:
        (fault,) = [fault for row in table for fault in row.faults]
    assert (fault.code, fault.row, fault.letter, fault.cell) == ("error_cell", 5, "B", "#DIV/0!")


def test_a_formula_that_was_never_computed_is_a_fault() -> None:
    with open_table(xlsx(["a", "b"], [1, "=A2+1"])) as table:
        (fault,) = [fault for row in table for fault in row.faults]
    assert (fault.code, fault.row, fault.letter) == ("formula_without_result", 2, "B")


def test_the_first_sheet_that_holds_something_is_read_and_the_others_are_said() -> None:
    def more(book: Any) -> None:
        book.create_sheet("Empty", 0)
        book.create_sheet("Hidden", 0).append(["x"])
        book["Hidden"].sheet_state = "hidden"
        book.create_sheet("Notes").append(["n", "m"])

    with open_table(xlsx(["a", "b"], [1, 2], change=more)) as table:
        assert table.layout.sheet == "Objects"
        assert table.layout.notes == ("Sheets that are not read: Notes.",)
        assert [row.cells for row in table] == [(1, 2)]
    with open_table(xlsx(["a", "b"], [1, "#REF!"], change=more), Layout(sheet="Notes")) as table:
        assert [column.name for column in table.columns] == ["n", "m"]
        assert list(table) == []
    assert refused(xlsx(["a"], change=more), Layout(sheet="Objekte")) == "sheet_missing"
    assert refused(io.BytesIO(b"a,b\n1,2\n"), Layout(sheet="Objekte")) == "bad_layout"


def test_an_error_is_found_in_the_sheet_that_is_read() -> None:
    def more(book: Any) -> None:
        sheet = book.create_sheet("Other", 0)
        sheet.append(["x", "y"])
        sheet.append([1, "#REF!"])

    with open_table(xlsx(["a", "b"], [1, 2], change=more), Layout(sheet="Objects")) as table:
        assert [row.faults for row in table] == [()]


def test_rows_of_a_spreadsheet_end_where_they_like_but_for_cells_behind_the_header() -> None:
    with open_table(xlsx(["a", "b"], [1], [1, 2, 3])) as table:
        rows = list(table)
    assert rows[0].cells == (1, None, None)
    assert not rows[0].faults
    assert [(fault.code, fault.letter, fault.cell) for fault in rows[1].faults] == [("unnamed_column", "C", "3")]


def test_what_is_no_table_is_refused_with_advice(tmp_path: Path) -> None:
    assert refused(io.BytesIO(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512))) == "not_a_table"
    assert refused(io.BytesIO(b"PK\x03\x04" + bytes(100))) == "not_a_table"
    assert refused(io.BytesIO(b"<html><body><table>")) == "not_a_table"
    assert refused(io.BytesIO(b'[\n{"a": 1}]')) == "not_a_table"
    assert refused(io.BytesIO(b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(range(256)) * 4)) == "not_a_table"
    whole = xlsx(["a", "b"], [1, 2]).getvalue()
    assert refused(io.BytesIO(whole[: len(whole) // 2])) == "not_a_table"
    with pytest.raises(TableError) as found:
        open_table(io.BytesIO(b""))
    assert found.value.faults[0].code == "empty_table"


def test_a_table_in_a_folder_may_be_compressed(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n1,2\n"))
    with open_table(path) as table:
        assert [row.cells for row in table] == [("1", "2")]


def test_a_compressed_table_that_is_damaged_is_refused_or_read_as_far_as_it_goes(tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "a.csv.gz"
    path.write_bytes(b"a,b\n1,2\n")
    with pytest.raises(TableError) as found:
        open_table(path)
    assert found.value.faults[0].code == "not_a_table"
    path.write_bytes(gzip.compress(b"a,b\n" + b"".join(b"%d,x\n" % i for i in range(1 << 19)))[:-100_000])
    with pytest.raises(TableError), open_table(path, Layout(encoding="utf-8")) as table:
        list(table)


def test_lines_of_json_are_rows_with_their_record() -> None:
    with open_table(io.BytesIO(b'\xef\xbb\xbf{"a": 1}\n\n{"a": 2}\n')) as table:
        assert (table.layout.format, table.columns) == ("ndjson", ())
        assert [(row.number, row.record) for row in table] == [(1, b'{"a": 1}'), (3, b'{"a": 2}')]
