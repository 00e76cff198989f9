"""Patterns are those of ECMA-262 with the u flag: the table was made by Node's RegExp."""

from __future__ import annotations

import json

import pytest

from inlake.errors import InvalidSchema, RecordRejected
from inlake.formats.json_schema.codec import JsonSchemaCodec
from inlake.formats.json_schema.ecma import NotEcma, translate

TEXTS = [
    "a",
    "b",
    "ab",
    "aa",
    "aab",
    "\xe9",
    "\xe9a",
    "a\xe9",
    "\n",
    "\r",
    "\u2028",
    "\U0001f600",
    "-",
    "0",
    "9",
    "\u0663",
    "K",
    "\u212a",
    "\xa0",
    "\x00",
    "\x08",
    "\u03b1",
    "L",
    "A",
    "]",
]
MATCHES = [  # a pattern, and those of `TEXTS` in which Node finds it
    ('^(?<y>a)\\k<y>$', ['aa']),
    ('(?<y>a)\\k<y>0', []),
    ('^[^]$', ['a', 'b', '\xe9', '\n', '\r', '\u2028', '\U0001f600', '-', '0', '9', '\u0663', 'K', '\u212a', '\xa0', '\x00', '\x08', '\u03b1', 'L', 'A', ']']),
    ('[]', []),
    ('^\\0$', ['\x00']),
    ('\\b\xe9', ['a\xe9']),
    ('\\ba', ['a', 'ab', 'aa', 'aab', '\xe9a', 'a\xe9']),
    ('a\\b', ['a', 'aa', '\xe9a', 'a\xe9']),
    ('\\Ba', ['aa', 'aab']),
    ('^\\B', ['\xe9', '\xe9a', '\n', '\r', '\u2028', '\U0001f600', '-', '\u0663', '\u212a', '\xa0', '\x00', '\x08', '\u03b1', ']']),
    ('^.$', ['a', 'b', '\xe9', '\U0001f600', '-', '0', '9', '\u0663', 'K', '\u212a', '\xa0', '\x00', '\x08', '\u03b1', 'L', 'A', ']']),
    ('^\\ud83d\\ude00$', ['\U0001f600']),
    ('^\\u{1F600}$', ['\U0001f600']),
    ('^[\\ud83d\\ude00]$', ['\U0001f600']),
    ('\\ud83d', []),
    ('[\\ud800-\\udfff]', []),
    ('^[^\\ud800-\\udfff]$', ['a', 'b', '\xe9', '\n', '\r', '\u2028', '\U0001f600', '-', '0', '9', '\u0663', 'K', '\u212a', '\xa0', '\x00', '\x08', '\u03b1', 'L', 'A', ']']),
    ('^[\\ud83d]$', []),
    ('^\\p{L}$', ['a', 'b', '\xe9', 'K', '\u212a', '\u03b1', 'L', 'A']),
    ('^\\P{L}$', ['\n', '\r', '\u2028', '\U0001f600', '-', '0', '9', '\u0663', '\xa0', '\x00', '\x08', ']']),
    ('^\\p{Lu}$', ['K', '\u212a', 'L', 'A']),
    ('^[\\p{Lu}\\d]$', ['0', '9', 'K', '\u212a', 'L', 'A']),
    ('^[^\\p{L}]$', ['\n', '\r', '\u2028', '\U0001f600', '-', '0', '9', '\u0663', '\xa0', '\x00', '\x08', ']']),
    ('^\\p{Script=Greek}$', ['\u03b1']),
    ('^\\p{sc=Grek}$', ['\u03b1']),
    ('^\\p{scx=Greek}$', ['\u03b1']),
    ('^\\p{Letter}$', ['a', 'b', '\xe9', 'K', '\u212a', '\u03b1', 'L', 'A']),
    ('^\\p{gc=Lu}$', ['K', '\u212a', 'L', 'A']),
    ('^\\p{ASCII}$', ['a', 'b', '\n', '\r', '-', '0', '9', 'K', '\x00', '\x08', 'L', 'A', ']']),
    ('^\\p{Any}$', ['a', 'b', '\xe9', '\n', '\r', '\u2028', '\U0001f600', '-', '0', '9', '\u0663', 'K', '\u212a', '\xa0', '\x00', '\x08', '\u03b1', 'L', 'A', ']']),
    ('^\\p{Emoji}$', ['\U0001f600', '0', '9']),
    ('^\\p{White_Space}$', ['\n', '\r', '\u2028', '\xa0']),
    ('^\\p{Alphabetic}$', ['a', 'b', '\xe9', 'K', '\u212a', '\u03b1', 'L', 'A']),
    ('^\\p{Sc}$', []),
    ('^\\cA$', []),
    ('^\\x41$', ['A']),
    ('^\\x1b$', []),
    ('\\/', []),
    ('[\\b]', ['\x08']),
    ('^[\\-]$', ['-']),
    ('(?<=a)b', ['ab', 'aab']),
    ('(?<!a)b', ['b']),
    ('(?<=a|\xe9)a', ['aa', 'aab', '\xe9a']),
    ('a{2}', ['aa', 'aab']),
    ('^a{1,2}$', ['a', 'aa']),
    ('a{2}?', ['aa', 'aab']),
    ('^(?=a)a$', ['a']),
    ('^(?!a).$', ['b', '\xe9', '\U0001f600', '-', '0', '9', '\u0663', 'K', '\u212a', '\xa0', '\x00', '\x08', '\u03b1', 'L', 'A', ']']),
    ('^[a&&b]$', ['a', 'b']),
    ('^[a[b]$', ['a', 'b']),
    ('[a~~b]', ['a', 'b', 'ab', 'aa', 'aab', '\xe9a', 'a\xe9']),
    ('[\\w-]', ['a', 'b', 'ab', 'aa', 'aab', '\xe9a', 'a\xe9', '-', '0', '9', 'K', 'L', 'A']),
    ('[-\\w]', ['a', 'b', 'ab', 'aa', 'aab', '\xe9a', 'a\xe9', '-', '0', '9', 'K', 'L', 'A']),
    ('^(a)\\1$', ['aa']),
    ('^(?=(a))\\1$', ['a']),
    ('^\\s$', ['\n', '\r', '\u2028', '\xa0']),
    ('^\\S$', ['a', 'b', '\xe9', '\U0001f600', '-', '0', '9', '\u0663', 'K', '\u212a', '\x00', '\x08', '\u03b1', 'L', 'A', ']']),
    ('^[\\s]$', ['\n', '\r', '\u2028', '\xa0']),
    ('^[^\\S]$', ['\n', '\r', '\u2028', '\xa0']),
    ('^\\d$', ['0', '9']),
    ('^\\D$', ['a', 'b', '\xe9', '\n', '\r', '\u2028', '\U0001f600', '-', '\u0663', 'K', '\u212a', '\xa0', '\x00', '\x08', '\u03b1', 'L', 'A', ']']),
    ('^[\\D]$', ['a', 'b', '\xe9', '\n', '\r', '\u2028', '\U0001f600', '-', '\u0663', 'K', '\u212a', '\xa0', '\x00', '\x08', '\u03b1', 'L', 'A', ']']),
    ('^\\w$', ['a', 'b', '0', '9', 'K', 'L', 'A']),
    ('^\\W$', ['\xe9', '\n', '\r', '\u2028', '\U0001f600', '-', '\u0663', '\u212a', '\xa0', '\x00', '\x08', '\u03b1', ']']),
    ('^[\\W]$', ['\xe9', '\n', '\r', '\u2028', '\U0001f600', '-', '\u0663', '\u212a', '\xa0', '\x00', '\x08', '\u03b1', ']']),
    ('^[^\\W]$', ['a', 'b', '0', '9', 'K', 'L', 'A']),
    ('^[\\d\\w]$', ['a', 'b', '0', '9', 'K', 'L', 'A']),
    ('()', ['a', 'b', 'ab', 'aa', 'aab', '\xe9', '\xe9a', 'a\xe9', '\n', '\r', '\u2028', '\U0001f600', '-', '0', '9', '\u0663', 'K', '\u212a', '\xa0', '\x00', '\x08', '\u03b1', 'L', 'A', ']']),
    ('a||b', ['a', 'b', 'ab', 'aa', 'aab', '\xe9', '\xe9a', 'a\xe9', '\n', '\r', '\u2028', '\U0001f600', '-', '0', '9', '\u0663', 'K', '\u212a', '\xa0', '\x00', '\x08', '\u03b1', 'L', 'A', ']']),
    ('^(?:)$', []),
    ('^$', []),
    ('$^', []),
    ('a$b', []),
    ('\\u00e9', ['\xe9', '\xe9a', 'a\xe9']),
    ('\\u{e9}', ['\xe9', '\xe9a', 'a\xe9']),
    ('^\xe9$', ['\xe9']),
    ('^[\\u0000-\\u{10FFFF}]$', ['a', 'b', '\xe9', '\n', '\r', '\u2028', '\U0001f600', '-', '0', '9', '\u0663', 'K', '\u212a', '\xa0', '\x00', '\x08', '\u03b1', 'L', 'A', ']']),
    ('^[^\\u0000-\\u{10FFFF}]$', []),
    ('^[\\ud800-\\u{e000}]$', []),
    ('^[\\]]$', [']']),
    ('^[\\^]$', []),
    ('^[$.^]$', []),
    ('\\.', []),
    ('^a\\.b$', []),
    ('^\\u{00000000041}$', ['A']),
    ('^(a|b)+$', ['a', 'b', 'ab', 'aa', 'aab']),
    ('^[\\n]$', ['\n']),
    ('^\\v$', []),
    ('^[\\0]$', ['\x00']),
    ('^[ -~]$', ['a', 'b', '-', '0', '9', 'K', 'L', 'A', ']']),
]  # fmt: skip
NO_PATTERNS = [
    "\\k<y>",
    "\\00",
    "(?i)a",
    "(?i:a)",
    "(?P<n>a)",
    "\\Aa",
    "a\\Z",
    "a\\z",
    "a++",
    "a*+",
    "a?+",
    "\\pL",
    "\\p{Greek}",
    "\\p{IsGreek}",
    "\\p{lu}",
    "\\p{Nope}",
    "^\\c[$",
    "\\x4",
    "a{,3}",
    "{",
    "a{2}{3}",
    "a{3,1}",
    "a|*",
    "*",
    "(?#c)a",
    "(?=a)*",
    "(?<=a)*",
    "\\h",
    "\\e",
    "\\a",
    "[[:alpha:]]",
    "[a--b]",
    "[\\w-a]",
    "[a-\\d]",
    "[b-a]",
    "[a",
    "(a)\\2",
    "(",
    "a)",
    "((",
    "^*",
    "\\b*",
    "\\u{110000}",
    "\\u12",
    "(?<a>a)(?<a>b)",
    "(?<1>a)",
    "(?>a)",
    "\\G",
    "\\K",
    "\\R",
    "\\X",
    "\\N",
    "\\Q.\\E",
    "(?s).",
    "(?-i)a",
    "(a)\\k<a>",
    "\\k",
]
UNABLE = ["\\1(a)", "(a)|\\1", "(a)?\\1", "(?:(a)|b)\\1", "(?!(a))\\1", "^(?<\xe9>a)$"]
"""Patterns of ECMA-262 in which a group may not have matched, or has a name that is not ASCII."""


@pytest.mark.parametrize(
    "draft", ["http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema"]
)
@pytest.mark.parametrize(("pattern", "found"), MATCHES)
def test_a_pattern_matches_what_it_matches_in_node(pattern: str, found: list[str], draft: str) -> None:
    texts = JsonSchemaCodec(json.dumps({"$schema": draft, "pattern": pattern})).documents.validator
    assert [text for text in TEXTS if texts.is_valid(text)] == found
    names = JsonSchemaCodec(json.dumps({"$schema": draft, "patternProperties": {pattern: False}})).documents.validator
    assert [text for text in TEXTS if not names.is_valid({text: 1})] == found


@pytest.mark.parametrize("pattern", NO_PATTERNS)
def test_what_node_refuses_is_refused(pattern: str) -> None:
    with pytest.raises(NotEcma, match="at character"):
        translate(pattern)


@pytest.mark.parametrize("pattern", UNABLE)
def test_what_cannot_be_translated_is_refused_and_not_guessed(pattern: str) -> None:
    with pytest.raises(NotEcma):
        translate(pattern)


def test_names_of_properties_are_spelled_as_the_standard_does() -> None:
    assert translate(r"\p{digit}\p{gc=punct}\P{space}") == r"\p{gc=digit}\p{gc=punct}\P{space}"
    for pattern in (r"\p{sc=greek}", r"\p{gc=Greek}", r"\p{letter}"):
        with pytest.raises(NotEcma, match="knows no property"):
            translate(pattern)


def test_numbers_without_end_are_refused() -> None:
    for pattern in ("a{" + "9" * 5_000 + "}", "(a)\\" + "1" * 5_000):
        with pytest.raises(NotEcma):
            translate(pattern)


def test_groups_without_end_are_refused() -> None:
    with pytest.raises(NotEcma, match="in each other"):
        translate("(" * 5_000 + ")" * 5_000)


def test_a_pattern_is_refused_with_its_place_where_it_is_in_use() -> None:
    for schema, place in (
        ({"allOf": [{"properties": {"a": {"pattern": "(?i)a"}}}]}, "/allOf/0/properties/a/pattern"),
        ({"patternProperties": {"\\Aa": {}}}, "/patternProperties/\\Aa"),
    ):
        with pytest.raises(InvalidSchema) as caught:
            JsonSchemaCodec(json.dumps(schema))
        assert f"The schema is invalid at {place}: the pattern is refused at character 1: " in caught.value.detail
    JsonSchemaCodec(json.dumps({"x-editor": {"pattern": "(?i)a"}, "default": {"pattern": "(?i)a"}}))


def test_the_names_of_properties_match_as_texts_do() -> None:
    schema = {
        "patternProperties": {"^.$": {"type": "integer"}, r"^[^\n\r\u2028\u2029]$": {"maximum": 3}},
        "additionalProperties": False,
    }
    made = JsonSchemaCodec(json.dumps(schema))
    assert made.encode(made.read(b'{"a":3}')) == b'{"a":3}'
    for record in (b'{"a":4}', b'{"a":"x"}', b'{"\\u2028":1}'):
        with pytest.raises(RecordRejected):
            made.encode(made.read(record))


def test_a_refusal_and_an_example_have_the_pattern_as_it_is_written() -> None:
    made = JsonSchemaCodec(json.dumps({"type": "string", "pattern": "^T.\\s$"}))
    with pytest.raises(RecordRejected) as caught:
        made.encode(made.read(b'"x"'))
    assert caught.value.errors[0].expected == "text that matches ^T.\\s$"
    assert made.example() == "Ta "
