"""From a museum's table to events: a schema drafted, a map drafted, every row in or refused by its cell."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inlake.client import Client
from inlake.client.tables import Plan, open_table, read_map, read_shape
from tests.command import Served, serving
from tests.gateways import NOTE

TABLES = Path(__file__).parents[1] / "data" / "tables"
SUFFIXES = {"avro": "avsc", "protobuf": "proto", "jsonschema": "json"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as found:
        (found.folder / "note.avsc").write_text(json.dumps(NOTE))
        assert found.inlake("schemas", "add", "note", "note.avsc").returncode == 0
        yield found


def receipts(served: Served, schema: str, table: Path, map_: Path) -> list[dict[str, Any]]:
    """What the gateway says of each row, made into a record by what it told of the schema."""
    with Client(served.url) as client, open_table(table) as opened:
        plan = Plan(opened.columns, read_shape(client.schema(schema)), read_map(map_))
        lines = [converted.text for row in opened if not row.faults and (converted := plan.convert(row)).text]
        *found, summary = client.send_records(schema, [line for line in lines if line])
    assert summary["summary"]["accepted"] == len(found) == len(lines)
    return found


@pytest.mark.parametrize(
    ("name", "language", "rows"),
    [
        ("moma_heads.csv", "avro", 65),
        ("cmoa_objects_semicolon_bom.csv", "protobuf", 500),
        ("cmoa_objects_semicolon_bom.csv", "jsonschema", 500),
        ("linked_art_links.tsv", "avro", 11),
        ("cmoa_teenie_macroman.csv", "avro", 3),
    ],
)
def test_a_real_table_goes_in_by_the_schema_and_the_map_drafted_from_it(
    served: Served, name: str, language: str, rows: int
) -> None:
    schema = f"{Path(name).stem}.{language}"
    drafted = served.inlake("schemas", "infer", TABLES / name, "--language", language, "--name", schema)
    assert drafted.returncode == 0, drafted.stderr
    file = served.folder / f"{schema}.{SUFFIXES[language]}"
    file.write_text(drafted.stdout)
    added = served.inlake("schemas", "add", schema, file)
    assert added.returncode == 0, added.stderr
    map_ = served.folder / f"{schema}.toml"
    mapped = served.inlake("map", schema, TABLES / name, "--output", map_, "--url", served.url)
    assert mapped.returncode == 0, mapped.stderr
    assert len(receipts(served, schema, TABLES / name, map_)) == rows


def test_a_map_is_printed_or_written_to_a_file_that_is_not_there(served: Served) -> None:
    table = b"Title;YEAR;Notes\nx;c. 1890;y\n"
    options = ("map", "note", "-", "--url", served.url)
    printed = served.inlake(*options, stdin=table)
    assert printed.returncode == 0, printed.stderr
    assert '"Title" = "/title"  # text, required' in printed.stdout
    assert "# Row 2: 'c. 1890' is no number." in printed.stdout
    assert 'ignore = ["Notes"]' in printed.stdout
    assert "delimiter semicolon" in printed.stderr
    path = served.folder / "note.toml"
    assert served.inlake(*options, "--output", path, stdin=table).returncode == 0
    assert path.read_text() == printed.stdout
    again = served.inlake(*options, "--output", path, stdin=table)
    assert again.returncode == 2
    assert "note.toml: File exists." in again.stderr


def test_a_map_for_a_schema_that_is_not_there_is_refused(served: Served) -> None:
    done = served.inlake("map", "nothing", "-", "--url", served.url, stdin=b"a,b\n1,2\n")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing" in done.stderr
