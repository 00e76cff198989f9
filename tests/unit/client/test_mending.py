"""A JSON text is mended at one place, and stays what it was everywhere else."""

from __future__ import annotations

import json

import pytest

from inlake.client.mending import as_json, set_value


@pytest.mark.parametrize(
    ("text", "pointer", "value", "mended"),
    [
        ('{"a": 1.10,  "b":2}', "/b", '"x"', '{"a": 1.10,  "b":"x"}'),
        ('{"a": [1, {"b": null}] }', "/a/1/b", "7", '{"a": [1, {"b": 7}] }'),
        ('{"a": 1}', "/b", "[]", '{"a": 1, "b": []}'),
        ("{ }", "/b", "0", '{"b": 0 }'),
        ("[1 ,2]", "/-", "3", "[1 ,2, 3]"),
        ("[1]", "/1", "3", "[1, 3]"),
        ('{"a/b": {"c~d": 1}}', "/a~1b/c~0d", "2", '{"a/b": {"c~d": 2}}'),
        ('{"a": 1, "a": 2}', "/a", "3", '{"a": 1, "a": 3}'),
        (' {"a": "x\\"}"} ', "/a", "1", ' {"a": 1} '),
        ("17", "", "18", "18"),
        ('{"n": 12345678901234567890.123456789}', "/é", '"ü"', '{"n": 12345678901234567890.123456789, "é": "ü"}'),
    ],
)
def test_one_value_changes_and_nothing_else(text: str, pointer: str, value: str, mended: str) -> None:
    assert set_value(text, pointer, value) == mended


@pytest.mark.parametrize(
    ("text", "pointer"),
    [('{"a": 1}', "a"), ('{"a": 1}', "/b/c"), ('{"a": 1}', "/a/b"), ("[1]", "/2"), ('{"a": ', "/a"), ('{"a" 1}', "/a")],
)
def test_a_place_that_is_not_there_is_said(text: str, pointer: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        set_value(text, pointer, "1")


@pytest.mark.parametrize(("typed", "value"), [("7", 7), ("null", None), ('"7"', "7"), ("1889?", "1889?"), ("", "")])
def test_what_is_typed_is_json_or_text(typed: str, value: object) -> None:
    assert json.loads(as_json(typed)) == value
