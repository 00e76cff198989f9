"""`inlake schemas infer`: what it prints is a schema, what it found in the table stands on stderr."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from inlake.cli.app import build

TABLES = Path(__file__).parents[3] / "data" / "tables"


def run(*arguments: str, stdin: bytes | None = None) -> tuple[int, str, str]:
    done = CliRunner().invoke(build(), ["schemas", "infer", *arguments], input=stdin)
    return done.exit_code, done.stdout, done.stderr


def test_a_schema_is_printed_and_what_was_found_is_said_beside_it() -> None:
    code, out, said = run(str(TABLES / "cmoa_objects_semicolon_bom.csv"), "--language", "jsonschema")
    assert code == 0
    assert json.loads(out)["title"] == "cmoa_objects_semicolon_bom"
    assert "delimiter semicolon, names in row 1." in said


def test_a_table_may_come_from_stdin_and_be_described_by_options() -> None:
    table = "x\nGröße~a\n1~2\n".encode("cp1252")
    options = ("--delimiter", "~", "--encoding", "cp1252", "--header", "2", "--name", "m.Thing")
    code, out, _ = run("-", *options, stdin=table)
    assert code == 0
    assert [field["name"] for field in json.loads(out)["fields"]] == ["Gr_e", "a", "__resource_path__"]


@pytest.mark.parametrize("delimiter", ["tab", "\\t"])
def test_a_tab_can_be_named(delimiter: str) -> None:
    code, out, _ = run("-", "--delimiter", delimiter, stdin=b"a,b\tc\n1,2\t3\n")
    assert code == 0
    assert len(json.loads(out)["fields"]) == 3


def test_a_table_that_cannot_be_read_ends_with_its_faults() -> None:
    code, out, said = run("-", stdin=b"a,a\n1,2\n")
    assert (code, out) == (2, "")
    assert "row 1, column B (a): Columns A and B have the same name." in said
    assert run("-", stdin=b'{"a": 1}\n')[0] == 2
    assert run("no/such.csv")[0] == 2
