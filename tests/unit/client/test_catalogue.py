"""A row of a table finds its file, and facts of that may stand in its record."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from inlake.client.catalogue import Catalogue
from inlake.client.tables import Field, Shape, TableError, open_table, read_map

FIELDS = (
    Field("title", "text", required=True),
    Field("bytes", "integer"),
    Field("digest", "text"),
    Field("uri", "text"),
)
SHAPE = Shape("scan", 1, "AVRO", Field("", "record", required=True, fields=FIELDS), resource_field="uri")


def items(folder: Path, table: str, map_: str) -> dict[str, tuple[object, list[str]]]:
    """Each record, and what is wrong, by the name of the item."""
    (folder / "table.csv").write_text(table)
    (folder / "map.toml").write_text(map_)
    with open_table(folder / "table.csv") as opened:
        found = Catalogue(SHAPE, opened, read_map(folder / "map.toml")).items([str(folder / "scans")])
    return {
        item.name: (json.loads(item.record) if item.record else None, [fault.sentence for fault in item.faults])
        for item in found
    }


def test_a_map_puts_facts_of_the_file_beside_the_columns_of_a_table(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    (scans / "box").mkdir(parents=True)
    (scans / "box" / "a.txt").write_bytes(b"first")
    (scans / "b.txt").write_bytes(b"")
    table = "title,file\nA,a.txt\nB,b.txt\nC,absent.txt\n"
    found = items(tmp_path, table, '[columns]\n"file.size" = "/bytes"\n"file.sha256" = "/digest"\n')
    assert found == {
        "box/a.txt": ({"title": "A", "bytes": 5, "digest": hashlib.sha256(b"first").hexdigest()}, []),
        "b.txt": ({"title": "B", "bytes": 0, "digest": hashlib.sha256(b"").hexdigest()}, []),
        "absent.txt": (None, ["row 4: There is no file absent.txt, which this row names."]),
    }


def test_a_column_of_the_table_comes_before_a_fact_of_its_name(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.txt").write_bytes(b"first")
    found = items(tmp_path, "title,file.size,file\nA,7,a.txt\n", '[columns]\n"file.size" = "/bytes"\n')
    assert found["a.txt"] == ({"title": "A", "bytes": 7}, [])


def test_what_is_no_fact_is_named(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    with pytest.raises(TableError, match=r"a column that the table does not have: file\.colour"):
        items(tmp_path, "title,file\nA,a.txt\n", '[columns]\n"file.colour" = "/bytes"\n')


def of_lines(folder: Path, lines: str, column: str | None = None) -> dict[str, tuple[bytes | None, list[str]]]:
    """The text of each record, and what is wrong, by the name of the item."""
    (folder / "table.ndjson").write_text(lines)
    with open_table(folder / "table.ndjson") as opened:
        found = Catalogue(SHAPE, opened, column=column).items([str(folder / "scans")])
    return {item.name: (item.record, [fault.sentence for fault in item.faults]) for item in found}


def test_lines_of_json_name_their_files_and_stay_as_they_are_written(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    for name in "a.txt", "b.txt", "c.txt":
        (tmp_path / "scans" / name).write_bytes(b"")
    lines = (
        '{"title": "A", "bytes": 1.0e2, "file": "a.txt"}\n\n{"File": "b.txt", "title": "B"}\n{"title": "C"}\n[]\n{"file'
    )
    found = of_lines(tmp_path, lines)
    assert [found["a.txt"], found["b.txt"]] == [(b'{"title": "A", "bytes": 1.0e2}', []), (b'{ "title": "B"}', [])]
    assert found["c.txt"] == (None, ["No row of the table names this file."])
    for row in 4, 5, 6:
        record, sentences = found[f"row {row}"]
        assert record is None
        assert sentences[0].startswith(f"row {row}: The line is no JSON object with a member ")


def test_a_field_of_the_schema_that_names_the_file_stays_in_the_record(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.txt").write_bytes(b"")
    assert of_lines(tmp_path, '{"title": "a.txt"}\n', "title") == {"a.txt": (b'{"title": "a.txt"}', [])}


def test_a_map_for_lines_of_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.ndjson").write_text('{"title": "A", "file": "a.txt"}\n')
    (tmp_path / "map.toml").write_text('[constants]\n"/title" = "B"\n')
    with open_table(tmp_path / "table.ndjson") as opened, pytest.raises(TableError, match="a map places no columns"):
        Catalogue(SHAPE, opened, read_map(tmp_path / "map.toml"))
