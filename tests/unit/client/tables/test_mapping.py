"""A map file: what it says, and every key that is wrong named at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from inlake.client.tables import Layout, TableError, read_map

WHOLE = """
file = "image"
ignore = ["No  tes"]
decimal_comma = true
null = ["n/a", "-"]
date = "DD.MM.YYYY"

[table]
encoding = "cp1252"
delimiter = ";"
header = 3
ignore_unnamed = true

[columns]
"Main  Title" = "/title"
Keywords = { to = "/subjects", split = ";", decimal_comma = false }

[constants]
"/source" = "CMOA"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "map.toml"


def test_a_column_says_only_what_is_different(path: Path) -> None:
    path.write_text(WHOLE)
    read = read_map(path)
    assert (read.file, read.ignore, read.constants) == ("image", frozenset({"No tes"}), {"/source": "CMOA"})
    assert read.layout == Layout(encoding="cp1252", delimiter=";", header=3, ignore_unnamed=True)
    assert read.columns["Main Title"].pointers == ("/title",)
    assert read.columns["Main Title"].rules == read.rules
    keywords = read.columns["Keywords"].rules
    assert (keywords.split, keywords.decimal_comma, keywords.null) == (";", False, frozenset({"n/a", "-"}))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("decimal_coma = true", "decimal_coma"),
        ("decimal_comma = 1", "decimal_comma"),
        ('null = "x"', "null"),
        ('date = "MM.YYYY"', "date"),
        ('date = "DD.MM.YY"', "date"),
        ('zone = "CET"', "zone"),
        ("[table]\nheader = true", "table.header"),
        ('[table]\nsep = ";"', "table.sep"),
        ('[columns]\na = "title"', "columns.a"),
        ("[columns]\na = {split = ';'}", "columns.a"),
        ('[columns]\na = {to = "/a", splt = ";"}', "columns.a.splt"),
        ("[constants]\nsource = 1", "constants.source"),
        ("columns = 1", "columns"),
        ("file = 1", "file"),
    ],
)
def test_a_key_that_is_wrong_is_named(path: Path, text: str, key: str) -> None:
    path.write_text(text)
    with pytest.raises(TableError) as refused:
        read_map(path)
    assert f": {key}" in refused.value.faults[0].detail
    assert str(path) in refused.value.faults[0].detail


def test_all_that_is_wrong_is_said_at_once(path: Path) -> None:
    path.write_text('nul = []\n[columns]\na = "x"\nb = "y"')
    with pytest.raises(TableError) as refused:
        read_map(path)
    assert len(refused.value.faults) == 3


def test_what_is_no_toml_is_said_with_its_line(path: Path) -> None:
    path.write_text("a = \n")
    with pytest.raises(TableError, match="line 1"):
        read_map(path)
