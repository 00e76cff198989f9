"""A JSON text is mended at one place, and stays what it was everywhere else."""

from __future__ import annotations

import json
import time

import pytest

from inlake.client.mending import MOST_READ, as_json, meant, set_values, without_member


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
    assert set_values(text, [pointer], value) == mended


@pytest.mark.parametrize(
    ("text", "pointer"),
    [('{"a": 1}', "a"), ('{"a": 1}', "/b/c"), ('{"a": 1}', "/a/b"), ("[1]", "/2"), ('{"a": ', "/a"), ('{"a" 1}', "/a")],
)
def test_a_place_that_is_not_there_is_said(text: str, pointer: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        set_values(text, [pointer], "1")


@pytest.mark.parametrize(("typed", "value"), [("7", 7), ("null", None), ('"7"', "7"), ("1889?", "1889?"), ("", "")])
def test_what_is_typed_is_json_or_text(typed: str, value: object) -> None:
    assert json.loads(as_json(typed)) == value


def test_many_values_change_as_one_after_the_other() -> None:
    text = '{"a": [1, {"b": 2}, 3], "c": {"d": 4}, "e": [ ]}'
    pointers = ["/e/0", "/a/2", "/a/1/b", "/a/-", "/c/f", "/c/d", "/a/1/g"]
    expected = text
    for pointer in pointers:
        expected = set_values(expected, [pointer], '"x"')
    assert set_values(text, pointers, '"x"') == expected
    assert set_values(text, ["/a/0", "/a/0"], "0") == set_values(text, ["/a/0"], "0")


def test_a_hundred_places_are_set_about_as_fast_as_one() -> None:
    text = json.dumps({"tags": ["a"] * 20_000})

    def seconds(places: int) -> float:
        begin = time.process_time()
        set_values(text, [f"/tags/{n}" for n in range(places)], "1")
        return time.process_time() - begin

    assert min(seconds(100) for _ in range(3)) < 10 * min(seconds(1) for _ in range(3))


@pytest.mark.parametrize(
    ("text", "pointer", "value"),
    [
        ('{"a": 1}', "/a", "[" * 100_000),
        ("[" * 100_000, "/0", "1"),
        ('{"a": "' + "x" * 1_000_000 + '"}', "/a" * (MOST_READ // 1_000_000 + 1), "1"),
    ],
    ids=["value", "text", "work"],
)
def test_what_is_nested_too_deep_is_said(text: str, pointer: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"nested too deep|not JSON|place that deep"):
        set_values(text, [pointer], value)
    assert json.loads(as_json("[" * 100_000)) == "[" * 100_000


def test_a_star_means_each_place_that_is_wrong() -> None:
    wrong = ["/makers/0/role", "/makers/12/role", "/makers/0/role", "/makers/0/name", "/0"]
    assert meant("/makers/*/role", wrong) == ["/makers/0/role", "/makers/12/role"]
    assert meant("/*", wrong) == ["/0"]
    assert meant("/makers/0/role", wrong) == ["/makers/0/role"]
    assert meant("/makers/*/born", wrong) == ["/makers/*/born"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('{"file": "a", "b": 1.10}', '{ "b": 1.10}'),
        ('{ "b" : 1.10 , "file":"a"}', '{ "b" : 1.10}'),
        ('{"b": [{"file": 1}],"file": {"x": ["y"]}, "c": 2 }', '{"b": [{"file": 1}], "c": 2 }'),
        (' {"file": "a" } ', " {} "),
        ('{"file": 1, "b": 2, "file": 3}', '{ "b": 2}'),
        ('{"b": 2}', '{"b": 2}'),
    ],
)
def test_a_member_is_taken_out_and_the_rest_stays(text: str, left: str) -> None:
    assert without_member(text, "file") == left
