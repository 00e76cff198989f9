"""A refusal says what to do, in each of the languages."""

from __future__ import annotations

import json
from time import process_time
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema

from inlake.errors import FieldError, RecordRejected
from inlake.formats import compile_codec
from inlake.formats.reasons import listed

ARTIST = {"type": "record", "name": "org.museum.Artist", "fields": [{"name": "name", "type": "string"}]}
KIND = {"type": "enum", "name": "Kind", "symbols": ["PAINTING", "PHOTOGRAPH"]}
AVRO: dict[str, Any] = {
    "year": ["null", "int"],
    "count": "int",
    "width": "double",
    "title": "string",
    "shown": "boolean",
    "kind": KIND,
    "tags": {"type": "array", "items": "string"},
    "price": {"type": "bytes", "logicalType": "decimal", "precision": 8, "scale": 2},
    "loan": ["null", {"type": "fixed", "name": "D", "size": 12, "logicalType": "duration"}],
    "made": {"type": "int", "logicalType": "date"},
    "maker": ["null", ARTIST],
}
JSON_SCHEMA: dict[str, Any] = {
    "year": {"type": ["integer", "null"]},
    "width": {"type": "number"},
    "title": {"type": "string"},
    "shown": {"type": "boolean"},
    "kind": {"enum": ["PAINTING", "PHOTOGRAPH"]},
    "language": {"const": "en"},
    "tags": {"type": "array"},
    "loan": {"type": "string", "format": "duration"},
    "made": {"type": "string", "format": "date"},
    "seen": {"type": "string", "format": "date-time"},
    "web": {"type": "string", "format": "uri"},
    "least": {"minimum": 5},
}
PROTOBUF = """syntax = "proto3"; enum Kind { PAINTING = 0; PHOTOGRAPH = 1; }
    message Object { double width = 1; string title = 2; bool shown = 3; Kind kind = 4; repeated string tags = 5;
    bytes thumb = 6; }"""


def the_only_error(schema: Schema, record: str, *, tagged: bool = False) -> FieldError:
    codec = compile_codec(schema)
    with pytest.raises(RecordRejected) as caught:
        codec.encode(codec.read(record.encode(), tagged=tagged))
    [error] = caught.value.errors
    return error


def avro(field: str) -> Schema:
    return Schema(json.dumps({"type": "record", "name": "N", "fields": [{"name": field, "type": AVRO[field]}]}), "AVRO")


def json_schema() -> Schema:
    return Schema(json.dumps({"properties": JSON_SCHEMA, "additionalProperties": False}), "JSON")


@pytest.mark.parametrize(
    ("field", "value", "advice"),
    [
        ("year", "1897.0", "Write 1897, without .0 (pandas adds it"),
        ("count", "3.000", "Write 3, without .0"),
        ("year", '"1897"', "Write it without quotes."),
        ("count", "null", "It must not be null."),
        ("width", '"12,5"', "Write 12.5, with a point and without quotes."),
        ("title", "5", "Write it in quotes."),
        ("shown", "1", "Write true or false."),
        ("kind", '"Fotograf"', 'knows "PAINTING", "PHOTOGRAPH" only. Did you mean "PHOTOGRAPH"?'),
        ("kind", "1", 'A symbol of the enum Kind is expected here: "PAINTING", "PHOTOGRAPH".'),
        ("tags", '"a"', "Write it in square brackets"),
        ("price", '"1,50"', "such as 1234.50, without a comma"),
        ("price", "1234567.5", "at most 6 before the point and 2 behind it, such as 1234.50."),
        ("price", "true", 'such as 12.5 or "12.5".'),
        ("loan", "3", 'such as "P1Y2M10DT2H30M".'),
        ("made", "1.5", 'such as "1897-01-31".'),
    ],
)
def test_avro_says_what_would_do(field: str, value: str, advice: str) -> None:
    assert advice in the_only_error(avro(field), f'{{"{field}": {value}}}').detail


def test_a_tag_is_told_to_be_a_full_name() -> None:
    codec = compile_codec(avro("maker"))
    with pytest.raises(RecordRejected) as caught:
        codec.encode(codec.read(b'{"maker": {"Artist": {"name": "X"}}}'))
    assert 'If "Artist" is meant as the tag of a branch, write its full name: "org.museum.Artist".' in " ".join(
        error.detail for error in caught.value.errors
    )


def test_a_value_without_its_tag_is_shown_one() -> None:
    told = the_only_error(avro("maker"), '{"maker": {"name": "X"}}', tagged=True).detail
    assert 'such as {"org.museum.Artist": ...}, or is null; the types are null, org.museum.Artist.' in told


def test_a_decimal_in_the_tagged_form_is_told_to_be_bytes() -> None:
    assert "in the tagged form its bytes" in the_only_error(avro("price"), '{"price": 1}', tagged=True).detail


@pytest.mark.parametrize(
    ("field", "value", "advice"),
    [
        ("year", '"1897"', "Write it without quotes."),
        ("width", '"12,5"', "Write 12.5, with a point and without quotes."),
        ("title", "5", "Write it in quotes."),
        ("title", "null", "It must not be null."),
        ("shown", "0", "Write true or false."),
        ("kind", '"photograph"', 'Allowed here are "PAINTING", "PHOTOGRAPH" only. Did you mean "PHOTOGRAPH"?'),
        ("language", '"de"', 'Only the value "en" is allowed here.'),
        ("tags", '"a"', "Write it in square brackets"),
        ("loan", '"2 weeks"', "(an example: P1Y2M10DT2H30M)"),
        ("made", '"1897"', "For uncertain, partial or very old dates use a field of type string"),
        ("made", '"1897-02-30"', "not in the format date (an example: 1897-07-21)."),
        ("seen", '"2024-01-01T10:00:00"', "It needs a zone: Z, or an offset such as +01:00."),
        ("web", '"a page"', "(an example: https://example.org/1)"),
        ("least", "4", "at least 5 is allowed"),
        ("titel", '"a"', 'The schema has no such property. Did you mean "title"?'),
    ],
)
def test_json_schema_says_what_would_do(field: str, value: str, advice: str) -> None:
    assert advice in the_only_error(json_schema(), f'{{"{field}": {value}}}').detail


@pytest.mark.parametrize(
    ("field", "value", "advice"),
    [
        ("width", '"12,5"', "Write 12.5, with a point and without quotes."),
        ("title", "5", "Write it in quotes."),
        ("shown", "1", "Write true or false."),
        ("shown", '"true"', "Write it without quotes."),
        ("kind", '"photo"', 'Did you mean "PHOTOGRAPH"?'),
        ("tags", '"a"', "Write it in square brackets"),
        ("thumb", '"é"', "(an example: aGVsbG8= for the bytes of hello)"),
        ("titel", '"a"', 'has no such field. Did you mean "title"?'),
    ],
)
def test_protobuf_says_what_would_do(field: str, value: str, advice: str) -> None:
    assert advice in the_only_error(Schema(PROTOBUF, "PROTOBUF"), f'{{"{field}": {value}}}').detail


def test_unknown_properties_are_told_beside_other_errors() -> None:
    schema = {
        "allOf": [{"properties": {"title": {"type": "string"}}}],
        "properties": {"year": {"type": "integer"}},
        "anyOf": [
            {"properties": {"a": {"type": "string"}}},
            {"properties": {"b": {"type": "string"}}, "required": ["c"]},
        ],
        "unevaluatedProperties": False,
    }
    codec = compile_codec(Schema(json.dumps(schema), "JSON"))
    with pytest.raises(RecordRejected) as caught:
        codec.encode(codec.read(b'{"title": 1, "year": "x", "a": 5, "b": "c", "colour": "red"}'))
    told = {(error.pointer, error.code) for error in caught.value.errors}
    assert told == {
        ("/title", "wrong_type"),
        ("/year", "wrong_type"),
        ("/a", "wrong_type"),
        ("/colour", "unknown_field"),
    }


def test_no_value_is_cut_in_the_middle_of_a_list() -> None:
    assert listed(["a"] * 3) == '"a", "a", "a"'
    assert listed(["ab" * 40] * 5) == f'"{"ab" * 40}", "{"ab" * 40}" and 3 more'
    assert listed(["a" * 1_000, "b"]) == '"' + "a" * 198 + "… and 1 more"


def test_names_that_are_nearly_right_cost_little() -> None:
    symbols = [f"{'ABCDE' * 6}{n:03}" for n in range(200)]
    fields = [
        {"name": f"f{n}", "type": "k" if n else {"type": "enum", "name": "k", "symbols": symbols}} for n in range(100)
    ]
    codec = compile_codec(Schema(json.dumps({"type": "record", "name": "N", "fields": fields}), "AVRO"))
    record = json.dumps({f"f{n}": f"{n:03}{'EDCBA' * 6}" for n in range(100)}).encode()
    start = process_time()
    with pytest.raises(RecordRejected) as caught:
        codec.encode(codec.read(record))
    assert len(caught.value.errors) == 100
    assert process_time() - start < 2
