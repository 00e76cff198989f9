"""Refused rows, in the form they came in: mended, they are read as the table was."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from inlake.client.tables import Fault, Layout, Rejects, open_table
from tests.unit.client.tables.workbooks import xlsx

FAULT = Fault("wrong_type", "'c. 1890' is no number.", "Mend it.", 2, "Jahr", "B", "c. 1890", "/year")


def refuse_all(file: io.BytesIO, path: Path, layout: Layout | None = None) -> None:
    with open_table(file, layout) as table, Rejects(path, table.layout, table.header) as rejects:
        for row in table:
            rejects.write(row, [FAULT, *row.faults])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "mac_roman"])
def test_rows_keep_their_delimiter_encoding_and_cells(encoding: str, tmp_path: Path) -> None:
    text = 'Titel;Jahr\r\n"Größe; ""A""\r\nb";c. 1890\r\n'
    path = tmp_path / "rejects.csv"
    refuse_all(io.BytesIO(text.encode(encoding)), path, Layout(encoding=encoding))
    with open_table(path, Layout(encoding=encoding)) as again:
        assert [column.name for column in again.columns] == ["Titel", "Jahr"]
        assert [row.cells[1:] for row in again] == [('Größe; "A"\r\nb', "c. 1890")]
        assert again.layout.delimiter == ";"
    assert "'c. 1890' is no number. Mend it." in path.read_bytes().decode(encoding)


def test_a_row_that_is_wrong_in_itself_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    refuse_all(io.BytesIO(b"a,b\n1\n1,2,3\nMus\xe9e,x\n"), path, Layout(encoding="utf-8"))
    lines = path.read_bytes().splitlines()
    assert [line[-len(end) :] for line, end in zip(lines[1:], (b",1", b",1,2,3", b",Mus\xe9e,x"), strict=True)] == [
        *(b",1", b",1,2,3", b",Mus\xe9e,x")
    ]


def test_a_reason_that_the_encoding_cannot_write_is_written_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    with (
        open_table(io.BytesIO(b"a,b\n1,2\n"), Layout(encoding="cp1252")) as table,
        Rejects(path, table.layout, table.header) as rejects,
    ):
        for row in table:
            rejects.write(row, [Fault("c", "Not Ł.")])
    assert path.read_bytes().splitlines()[1].endswith(b".,1,2")


def test_quotes_that_are_characters_as_any_other_stay_so(tmp_path: Path) -> None:
    path, layout = tmp_path / "rejects.csv", Layout(encoding="utf-8", delimiter=",", quotes=False)
    with (
        open_table(io.BytesIO(b'a,b\n5" nail,"x"\n'), layout) as table,
        Rejects(path, table.layout, table.header) as rejects,
    ):
        for row in table:
            rejects.write(row, [Fault("c", "It is wrong, and\nso on.")])
    with open_table(path, layout) as again:
        assert [row.cells[1:] for row in again] == [('5" nail', '"x"')]
    assert b"It is wrong  and so on." in path.read_bytes()


def test_rows_of_a_workbook_become_csv_that_excel_reads(tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    refuse_all(xlsx(["Titel", "Jahr"], ["Größe", 1890.0]), path)
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    with open_table(path) as again:
        assert [row.cells[1:] for row in again] == [("Größe", "1890")]


def test_lines_of_json_are_kept_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "rejects.ndjson"
    refuse_all(io.BytesIO(b'{"a": 1.50}\n{"b"\n'), path, Layout(format="ndjson"))
    assert path.read_bytes() == b'{"a": 1.50}\n{"b"\n'
