"""What JSON means for Avro: every rule, by the bytes written or by the errors given."""

from __future__ import annotations

import json
import struct
import time
from typing import Any

import pytest

from inlake.errors import FieldError, RecordRejected
from inlake.formats.avro.codec import AvroCodec

ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
FIXED = {"type": "fixed", "name": "F", "size": 2}
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2}
UUID = "596c52d4-16d3-580c-a7db-1e59cdb5ccf1"


def record(*fields: tuple[Any, ...], name: str = "R") -> dict[str, Any]:
    made = [{"name": f[0], "type": f[1], **({"default": f[2]} if len(f) > 2 else {})} for f in fields]
    return {"type": "record", "name": name, "fields": made}


def encode(schema: Any, text: str, *, tagged: bool = False) -> bytes:
    codec = AvroCodec(json.dumps(schema))
    return codec.encode(codec.read(text.encode(), tagged=tagged))


def errors(schema: Any, text: str, *, tagged: bool = False, max_errors: int = 100) -> list[FieldError]:
    codec = AvroCodec(json.dumps(schema), max_errors=max_errors)
    with pytest.raises(RecordRejected) as refused:
        codec.encode(codec.read(text.encode(), tagged=tagged))
    return list(refused.value.errors)


def codes(schema: Any, text: str, *, tagged: bool = False) -> list[tuple[str, str]]:
    return [(error.pointer, error.code) for error in errors(schema, text, tagged=tagged)]


def long(schema: Any, text: str) -> int:
    """The number that a value of an int or long was written as."""
    rest = 0
    for shift, byte in enumerate(encode(schema, text)):
        rest |= (byte & 0x7F) << 7 * shift
    return (rest >> 1) ^ -(rest & 1)


@pytest.mark.parametrize(
    ("schema", "text", "payload"),
    [
        ("null", "null", b""),
        ("boolean", "true", b"\1"),
        ("boolean", "false", b"\0"),
        ("int", "-1", b"\1"),
        ("int", "-0", b"\0"),
        ("int", "2147483647", b"\xfe\xff\xff\xff\x0f"),
        ("long", "-9223372036854775808", b"\xff" * 9 + b"\1"),
        ("double", "1.5", struct.pack("<d", 1.5)),
        ("double", "1", struct.pack("<d", 1)),
        ("double", "9007199254740992", struct.pack("<d", 2**53)),
        ("double", "1" + "0" * 50, None),
        ("double", "1e50", struct.pack("<d", 1e50)),
        ("double", "0.1", struct.pack("<d", 0.1)),
        ("float", "0.1", struct.pack("<f", 0.1)),
        ("float", "1.0000000596046448", struct.pack("<f", 1.00000012)),
        ("float", "1.00000005960464477539062499", struct.pack("<f", 1)),
        ("float", "3.4028235677973366e38", struct.pack("<f", 3.4028234663852886e38)),
        ("float", "-0", struct.pack("<f", -0.0)),
        ("double", "-0", struct.pack("<d", -0.0)),
        ("double", "-0.0", struct.pack("<d", -0.0)),
        ("double", "-0e5", struct.pack("<d", -0.0)),
        ("double", "0e99999999999999999999", struct.pack("<d", 0)),
        ("double", "5e-324", struct.pack("<d", 5e-324)),
        ({"type": "long", "logicalType": "timestamp-millis"}, "-0", b"\0"),
        ("float", "16777216", struct.pack("<f", 2**24)),
        ("float", "33554432", struct.pack("<f", 2**25)),
        ("string", '"\\u00e9\\ud83d\\ude00"', b"\x0c\xc3\xa9\xf0\x9f\x98\x80"),
        ("bytes", '"\\u0000\\u00ff"', b"\4\0\xff"),
        (FIXED, '"\\u0000\\u00ff"', b"\0\xff"),
        (ENUM, '"B"', b"\2"),
        ({"type": "array", "items": "int"}, "[1, 2]", b"\4\2\4\0"),
        ({"type": "array", "items": "int"}, "[]", b"\0"),
        ({"type": "map", "values": "int"}, '{"a": 1}', b"\2\2a\2\0"),
        ({"type": "map", "values": "int"}, '{"a": 1, "a": 2}', b"\2\2a\4\0"),
        (record(("a", "int"), ("b", "string")), '{"b": "x", "a": 1}', b"\2\2x"),
        (record(("a", "int", 7), ("b", ["null", "int"], None)), "{}", b"\x0e\0"),
    ],
)
def test_a_value_that_fits_is_written(schema: Any, text: str, payload: bytes | None) -> None:
    if payload is None:
        assert codes(schema, text) == [("", "not_exact")]
    else:
        assert encode(schema, text) == payload


@pytest.mark.parametrize(
    ("schema", "text", "code"),
    [
        ("null", "0", "wrong_type"),
        ("boolean", "1", "wrong_type"),
        ("int", "true", "wrong_type"),
        ("int", "1.0", "wrong_type"),
        ("int", "1e3", "wrong_type"),
        ("int", '"1"', "wrong_type"),
        ("int", "2147483648", "out_of_range"),
        ("long", "9223372036854775808", "out_of_range"),
        ("long", "9" * 60, "out_of_range"),
        ("double", "9007199254740993", "not_exact"),
        ("double", "1e400", "out_of_range"),
        ("double", "1" * 400, "out_of_range"),
        ("double", "1" * 5000, "out_of_range"),
        ("double", '"1"', "wrong_type"),
        ("float", "16777217", "not_exact"),
        ("float", "1e39", "out_of_range"),
        ("float", "1e-46", "out_of_range"),
        ("double", "1e-400", "out_of_range"),
        ("double", "1e-99999999999999999999", "out_of_range"),
        ("double", "0." + "0" * 400 + "1", "out_of_range"),
        ("float", "3.4028235677973367e38", "out_of_range"),
        ("float", "9" * 39, "out_of_range"),
        ("string", "5", "wrong_type"),
        ("bytes", '"\\u0100"', "not_bytes"),
        (FIXED, '"abc"', "wrong_length"),
        (FIXED, '"a\\u0100"', "not_bytes"),
        (ENUM, '"C"', "unknown_symbol"),
        ({"type": "array", "items": "int"}, "{}", "wrong_type"),
        ({"type": "map", "values": "int"}, "[]", "wrong_type"),
        (record(("a", "int")), "[]", "wrong_type"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_a_code(schema: Any, text: str, code: str) -> None:
    assert codes(schema, text) == [("", code)]


def test_all_reasons_are_given_with_their_pointers() -> None:
    inner = record(("x", "int"), name="S")
    schema = record(
        ("a", "int"),
        ("b", ["null", "int"]),
        ("c", {"type": "map", "values": {"type": "array", "items": inner}}),
        ("d", "int", 1),
    )
    text = '{"a": "1", "c": {"k/~": [{"x": 1}, {"x": null, "y": 2}, 5]}, "e": 5}'
    assert codes(schema, text) == [
        ("/a", "wrong_type"),
        ("/b", "missing_field"),
        ("/c/k~1~0/1/x", "wrong_type"),
        ("/c/k~1~0/1/y", "unknown_field"),
        ("/c/k~1~0/2", "wrong_type"),
        ("/e", "unknown_field"),
    ]


def test_an_alias_is_an_unknown_field() -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "a", "aliases": ["old"], "type": "int", "default": 1}]}
    assert codes(schema, '{"old": 5}') == [("/old", "unknown_field")]


def test_errors_stop_at_the_limit() -> None:
    assert len(errors({"type": "array", "items": "int"}, json.dumps(["x"] * 500), max_errors=7)) == 7
    assert len(errors(["null", {"type": "array", "items": "int"}], json.dumps(["x"] * 500), max_errors=7)) == 7


def test_what_was_found_is_shown_in_short() -> None:
    [error] = errors("int", json.dumps("é" * 5000))
    assert error.got.startswith('string "éé')
    assert len(error.got) <= 60
    assert [e.got for e in errors({"type": "array", "items": "string"}, "[null, 1.50, {}, [1], true]")] == [
        "null",
        "number 1.50",
        "object of 0 members",
        "array of 1 item",
        "boolean true",
    ]


def test_long_keys_do_not_make_a_long_answer() -> None:
    schema = {"type": "map", "values": {"type": "array", "items": "int"}}
    found = errors(schema, json.dumps({"k" * 100_000: ["x"] * 100}))
    assert sum(len(error.pointer) for error in found) < 300_000


def test_an_array_where_a_record_is_wanted_is_told_about_ndjson() -> None:
    [error] = errors(record(("a", "int")), "[{}]")
    assert "one record a line" in error.detail


# --------------------------------------------------------------------------------------------------------------- unions
MAP = {"type": "map", "values": "string"}


@pytest.mark.parametrize(
    ("schema", "text", "payload"),
    [
        (["null", "string"], "null", b"\0"),
        (["null", "string"], '"x"', b"\2\2x"),
        (["null", "string"], '{"string": "x"}', b"\2\2x"),
        (["double", "long"], "5", b"\0" + struct.pack("<d", 5)),
        (["double", "long"], "9007199254740993", b"\2\x82\x80\x80\x80\x80\x80\x80\x20"),
        (["int", "double"], "5", b"\0\x0a"),
        (["int", "double"], "5.0", b"\2" + struct.pack("<d", 5)),
        (["int", "long"], "2147483648", b"\2\x80\x80\x80\x80\x10"),
        (["int", "long"], '{"long": 1}', b"\2\2"),
        (["string", ENUM], '"A"', b"\0\2A"),
        ([ENUM, "string"], '"A"', b"\0\0"),
        ([ENUM, "string"], '"C"', b"\2\2C"),
        (["bytes", "string"], '"é"', b"\0\2\xe9"),
        (["bytes", "string"], '"€"', b"\2\6\xe2\x82\xac"),
        (["string", MAP], '{"string": "x"}', b"\2\2\x0cstring\2x\0"),
        ([DECIMAL, "string"], '"12.5"', b"\0\4\4\xe2"),
        ([{"type": "string", "logicalType": "uuid"}, "int"], f'"{UUID}"', b"\0\x48" + UUID.encode()),
        (["null", {"type": "int", "logicalType": "date"}], '{"int": 1}', b"\2\2"),
        ([record(("a", "int"), name="S"), record(("b", "int"), name="T")], '{"b": 1}', b"\2\2"),
        ([record(("a", "int"), name="S"), record(("b", "int"), name="T")], '{"T": {"b": 1}}', b"\2\2"),
        ([record(("a", "int", 3), name="S"), record(("a", "int"), name="T")], '{"T": {"a": 1}}', b"\2\2"),
        (["null", {"type": "array", "items": ["null", "int"]}], '[null, {"int": 1}, 2]', b"\2\6\0\2\2\2\4\0"),
    ],
)
def test_a_union_takes_the_first_branch_that_fits_then_the_tagged_form(schema: Any, text: str, payload: bytes) -> None:
    assert encode(schema, text) == payload


@pytest.mark.parametrize("schema", [["null", "string"], ["string", "null"], ["null", record(("a", "int"), name="S")]])
def test_an_object_with_a_null_is_no_null(schema: Any) -> None:
    assert codes(schema, '{"null": null}')


@pytest.mark.parametrize(
    ("schema", "text", "payload"),
    [
        (["float", "double"], "3.141592653589793", b"\2" + struct.pack("<d", 3.141592653589793)),
        (["float", "double"], "0.5", b"\0" + struct.pack("<f", 0.5)),
        (["float", "double"], "0.1", b"\2" + struct.pack("<d", 0.1)),
        (["float", "double"], "0.1000000000000000000001", b"\2" + struct.pack("<d", 0.1)),
        (["null", "float", DECIMAL], "3.14", b"\4\4\1\x3a"),
        (["null", "float", DECIMAL], "3.141", b"\2" + struct.pack("<f", 3.141)),
        (["null", "double", DECIMAL], "3.14", b"\2" + struct.pack("<d", 3.14)),
        (["int", "double"], "-0", b"\2" + struct.pack("<d", -0.0)),
        (["null", "int", "string"], "-0", b"\2\0"),
        ([record(("x", "float"), name="S"), record(("x", "double"), name="T")], '{"x": 0.1}', b"\2" + struct.pack("<d", 0.1)),
        ([record(("x", "float"), name="S"), record(("x", "double"), name="T")], '{"x": 0.5}', b"\0" + struct.pack("<f", 0.5)),
        ([record(("x", ["null", "float"]), name="S"), MAP, record(("x", ["null", "double"]), name="T")], '{"x": 0.1}', b"\4\2" + struct.pack("<d", 0.1)),
        (["string", {"type": "array", "items": ["float", "double"]}], "[0.5, 0.1]", b"\2\4\0" + struct.pack("<f", 0.5) + b"\2" + struct.pack("<d", 0.1) + b"\0"),
    ],
)  # fmt: skip
def test_a_union_takes_the_first_branch_that_keeps_the_number(schema: Any, text: str, payload: bytes) -> None:
    assert encode(schema, text) == payload


@pytest.mark.parametrize(
    ("schema", "text", "found"),
    [
        (["null", "int"], '"x"', [("", "wrong_type")]),
        (["null", "int"], "1.5", [("", "wrong_type")]),
        (["null", "int"], "2147483648", [("", "out_of_range")]),
        (["null", "string"], '{"string": 5}', [("/string", "wrong_type")]),
        (
            ["null", record(("a", "int"), ("b", "int"), name="S")],
            '{"a": "x"}',
            [("/a", "wrong_type"), ("/b", "missing_field")],
        ),
        (
            ["null", record(("a", ["null", record(("b", "int"), name="T")]), name="S")],
            '{"a": {"b": 1.5}}',
            [("/a/b", "wrong_type")],
        ),
        (
            [record(("a", "int"), ("b", "int"), name="S"), record(("c", "int"), ("d", "int"), name="T")],
            '{"c": 1, "d": "x"}',
            [("/d", "wrong_type")],
        ),
    ],
)
def test_a_union_that_nothing_fits_reports_the_closest_branch(schema: Any, text: str, found: Any) -> None:
    assert codes(schema, text) == found


@pytest.mark.parametrize(
    ("schema", "text", "payload"),
    [
        (["null", "string"], "null", b"\0"),
        (["null", "string"], '{"string": "x"}', b"\2\2x"),
        (["string", MAP], '{"string": "x"}', b"\0\2x"),
        (["string", MAP], '{"map": {"string": "x"}}', b"\2\2\x0cstring\2x\0"),
        (["null", DECIMAL], '{"bytes": "0"}', b"\2\x020"),
        (DECIMAL, '"\\u0001"', b"\2\1"),
        (record(("a", ["null", "int"], None)), "{}", b"\0"),
    ],
)
def test_tagged_only_is_the_json_encoding_of_the_specification(schema: Any, text: str, payload: bytes) -> None:
    assert encode(schema, text, tagged=True) == payload


@pytest.mark.parametrize(
    ("schema", "text", "found"),
    [
        (["null", "string"], '"x"', [("", "wrong_type")]),
        (["null", "string"], '{"null": null}', [("", "wrong_type")]),
        (["null", "string"], '{"int": 1}', [("", "wrong_type")]),
        (["null", "int"], '{"int": "x"}', [("/int", "wrong_type")]),
        (DECIMAL, "1", [("", "wrong_type")]),
    ],
)
def test_tagged_only_refuses_the_plain_form(schema: Any, text: str, found: Any) -> None:
    assert codes(schema, text, tagged=True) == found


def test_unions_in_recursive_records_are_decided_in_bounded_time() -> None:
    other = ("other", "int", 1)  # each of the three knows all three, and is defined where it is first named
    u = record(("next", ["int", "S", "T", "U"]), other, name="U")
    t = record(("next", ["int", "S", "T", u]), other, name="T")
    schema: list[Any] = ["int", record(("next", ["int", "S", t, "U"]), other, name="S"), "T", "U"]
    text = '{"next":' * 190 + '"x"' + "}" * 190
    start = time.perf_counter()
    assert codes(schema, text) == [("/next" * 190, "wrong_type")]
    assert encode(schema, text.replace('"x"', "7")) == b"\2" * 190 + b"\0\x0e" + b"\2" * 190
    assert time.perf_counter() - start < 5


# -------------------------------------------------------------------------------------------------------- logical types
def logical(underlying: str, logical_type: str, **more: Any) -> dict[str, Any]:
    return {"type": underlying, "logicalType": logical_type, **more}


@pytest.mark.parametrize(
    ("schema", "text", "number"),
    [
        (logical("int", "date"), "-1", -1),
        (logical("int", "date"), '"1970-01-02"', 1),
        (logical("int", "date"), '"0001-01-01"', -719162),
        (logical("int", "date"), '"9999-12-31"', 2932896),
        (logical("int", "time-millis"), '"00:00:01.5"', 1500),
        (logical("int", "time-millis"), '"23:59"', 86340000),
        (logical("long", "time-micros"), '"00:00:00.000001"', 1),
        (logical("long", "timestamp-millis"), "1500", 1500),
        (logical("long", "timestamp-millis"), '"1970-01-01T00:00:01.500Z"', 1500),
        (logical("long", "timestamp-millis"), '"1970-01-01T01:00:00.000000+01:00"', 0),
        (logical("long", "timestamp-micros"), '"1969-12-31T23:59:59.999999-0000"', -1),
        (logical("long", "timestamp-nanos"), '"1970-01-01 00:00:00.000000001z"', 1),
        (logical("long", "local-timestamp-millis"), '"1970-01-01T00:00:01"', 1000),
        (logical("long", "local-timestamp-micros"), '"1970-01-01T00:00:01"', 1000000),
        (logical("long", "local-timestamp-nanos"), '"1970-01-01T00:00:01,5"', 1500000000),
    ],
)
def test_a_date_or_time_is_a_number_or_iso_8601_text(schema: Any, text: str, number: int) -> None:
    assert long(schema, text) == number


@pytest.mark.parametrize(
    ("schema", "text", "code"),
    [
        (logical("int", "date"), '"-0500-01-01"', "date_out_of_range"),
        (logical("int", "date"), '"0000-01-01"', "date_out_of_range"),
        (logical("int", "date"), '"12025-01-01"', "date_out_of_range"),
        (logical("int", "date"), '"+12025-01-01"', "date_out_of_range"),
        (logical("int", "date"), '"500 BCE"', "date_out_of_range"),
        (logical("int", "date"), "2147483647", "date_out_of_range"),
        (logical("int", "date"), '"1897"', "date_incomplete"),
        (logical("int", "date"), '"1897-01"', "date_incomplete"),
        (logical("int", "date"), '"189u"', "date_incomplete"),
        (logical("int", "date"), '"1897-XX-XX"', "date_incomplete"),
        (logical("int", "date"), '"1897?"', "date_incomplete"),
        (logical("int", "date"), '"no date"', "invalid_date"),
        (logical("int", "date"), '"1897-02-30"', "invalid_date"),
        (logical("int", "date"), '"1897-01-01T00:00:00Z"', "invalid_date"),
        (logical("int", "date"), '"１８９７-01-01"', "invalid_date"),
        (logical("int", "date"), "1.5", "wrong_type"),
        (logical("int", "time-millis"), "86400000", "time_out_of_range"),
        (logical("int", "time-millis"), "-1", "time_out_of_range"),
        (logical("int", "time-millis"), '"24:00:00"', "invalid_time"),
        (logical("int", "time-millis"), '"noon"', "invalid_time"),
        (logical("int", "time-millis"), '"00:00:00.0001"', "not_exact"),
        (logical("long", "timestamp-millis"), '"1897-01-01T00:00:00"', "zone_missing"),
        (logical("long", "timestamp-millis"), '"1897-01-01"', "date_incomplete"),
        (logical("long", "timestamp-millis"), '"1897-01-01T25:00:00Z"', "invalid_time"),
        (logical("long", "timestamp-millis"), '"1897-01-01T00:00:00.0001Z"', "not_exact"),
        (logical("long", "timestamp-millis"), '"0001-01-01T00:00:00+01:00"', "date_out_of_range"),
        (logical("long", "timestamp-millis"), "9223372036854775807", "date_out_of_range"),
        (logical("long", "timestamp-nanos"), '"1500-01-01T00:00:00Z"', "date_out_of_range"),
        (logical("long", "timestamp-millis"), "9223372036854775808", "date_out_of_range"),
        (logical("long", "local-timestamp-millis"), '"1897-01-01T00:00:00Z"', "zone_not_allowed"),
        (logical("string", "uuid"), '"596c52d416d3580ca7db1e59cdb5ccf1"', "invalid_uuid"),
        (logical("string", "uuid"), "5", "wrong_type"),
        (DECIMAL, "1.234", "too_many_digits"),
        (DECIMAL, "1000", "too_many_digits"),
        (DECIMAL, "1e999999999999999999999", "too_many_digits"),
        (DECIMAL, '"1e-999999999999"', "too_many_digits"),
        (DECIMAL, '""', "invalid_decimal"),
        (DECIMAL, '"€"', "invalid_decimal"),
        (DECIMAL, '"abcdef"', "invalid_decimal"),
        (DECIMAL, '"1,50"', "invalid_decimal"),
        (DECIMAL, '"+5"', "invalid_decimal"),
        (DECIMAL, '"\\u0001\\u00f4"', "invalid_decimal"),
        (DECIMAL, '"01.5"', "invalid_decimal"),
        (DECIMAL, "true", "wrong_type"),
        (logical("fixed", "duration", name="D", size=12), '"P"', "invalid_duration"),
        (logical("fixed", "duration", name="D", size=12), '"P1.5D"', "invalid_duration"),
        (logical("fixed", "duration", name="D", size=12), '"P9999999999D"', "out_of_range"),
        (logical("fixed", "duration", name="D", size=12), '"PT0.0001S"', "not_exact"),
        (logical("fixed", "duration", name="D", size=12), '"short"', "invalid_duration"),
        (logical("fixed", "duration", name="D", size=12), '"abcdefghijkl"', "invalid_duration"),
    ],
)
def test_a_logical_type_is_checked(schema: Any, text: str, code: str) -> None:
    assert codes(schema, text) == [("", code)]


def test_the_advice_for_dates_of_museums_is_to_use_edtf_text() -> None:
    for text in ('"-0500-01-01"', '"1897"', '"no date"'):
        assert "EDTF" in errors(logical("int", "date"), text)[0].detail


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ("12.5", b"\4\4\xe2"),
        ("-0.01", b"\2\xff"),
        ("1e2", b"\4\x27\x10"),
        ("12.500", b"\4\4\xe2"),
        ("5", b"\4\1\xf4"),
        ('"5"', b"\4\1\xf4"),
        ('"-1.28"', b"\2\x80"),
        ('"1.28"', b"\4\0\x80"),
        ('"0e99999999"', b"\2\0"),
    ],
)
def test_a_decimal_is_a_number_or_the_text_of_one(text: str, payload: bytes) -> None:
    assert encode(DECIMAL, text) == payload


def test_a_decimal_of_fixed_size_is_filled_up_with_its_sign() -> None:
    schema = logical("fixed", "decimal", name="F", size=3, precision=6, scale=2)
    assert encode(schema, "-0.01") == b"\xff\xff\xff"
    assert encode(schema, "1") == b"\0\0\x64"
    assert encode(schema, '"\\u0000\\u0000d"', tagged=True) == b"\0\0d"


@pytest.mark.parametrize(
    ("text", "code"),
    [('""', "wrong_length"), ('"€"', "not_bytes"), ('"abcdef"', "too_many_digits"), ("1", "wrong_type")],
)
def test_a_decimal_with_tagged_content_is_bytes_that_fit(text: str, code: str) -> None:
    assert codes(DECIMAL, text, tagged=True) == [("", code)]


def test_a_duration_is_iso_8601_text_and_twelve_bytes_with_tagged_content() -> None:
    schema = logical("fixed", "duration", name="D", size=12)
    assert encode(schema, '"P1Y2M1W3DT1H1M1.5S"') == struct.pack("<3I", 14, 10, 3661500)
    assert encode(schema, '"Pbcdefghijkl"', tagged=True) == b"Pbcdefghijkl"


def test_a_uuid_of_fixed_size_is_text_or_sixteen_bytes() -> None:
    schema = logical("fixed", "uuid", name="U", size=16)
    assert encode(schema, f'"{UUID}"') == bytes.fromhex(UUID.replace("-", ""))
    assert encode(schema, '"abcdefghijklmnop"') == b"abcdefghijklmnop"
