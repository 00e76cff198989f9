"""Which Avro schemas are taken, and how an invalid one is named."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from confluent_kafka.schema_registry import Schema

from inlake.errors import FormatNotBuilt, InvalidSchema, Unprocessable
from inlake.formats import compile_codec
from inlake.formats.avro.codec import AvroCodec


def record(*fields: Any, **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": list(fields), **more}


def field(type_: Any, **more: Any) -> dict[str, Any]:
    return {"name": "f", "type": type_, **more}


def encode(schema: Any, value: Any) -> bytes:
    codec = AvroCodec(json.dumps(schema))
    return codec.encode(codec.read(json.dumps(value).encode()))


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        (5, "its root"),
        ("nothing", "its root"),
        ({}, "its root"),
        ({"type": "array"}, "items"),
        ({"type": "map"}, "values"),
        ([], "at least one branch"),
        (["int", "int"], "two branches int"),
        (["int", {"type": "int", "logicalType": "date"}], "two branches int"),
        ([{"type": "array", "items": "int"}, {"type": "array", "items": "string"}], "two branches array"),
        (["null", ["int"]], "union"),
        ({"type": {"type": "string"}}, "/type"),
        ({"type": ["null", "string"]}, "/type"),
        ({"type": "array", "items": {"type": {"type": "int"}}}, "/items/type"),
        (record({"name": "f", "type": "int", "order": "up"}), "/fields/0/order"),
        (record({"name": "f", "type": "int", "order": None}), "/fields/0/order"),
        (
            record(
                {"name": "a", "type": ["null", "S"]}, {"name": "b", "type": {"type": "fixed", "name": "S", "size": 1}}
            ),
            "/fields/0/type/1",
        ),
        ({"type": "record", "fields": []}, "name"),
        ({"type": "record", "name": "R"}, "fields"),
        ({"type": "record", "name": "1R", "fields": []}, "1R"),
        ({"type": "record", "name": "a..R", "fields": []}, "a..R"),
        ({"type": "record", "name": "string", "fields": []}, "primitive"),
        ({"type": "record", "name": "R", "namespace": "a-b", "fields": []}, "a-b.R"),
        (record({"name": "a-b", "type": "int"}), "/fields/0"),
        (record({"name": "é", "type": "int"}), "/fields/0"),
        (record(field("int"), field("int")), "/fields/1"),
        (record({"name": "f"}), "/fields/0"),
        (record(field({"type": "enum", "name": "R", "symbols": ["A"]})), "/fields/0/type"),
        ({"type": "enum", "name": "E", "symbols": []}, "symbols"),
        ({"type": "enum", "name": "E", "symbols": ["A", "A"]}, "/symbols/1"),
        ({"type": "enum", "name": "E", "symbols": ["A B"]}, "/symbols/0"),
        ({"type": "enum", "name": "E", "symbols": ["A"], "default": "B"}, "/default"),
        ({"type": "fixed", "name": "F"}, "size"),
        ({"type": "fixed", "name": "F", "size": -1}, "size"),
        ({"type": "fixed", "name": "F", "size": True}, "size"),
        (record(field("R")), "contain itself"),
        (record(field(["R"])), "contain itself"),
        (record(field("int", default="7")), "/fields/0 (f)"),
        (record(field("string", default=None)), "default does not fit"),
        (record(field("int", default=1.0)), "default does not fit"),
        (record(field(["null", "string"], default={"string": "x"})), "default does not fit"),
        (record(field({"type": "enum", "name": "E", "symbols": ["A"]}, default="B")), "default does not fit"),
        (record(field("R", default={})), "contains itself"),
        (record(field(record(field("int"), name="S"), default={"f": "x"})), "(/f)"),
    ],
)
def test_an_invalid_schema_is_refused_with_its_place(schema: Any, place: str) -> None:
    with pytest.raises(InvalidSchema) as refused:
        AvroCodec(json.dumps(schema))
    assert place in refused.value.detail


def test_a_schema_that_is_not_json_is_refused_with_line_and_column() -> None:
    with pytest.raises(InvalidSchema, match="line 2, column 3"):
        AvroCodec('{"type":\n  oops}')


@pytest.mark.parametrize("depth", [199, 201, 100_000])
def test_a_schema_may_be_nested_up_to_a_limit(depth: int) -> None:
    text = '{"type":"array","items":' * depth + '"int"' + "}" * depth
    if depth < 200:
        codec = AvroCodec(text)
        assert codec.encode(codec.read(b"[" * depth + b"1" + b"]" * depth)) == b"\2" * (depth + 1) + b"\0" * depth
    else:
        with pytest.raises(InvalidSchema, match=r"nested deeper|longer"):
            AvroCodec(text)


def test_a_name_may_be_used_once_it_is_defined_and_inside_of_itself() -> None:
    schema = record(
        {"name": "b", "type": {"type": "record", "name": "S", "fields": [field({"type": "array", "items": "R"})]}},
        {"name": "a", "type": ["null", {"type": "S"}], "order": "ignore"},
    )
    value = {"a": {"f": []}, "b": {"f": [{"a": None, "b": {"f": []}}]}}
    assert encode(schema, value) == b"\2" + b"\0\0" + b"\0" + b"\2\0"


def test_a_short_name_is_one_of_the_namespace_around_it_only() -> None:
    outside = {"type": "fixed", "name": "F", "size": 1}
    inside = {"type": "record", "name": "x.S", "fields": [field("F")]}
    with pytest.raises(InvalidSchema, match=r"x\.F"):
        AvroCodec(json.dumps(record({"name": "a", "type": outside}, {"name": "b", "type": inside})))
    with pytest.raises(InvalidSchema, match=r"x\.F"):
        AvroCodec(json.dumps(inside), [("F", json.dumps(outside))])


def test_namespaces_are_inherited_and_dots_in_a_name_win() -> None:
    inner = {"type": "fixed", "name": "F", "size": 1}
    other = {"type": "fixed", "name": "z.F", "namespace": "ignored", "size": 2}
    schema = record(
        {"name": "a", "type": inner},
        {"name": "b", "type": other},
        {"name": "c", "type": "F"},
        {"name": "d", "type": "x.y.F"},
        {"name": "e", "type": ["null", "z.F"]},
        namespace="x.y",
    )
    assert encode(schema, {"a": "1", "b": "22", "c": "3", "d": "4", "e": {"z.F": "55"}}) == b"12234\x0255"


def test_types_of_referenced_schemas_can_be_used_by_their_full_names() -> None:
    place = Schema('{"type":"record","name":"geo.Place","fields":[{"name":"name","type":"string"}]}', "AVRO")
    event = Schema('{"type":"record","name":"e.Event","fields":[{"name":"at","type":"geo.Place"}]}', "AVRO")
    root = Schema('{"type":"record","name":"R","fields":[{"name":"event","type":["null","e.Event"]}]}', None)
    codec = compile_codec(root, [("place", place), ("event", event)])
    assert codec.encode(codec.read(b'{"event": {"at": {"name": "Ur"}}}')) == b"\2\4Ur"


def test_an_error_in_a_reference_names_the_reference() -> None:
    with pytest.raises(InvalidSchema, match="reference 'place'"):
        AvroCodec('"int"', [("place", '{"type": "enum", "name": "E", "symbols": []}')])


@pytest.mark.parametrize(
    ("default", "payload"), [(None, b"\0"), ("x", b"\2\2x"), (5, b"\4\x0a")], ids=["first", "second", "third"]
)
def test_the_default_of_a_union_may_be_of_any_branch(default: Any, payload: bytes) -> None:
    assert encode(record(field(["null", "string", "int"], default=default)), {}) == payload


def test_a_default_is_written_as_the_underlying_type_of_a_logical_one() -> None:
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}
    assert encode(record(field(decimal, default="0")), {}) == b"\x020"
    assert encode(record(field({"type": "string", "logicalType": "uuid"}, default="")), {}) == b"\0"


def test_defaults_inside_of_a_default_are_filled() -> None:
    inner = record(field("int", default=3), name="S")
    assert encode(record(field(inner, default={})), {}) == b"\6"
    assert encode(record(field({"type": "array", "items": inner}, default=[{}, {"f": 1}])), {}) == b"\4\6\2\0"


def test_defaults_that_double_at_every_step_are_refused_in_bounded_time() -> None:
    fields = [{"name": "t0", "type": {"type": "record", "name": "T0", "fields": [field("string", default="x" * 99)]}}]
    for n in range(1, 40):
        parts = [{"name": name, "type": f"T{n - 1}", "default": {}} for name in "ab"]
        fields.append({"name": f"t{n}", "type": {"type": "record", "name": f"T{n}", "fields": parts}})
    start = time.perf_counter()
    with pytest.raises(InvalidSchema, match="over 65,536 bytes"):
        AvroCodec(json.dumps(record(*fields)))
    assert time.perf_counter() - start < 5


def test_a_record_of_a_billion_needed_values_compiles_and_has_no_example() -> None:
    fields = [{"name": "t0", "type": {"type": "record", "name": "T0", "fields": [field("int")]}}]
    for n in range(1, 30):
        parts = [{"name": name, "type": f"T{n - 1}"} for name in "ab"]
        fields.append({"name": f"t{n}", "type": {"type": "record", "name": f"T{n}", "fields": parts}})
    codec = AvroCodec(json.dumps(record(*fields)))
    with pytest.raises(Unprocessable, match="no example"):
        codec.example()


@pytest.mark.parametrize("count", [900, 2_000])
def test_a_long_chain_of_optional_records_compiles(count: int) -> None:
    fields = [
        {
            "name": f"t{n}",
            "type": ["null", {"type": "record", "name": f"T{n}", "fields": [field(["null", f"T{n + 1}"])]}],
        }
        for n in range(count)
    ]
    last = {"name": "last", "type": ["null", {"type": "record", "name": f"T{count}", "fields": []}], "default": None}
    codec = AvroCodec(json.dumps(record(last, *reversed(fields))))
    text = json.dumps({f"t{n}": {"f": None} for n in range(count)}).encode()
    assert codec.encode(codec.read(text)) == b"\0" + b"\2\0" * count
    assert codec.example()


def test_a_chain_of_needed_records_deeper_than_any_record_may_be_is_refused() -> None:
    fields = [
        {"name": f"t{n}", "type": ["null", {"type": "record", "name": f"T{n}", "fields": [field(f"T{n + 1}")]}]}
        for n in range(500)
    ]
    last = {"name": "last", "type": {"type": "record", "name": "T500", "fields": []}}
    with pytest.raises(InvalidSchema, match="contain itself"):
        AvroCodec(json.dumps(record(last, *reversed(fields))))


def test_words_of_the_schema_never_reach_the_generated_code() -> None:
    names = ["out", "v", "x1", "K1", "zigzag", "UNSET", "class", "import", "f0", "self", "def", "None", "True"]
    schema = record(*[{"name": name, "type": "int"} for name in names])
    assert encode(schema, {name: n for n, name in enumerate(names)}) == bytes(2 * n for n in range(len(names)))


@pytest.mark.parametrize("language", ["THRIFT"])
def test_a_schema_language_that_is_not_built_says_so(language: str) -> None:
    with pytest.raises(FormatNotBuilt, match=language):
        compile_codec(Schema("{}", language))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "logicalType": "date"},
        {"type": "string", "logicalType": "colour"},
        {"type": "string", "logicalType": 7},
    ],
)
def test_an_unknown_or_misplaced_logical_type_is_ignored(schema: Any) -> None:
    assert encode(schema, "no date") == b"\x0eno date"


@pytest.mark.parametrize(
    "digits",
    [
        {},
        {"precision": 0},
        {"precision": 2, "scale": 3},
        {"precision": 2, "scale": -1},
        {"precision": 9},
        {"precision": "2"},
    ],
)
def test_an_invalid_decimal_is_the_type_below_as_the_specification_says(digits: dict[str, Any]) -> None:
    assert encode({"type": "fixed", "name": "F", "size": 2, "logicalType": "decimal", **digits}, "12") == b"12"
