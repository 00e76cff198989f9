"""The fields of a schema: the same words in the three languages, and an end to what a schema can make of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka.schema_registry import Schema

from inlake.formats import compile_codec
from inlake.formats.avro.codec import AvroCodec
from inlake.formats.json_schema.codec import JsonSchemaCodec
from inlake.formats.protobuf.codec import ProtobufCodec
from inlake.formats.shape import MAX_FIELDS
from inlake.ports import Codec

EXAMPLES = Path(__file__).parents[3] / "examples"
INDEX = json.loads((EXAMPLES / "index.json").read_text())["schemas"]
TEXTS = {entry["name"]: (EXAMPLES / entry["file"]).read_text() for entry in INDEX}


def example(name: str) -> Codec:
    """The codec of a schema of examples/."""
    entry = next(entry for entry in INDEX if entry["name"] == name)
    references = [
        (reference["name"], Schema(TEXTS[reference["subject"]], entry["language"]))
        for reference in entry.get("references", [])
    ]
    return compile_codec(Schema(TEXTS[name], entry["language"]), references)


def told(codec: Codec) -> dict[str, Any]:
    """The fields by name, as the gateway's JSON has them."""
    fields = json.loads(msgspec.json.encode(codec.shape().fields))
    return {field.pop("name"): field for field in fields}


def avro(*fields: Any, **named: Any) -> dict[str, Any]:
    listed = [{"name": f"f{i}", "type": type_} if not _is_field(type_) else type_ for i, type_ in enumerate(fields)]
    return told(AvroCodec(json.dumps({"type": "record", "name": "R", "fields": listed, **named})))


def _is_field(type_: Any) -> bool:
    return isinstance(type_, dict) and "name" in type_ and "symbols" not in type_ and "fields" not in type_


def json_schema(properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    return told(JsonSchemaCodec(json.dumps({"type": "object", "properties": properties, **more})))


def test_the_same_table_has_the_same_fields_in_the_three_languages() -> None:
    by_language = [told(example(f"nga.constituent{suffix}")) for suffix in ("", ".protobuf", ".json")]
    types = [{name: field["type"] for name, field in fields.items()} for fields in by_language]
    assert types[0]["constituentid"] == "integer"
    assert types[0]["artistofngaobject"] == "boolean"
    for name in types[0]:
        assert types[0][name] == types[2][name], name
    assert types[0].keys() == types[1].keys() == types[2].keys()


def test_avro_types_have_their_words() -> None:
    logical = [
        {"type": "string", "logicalType": "uuid"},
        {"type": "int", "logicalType": "date"},
        {"type": "long", "logicalType": "time-micros"},
        {"type": "long", "logicalType": "timestamp-millis"},
        {"type": "long", "logicalType": "local-timestamp-micros"},
        {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2},
    ]
    plain = ["string", "int", "long", "float", "double", "boolean", "bytes"]
    words = [field["type"] for field in avro(*plain, *logical).values()]
    assert words[:7] == ["text", "integer", "integer", "number", "number", "boolean", "bytes"]
    assert words[7:] == ["uuid", "date", "time", "timestamp", "local_timestamp", "decimal"]
    assert avro(logical[-1])["f0"] == {"type": "decimal", "scale": 2, "required": True}


def test_avro_says_what_may_be_absent_and_what_may_be_null() -> None:
    fields = avro(["null", "string"], {"name": "d", "type": ["null", "int"], "default": None}, ["int", "string"])
    assert fields["f0"] == {"type": "text", "required": True, "nullable": True}
    assert fields["d"] == {"type": "integer", "nullable": True}
    assert fields["f2"] == {"type": "choice", "required": True, "choices": [{"type": "integer"}, {"type": "text"}]}


def test_avro_arrays_maps_enums_and_records_hold_theirs() -> None:
    inner = {"type": "record", "name": "I", "fields": [{"name": "x", "type": "int"}]}
    fields = avro(
        {"type": "array", "items": "string"},
        {"type": "map", "values": "int"},
        {"type": "enum", "name": "E", "symbols": ["A", "B"]},
        inner,
    )
    assert fields["f0"]["items"] == {"type": "text"}
    assert fields["f1"]["values"] == {"type": "integer"}
    assert fields["f2"]["symbols"] == ["A", "B"]
    assert fields["f3"]["fields"] == [{"name": "x", "type": "integer", "required": True}]


def test_a_record_inside_of_itself_is_told_once() -> None:
    fields = avro({"name": "next", "type": ["null", "R"]}, "int")
    assert fields["next"] == {"type": "record", "required": True, "nullable": True}


def test_a_schema_of_thirty_lines_does_not_tell_a_million_fields() -> None:
    levels = [{"type": "record", "name": "L0", "fields": [{"name": "x", "type": "int"}]}]
    schema: Any = levels[0]
    for level in range(1, 30):
        fields = [{"name": "a", "type": schema}, *({"name": f"b{i}", "type": f"L{level - 1}"} for i in range(9))]
        schema = {"type": "record", "name": f"L{level}", "fields": fields}
    assert msgspec.json.encode(AvroCodec(json.dumps(schema)).shape()).count(b'"name"') <= MAX_FIELDS


def test_protobuf_tells_json_names_and_takes_the_others() -> None:
    fields = told(
        ProtobufCodec(
            'syntax = "proto3"; import "google/protobuf/timestamp.proto"; import "google/protobuf/wrappers.proto";'
            "message M { string acno_no = 1; google.protobuf.Timestamp at = 2; google.protobuf.Int64Value n = 3;"
            "repeated double w = 4; map<string, int32> m = 5; enum E { A = 0; B = 1; } E e = 6;"
            'optional string __resource_path__ = 7 [json_name = "__resource_path__"]; M inner = 8; }'
        )
    )
    assert fields["acnoNo"] == {"type": "text", "aliases": ["acno_no"]}
    assert (fields["at"]["type"], fields["n"]["type"]) == ("timestamp", "integer")
    assert fields["w"] == {"type": "array", "items": {"type": "number"}}
    assert fields["m"] == {"type": "map", "values": {"type": "integer"}}
    assert fields["e"] == {"type": "enum", "symbols": ["A", "B"]}
    assert fields["__resource_path__"] == {"type": "text"}
    assert fields["inner"] == {"type": "record"}


@pytest.mark.parametrize(
    ("schema", "shape"),
    [
        ({"type": "string"}, {"type": "text"}),
        ({"type": ["string", "null"]}, {"type": "text", "nullable": True}),
        ({"type": "string", "format": "date"}, {"type": "date"}),
        ({"type": "string", "format": "date-time"}, {"type": "timestamp"}),
        ({"type": "string", "format": "uri"}, {"type": "text"}),
        ({"enum": ["a", "b", None]}, {"type": "enum", "symbols": ["a", "b"], "nullable": True}),
        ({"type": "string", "enum": ["a", None]}, {"type": "enum", "symbols": ["a"]}),
        ({"enum": [128, 256]}, {"type": "integer"}),
        ({"const": True}, {"type": "boolean"}),
        ({"type": ["integer", "string"]}, {"type": "choice", "choices": [{"type": "integer"}, {"type": "text"}]}),
        ({"oneOf": [{"type": "null"}, {"$ref": "#/$defs/year"}]}, {"type": "integer", "nullable": True}),
        ({"$ref": "#/$defs/year"}, {"type": "integer"}),
        ({"allOf": [{"type": "number"}, {"type": "integer"}]}, {"type": "integer"}),
        ({"type": "array", "items": {"type": "string"}}, {"type": "array", "items": {"type": "text"}}),
        ({"type": "object", "additionalProperties": {"type": "number"}}, {"type": "map", "values": {"type": "number"}}),
        ({}, {"type": "any"}),
        (True, {"type": "any"}),
        ({"type": "null"}, {"type": "any", "nullable": True}),
    ],
    ids=str,
)
def test_json_schema_is_read_where_it_speaks_plainly(schema: Any, shape: dict[str, Any]) -> None:
    assert json_schema({"p": schema}, **{"$defs": {"year": {"type": "integer"}}})["p"] == shape


def test_json_schema_takes_properties_of_its_branches_too() -> None:
    more = {
        "required": ["a"],
        "if": {"properties": {"a": {"const": 1}}},
        "then": {"properties": {"b": {"type": "integer"}}},
    }
    assert json_schema({"a": {"type": "integer"}}, **more) == {
        "a": {"type": "integer", "required": True},
        "b": {"type": "integer"},
    }


def test_a_json_schema_that_refers_to_itself_ends() -> None:
    fields = json_schema({"child": {"$ref": "#"}, "items": {"type": "array", "items": {"$ref": "#"}}})
    assert fields == {"child": {"type": "record"}, "items": {"type": "array", "items": {"type": "record"}}}


@pytest.mark.parametrize("entry", [entry for entry in INDEX if "data" in entry], ids=lambda entry: entry["name"])
def test_every_field_of_real_records_is_told(entry: dict[str, Any]) -> None:
    fields = told(example(entry["name"]))
    schema = json.loads(TEXTS[entry["name"]]) if entry["language"] != "PROTOBUF" else None
    if entry["language"] == "AVRO" and schema:
        assert list(fields) == [field["name"] for field in schema["fields"]]
    if entry["language"] == "JSON" and schema:
        assert fields.keys() >= schema["properties"].keys()
        assert {name for name, field in fields.items() if field.get("required")} == set(schema["required"])
