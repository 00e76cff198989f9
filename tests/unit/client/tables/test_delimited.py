"""Text with delimiters: cells as the csv module reads them where a table is right, a fault with its place where not."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inlake.client.tables import Fault, Layout, Row, TableError, open_table
from inlake.client.tables.delimited import LONGEST, RETRIES

TABLES = Path(__file__).parents[3] / "data" / "tables"


def read(text: str | bytes, layout: Layout | None = None) -> list[Row]:
    data = text.encode() if isinstance(text, str) else text
    with open_table(io.BytesIO(data), layout) as table:
        return list(table)


def cells(text: str | bytes, layout: Layout | None = None) -> list[tuple[object, ...]]:
    return [row.cells for row in read(text, layout)]


def fault(text: str | bytes, layout: Layout | None = None) -> Fault:
    """The one fault of a table."""
    (found,) = [fault for row in read(text, layout) for fault in row.faults]
    return found


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_cells_with_quotes_delimiters_and_line_breaks_are_read(end: str) -> None:
    text = f'a,b{end}1,"x, ""y""{end}z"{end}2,{end}'
    rows = read(text)
    assert [row.cells for row in rows] == [("1", f'x, "y"{end}z'), ("2", "")]
    assert [(row.number, row.line) for row in rows] == [(2, 2), (3, 4)]


def test_a_quote_inside_of_a_cell_is_a_character() -> None:
    assert cells('a,b\n6" nail,7\n') == [('6" nail', "7")]


def test_quotes_can_be_characters_everywhere() -> None:
    layout = Layout(quotes=False, delimiter="\t")
    assert cells('a\tb\n"Nail" 6\t"open\n', layout) == [('"Nail" 6', '"open')]


def test_blank_rows_are_counted_and_not_read() -> None:
    assert [row.number for row in read("a,b\n1,2\n\n,\n3,4\n")] == [2, 5]


@given(
    st.lists(
        st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), min_size=2, max_size=2),
        max_size=6,
    ),
    st.sampled_from([",", ";", "\t", "|", "~"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_the_csv_module_writes_is_read_back(rows: list[list[str]], delimiter: str, end: str) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
    read_back = cells(file.getvalue(), Layout(delimiter=delimiter, encoding="utf-8", header=1))
    assert read_back == [tuple(row) for row in rows if any(row)]


@given(st.lists(st.sampled_from(["a", " ", '"', '""', ",", "\n", "\r\n", "b"]), max_size=20).map("".join))
def test_no_text_makes_the_reader_fail_or_lose_a_line(text: str) -> None:
    rows = read("x,y\n" + text, Layout(delimiter=",", header=1, encoding="utf-8"))
    assert "".join(sorted("".join(map(str, (cell for row in rows for cell in row.cells if cell))))).count(
        "b"
    ) == text.count("b")


def test_a_cut_row_is_named_with_the_column_that_is_missing() -> None:
    found = fault("a,b,c\n1,2,3\n4,5\n")
    assert (found.code, found.row, found.letter, found.column) == ("cut_row", 3, "C", "c")


def test_a_row_that_is_too_long_is_named_with_what_stands_behind_its_end() -> None:
    found = fault("a,b\n1,2,3\n4,5,\n")
    assert (found.code, found.row, found.letter, found.cell) == ("long_row", 2, "C", "3")


def test_a_column_without_a_name_may_be_empty_and_nothing_else() -> None:
    found = fault("a,,c\n1,,3\n4,5,6\n")
    assert (found.code, found.row, found.letter, found.cell) == ("unnamed_column", 3, "B", "5")


def test_columns_of_one_name_are_all_named_before_a_row_is_read() -> None:
    with pytest.raises(TableError) as refused:
        open_table(io.BytesIO(b"a,b,a,b\n1,2,3,4\n"))
    assert [(f.code, f.row, f.letter, f.column) for f in refused.value.faults] == [
        ("equal_columns", 1, "C", "a"),
        ("equal_columns", 1, "D", "b"),
    ]


def test_a_quote_that_is_not_closed_is_found_where_it_opens_and_the_rows_behind_it_are_read() -> None:
    rows = read('a,b,c\n1,"x,2\n3,y,4\n5,z,6\n')
    (found,) = rows[0].faults
    assert (found.code, found.row, found.letter, found.column) == ("unclosed_quote", 2, "B", "b")
    assert [row.cells for row in rows[1:]] == [("3", "y", "4"), ("5", "z", "6")]


def test_a_quote_that_a_later_one_closes_is_found_by_what_stands_behind_that() -> None:
    rows = read('a,b\n1,"x\n2,y\n3,"z"\n4,w\n')
    (found,) = rows[0].faults
    assert (found.code, found.row, found.letter) == ("text_behind_quote", 2, "B")
    assert "'z\"'" in found.detail
    assert [row.cells for row in rows[1:]] == [("2", "y"), ("3", "z"), ("4", "w")]


def test_text_behind_a_closing_quote_is_a_fault() -> None:
    found = fault('a,b\n"x" y,2\n')
    assert (found.code, found.row, found.letter) == ("text_behind_quote", 2, "A")


def test_a_blank_before_a_quote_is_a_fault() -> None:
    found = fault('a,b\n1, "x, y"\n')
    assert (found.code, found.row, found.letter) == ("blank_before_quote", 2, "B")


def test_a_quote_that_is_not_closed_takes_no_more_memory_than_a_cell_may() -> None:
    text = 'a,b\n1,"x\n' + "2,y\n" * (LONGEST // 2)
    rows = read(text)
    assert rows[0].faults[0].code == "unclosed_quote"
    assert len(rows) == LONGEST // 2 + 1


def test_a_table_full_of_quotes_that_are_not_closed_is_given_up() -> None:
    rows = read("a,b\n" + '1," "x\n' * (RETRIES * 3), Layout(delimiter=",", header=1))
    assert len(rows) == RETRIES + 1
    assert "the rest is not read" in rows[-1].faults[0].advice


def test_a_nul_is_a_fault_of_its_cell() -> None:
    found = fault("a,b\n1,x\0y\n", Layout(encoding="utf-8"))
    assert (found.code, found.row, found.letter, found.column) == ("nul", 2, "B", "b")


def test_bytes_that_are_no_characters_are_named_with_position_and_with_what_would_do() -> None:
    data = b"a,b\n1,Mus\xe9e\n2,Caf\xe9 \xe8\n"
    faults = [f for row in read(data, Layout(encoding="utf-8")) for f in row.faults]
    assert [(f.code, f.row, f.letter) for f in faults] == [("undecodable", 2, "B"), ("undecodable", 3, "B")]
    assert f"Byte {data.index(0xE9)} " in faults[0].detail
    assert f"Byte {data.index(0xE9, 12)} " in faults[1].detail
    assert "cp1252" in faults[0].advice


def test_each_cell_with_such_bytes_has_its_own_position() -> None:
    data = "é,b\n".encode() + b'"x\ny\xe9","\xe8"\n'
    faults = [f for row in read(data, Layout(encoding="utf-8")) for f in row.faults]
    assert [f.detail.split()[1] for f in faults] == [str(data.index(0xE9)), str(data.index(0xE8))]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(delimiter: str) -> None:
    text = "\n".join(delimiter.join(row) for row in (["a", "b", "c"], ["1, 2", "x|y", "3"], ["4,5", "6", "7;8"]))
    text = text if delimiter in ";\t" else text.replace("1, 2", "1").replace("4,5", "4").replace("x|y", "x")
    with open_table(io.BytesIO(text.encode())) as table:
        assert table.layout.delimiter == delimiter
        assert [column.name for column in table.columns] == ["a", "b", "c"]


def test_a_table_of_one_column_may_have_commas_in_it() -> None:
    with open_table(io.BytesIO(b"Title\nLilies, white\nHarbour\nSea\n")) as table:
        assert table.layout.notes == ("The table has one column.",)
        assert [row.cells for row in table] == [("Lilies, white",), ("Harbour",), ("Sea",)]


def test_a_delimiter_of_any_kind_can_be_set() -> None:
    assert cells("a~b\n1~2\n", Layout(delimiter="~")) == [("1", "2")]


@pytest.mark.parametrize("layout", [Layout(delimiter="~~"), Layout(delimiter='"'), Layout(encoding="klingon")])
def test_a_layout_that_cannot_be_is_refused(layout: Layout) -> None:
    with pytest.raises(TableError) as refused:
        read("a,b\n1,2\n", layout)
    assert refused.value.faults[0].code == "bad_layout"


def test_the_line_that_excel_reads_its_delimiter_from_is_no_row() -> None:
    with open_table(io.BytesIO(b"sep=|\r\na|b\r\n1,5|2\r\n")) as table:
        assert table.layout.delimiter == "|"
        assert [row.cells for row in table] == [("1,5", "2")]


def test_titles_above_the_header_are_passed_over_and_said() -> None:
    with open_table(io.BytesIO(b"Export of 2024\n\nid,title\n1,x\n")) as table:
        assert table.layout.header == 3
        assert "Row 3" in table.layout.notes[0]
        assert [(row.number, row.cells) for row in table] == [(4, ("1", "x"))]


def test_the_header_can_be_set() -> None:
    assert cells("a,b\nc,d\n1,2\n", Layout(header=2)) == [("1", "2")]
    with pytest.raises(TableError) as refused:
        read("a,b\n1,2\n", Layout(header=7))
    assert refused.value.faults[0].code == "no_header"


def test_a_column_of_reasons_is_none_of_the_table() -> None:
    with open_table(io.BytesIO(b"a,inlake_reason\n1,because\n")) as table:
        assert [column.name for column in table.columns] == ["a"]
        assert [row.faults for row in table] == [()]


@pytest.mark.parametrize("name", ["moma_heads.csv", "cmoa_objects_semicolon_bom.csv", "linked_art_links.tsv"])
def test_a_real_table_is_read_as_the_csv_module_reads_it(name: str) -> None:
    with open_table(TABLES / name) as table:
        rows = list(table)
        delimiter = table.layout.delimiter or ""
    text = (TABLES / name).read_bytes().decode("utf-8-sig")
    header, *expected = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    assert [column.name for column in table.columns] == [" ".join(name.split()) for name in header]
    assert [list(row.cells) for row in rows] == [row for row in expected if any(row)]
    assert not any(row.faults for row in rows)


def test_columns_without_a_name_can_be_left_unread() -> None:
    with open_table(TABLES / "cmoa_teenie.csv", Layout(ignore_unnamed=True)) as table:
        assert [row.faults for row in table] == [()] * 9


def test_a_real_table_with_columns_without_a_name_is_refused_where_they_hold_something() -> None:
    with open_table(TABLES / "cmoa_teenie.csv") as table:
        rows = list(table)
    wrong = {row.number: {fault.code for fault in row.faults} for row in rows if row.faults}
    assert len(rows) == 9
    assert set().union(*wrong.values()) == {"unnamed_column"}
    first = next(fault for row in rows for fault in row.faults)
    assert (first.letter, first.cell) == ("P", " Levi Williams")
