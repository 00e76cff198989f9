"""The Avro codec as the path uses it: drafts, the resource field, malformed JSON, depth, decoding, examples."""

from __future__ import annotations

import io
import json
import struct
import sys
from datetime import UTC, date, datetime
from datetime import time as clock
from decimal import Decimal
from typing import Any
from uuid import UUID

import fastavro
import pytest
from confluent_kafka.schema_registry import Schema

from inlake.errors import MalformedJson, NoResourceField, RecordRejected, RecordTooLarge, Unprocessable
from inlake.formats import compile_codec
from inlake.formats.avro.codec import AvroCodec
from inlake.formats.json_text import ABSENT
from inlake.ports import Codec

URI = "s3://museum/objects/1/photo.jpg"


def record(*fields: Any, name: str = "R") -> dict[str, Any]:
    made = [{"name": f[0], "type": f[1], **({"default": f[2]} if len(f) > 2 else {})} for f in fields]
    return {"type": "record", "name": name, "fields": made}


def with_resource(type_: Any, *default: Any) -> AvroCodec:
    return AvroCodec(json.dumps(record(("title", "string"), ("__resource_path__", type_, *default))))


def test_a_schema_from_the_registry_becomes_a_codec() -> None:
    codec: Codec = compile_codec(Schema(json.dumps(record(("a", "int"))), "AVRO"), resource_field="a")
    assert codec.content_type == "application/vnd.confluent.avro"
    assert not codec.has_resource_field
    assert codec.encode(codec.read(b'{"a": 1}')) == b"\2"


@pytest.mark.parametrize(
    ("type_", "has"),
    [
        ("string", True),
        (["null", "string"], True),
        (["int", "string"], True),
        ("bytes", False),
        (["null", "int"], False),
        ({"type": "string", "logicalType": "uuid"}, False),
        ({"type": "array", "items": "string"}, False),
    ],
)
def test_the_resource_field_is_one_in_which_text_fits(type_: Any, has: bool) -> None:
    assert with_resource(type_).has_resource_field is has


@pytest.mark.parametrize(
    ("text", "resource"),
    [
        ('{"title": "x"}', None),
        ('{"title": "x", "__resource_path__": null}', None),
        ('{"title": "x", "__resource_path__": "a"}', "a"),
        ('{"title": "x", "__resource_path__": {"string": "a"}}', "a"),
        ('{"title": "x", "__resource_path__": 5}', 5),
        ('{"title": 7, "__resource_path__": "a"}', "a"),
        ("[]", None),
    ],
)
def test_a_draft_tells_the_resource_field_as_sent(text: str, resource: Any) -> None:
    codec = with_resource(["null", "string"], None)
    assert codec.read(text.encode()).resource == resource
    assert codec.read(text.encode(), tagged=True).resource == resource


@pytest.mark.parametrize("sent", ["", ', "__resource_path__": null', ', "__resource_path__": {"no": ["sense"]}'])
@pytest.mark.parametrize("tagged", [False, True])
def test_the_resource_is_filled_in_whatever_was_there(sent: str, tagged: bool) -> None:
    codec = with_resource(["null", "bytes", "string"])
    payload = codec.encode(codec.read(b'{"title": "x"' + sent.encode() + b"}", tagged=tagged), URI)
    assert payload == b"\2x\4" + bytes([2 * len(URI)]) + URI.encode()


def test_a_draft_can_be_encoded_with_and_without_a_resource() -> None:
    codec = with_resource(["null", "string"], None)
    draft = codec.read(b'{"title": "x"}')
    assert codec.encode(draft) == b"\2x\0"
    assert codec.encode(draft, "a") == b"\2x\2\2a"
    assert codec.encode(draft) == b"\2x\0"


def test_a_filled_record_is_still_checked() -> None:
    codec = with_resource("string")
    with pytest.raises(RecordRejected) as refused:
        codec.encode(codec.read(b'{"title": 5, "other": 1}'), URI)
    assert [error.pointer for error in refused.value.errors] == ["/title", "/other"]
    with pytest.raises(RecordRejected):
        codec.encode(codec.read(b"[]"), URI)


def test_a_resource_is_refused_where_the_schema_has_no_field_for_it() -> None:
    codec = AvroCodec('"int"')
    with pytest.raises(NoResourceField, match="__resource_path__"):
        codec.encode(codec.read(b"1"), URI)


def test_the_resource_is_filled_in_at_the_top_level_only() -> None:
    schema = record(("__resource_path__", ["null", "string"], None), ("inner", ["null", "R"], None))
    codec = AvroCodec(json.dumps(schema))
    draft = codec.read(b'{"inner": {"__resource_path__": "b"}}')
    assert codec.encode(draft, "a") == b"\2\2a\2\2\2b\0"


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        (b"", 1, 1),
        (b'{"a": 1', 1, 8),
        (b'{"a":\n NaN}', 2, 2),
        (b'{"a":\r\n\t-Infinity}', 2, 3),
        (b'{"a": 01}', 1, 8),
        (b'{"a": 1}}', 1, 9),
        ('{"é": "é",\n "ü": x}'.encode(), 2, 7),
        (b'{"a": "\xff"}', 1, 8),
        (b'{"\xff": 1}', 1, 3),
        (b'{"a": "\xed\xa0\x80"}', 1, 8),
        (b'{"a":\n"\\ud800"}', 2, 2),
        (b'{"a": "\\udc00\\ud800"}', 1, None),
        (b'{"a": "\n"}', 1, 8),
        (b"{'a': 1}", 1, 2),
        (b'{"a": ' + b"9" * 60 + b', "b": NaN}', 1, 74),
        (b'{"a": ' + b"9" * 60 + b', "b": "\\ud800"}', None, None),
        (b'{"a": ' + b"9" * 60 + b', "b": "\xff"}', 1, 75),
        (b'{"a": ' + b"9" * 60 + b', "b": ]}', 1, 74),
    ],
)
@pytest.mark.parametrize("tagged", [False, True])
def test_what_is_not_json_is_refused_with_line_and_column(text: bytes, line: Any, column: Any, tagged: bool) -> None:
    codec = AvroCodec(json.dumps(record(("a", "double"), ("b", "double", 1))))
    with pytest.raises(MalformedJson) as refused:
        codec.read(text, tagged=tagged)
    assert refused.value.members["line"] == (line or refused.value.members["line"])
    assert refused.value.members["column"] == (column or refused.value.members["column"])
    assert "found" in refused.value.detail


def test_bytes_that_are_not_utf_8_are_refused_in_a_field_the_schema_does_not_know() -> None:
    codec = AvroCodec(json.dumps(record(("a", "int"))))
    with pytest.raises(MalformedJson, match="0xff"):
        codec.read(b'{"a": 1, "b": "\xff"}')


def test_a_byte_order_mark_is_skipped() -> None:
    codec = AvroCodec('"int"')
    assert codec.encode(codec.read(b"\xef\xbb\xbf1")) == b"\2"


def test_of_equal_keys_the_last_is_validated_and_published() -> None:
    codec = AvroCodec(json.dumps(record(("a", "int"))))
    for text in b'{"a": "x", "a": 1}', b'{"a": -0, "a": 1}':  # -0 takes another reader
        assert codec.encode_plain(text) in {None, b"\2"}
        assert codec.encode(codec.read(text)) == b"\2"
    with pytest.raises(RecordRejected):
        codec.encode(codec.read(b'{"a": 1, "a": "x"}'))


@pytest.mark.parametrize("max_depth", [200, 500])
def test_a_record_may_be_nested_up_to_the_limit(max_depth: int) -> None:
    limit = sys.getrecursionlimit()
    schema = record(("next", ["int", "R", {"type": "map", "values": "R"}]))
    codec = AvroCodec(json.dumps(schema), max_depth=max_depth)

    def nested(depth: int, leaf: bytes) -> bytes:
        return b'{"next":' * depth + leaf + b"}" * depth

    assert codec.encode(codec.read(nested(max_depth, b"7"))) == b"\2" * (max_depth - 1) + b"\0\x0e"
    payload = codec.encode(codec.read(nested(max_depth // 2, b'{"map":{"k":{"next":7}}}')))
    assert codec.decode(payload)
    with pytest.raises(RecordRejected) as refused:
        codec.encode(codec.read(nested(max_depth, b'"x"')))
    assert refused.value.errors[0].pointer == "/next" * max_depth
    for text in (nested(max_depth + 1, b"7"), b"[" * 500_000, b'{"a":' * 100_000, b'"[' * 300 + b"[" * 600):
        for tagged in (False, True):
            with pytest.raises((RecordRejected, MalformedJson)):
                codec.read(text, tagged=tagged)
    sys.setrecursionlimit(limit)


def test_brackets_in_strings_are_not_depth() -> None:
    codec = AvroCodec('{"type": "array", "items": "string"}', max_depth=5)
    texts = ["[" * 50, '\\"[[[[[[[[', "]}" * 9, '"{{{{{{{{{']
    payload = codec.encode(codec.read(json.dumps(texts).encode()))
    assert codec.decode(payload) == texts


def test_long_open_strings_are_scanned_in_linear_time() -> None:
    codec = AvroCodec('"string"', max_depth=5)
    with pytest.raises((MalformedJson, RecordRejected)):
        codec.read(b'"' + b'\\"[' * 300_000)


def test_the_fast_path_takes_ordinary_records() -> None:
    schema = record(("a", ["null", "string"], None), ("b", {"type": "array", "items": "double"}), ("c", "float"))
    codec = AvroCodec(json.dumps(schema))
    draft = codec.read(b'{"b": [1, 2.5], "c": 0.1}')
    assert draft.typed is not ABSENT
    assert codec._write(draft.typed, draft.text) == codec.encode(draft)


def test_decode_shows_plain_values() -> None:
    def logical(logical_type: str, underlying: str, **more: Any) -> dict[str, Any]:
        return {"type": underlying, "logicalType": logical_type, **more}

    schema = record(
        ("date", logical("date", "int")),
        ("time", logical("time-micros", "long")),
        ("instant", logical("timestamp-millis", "long")),
        ("local", logical("local-timestamp-nanos", "long")),
        ("decimal", logical("decimal", "bytes", precision=5, scale=2)),
        ("uuid", logical("uuid", "fixed", name="U", size=16)),
        ("duration", logical("duration", "fixed", name="D", size=12)),
        ("printable", "bytes"),
        ("binary", "bytes"),
        ("choice", ["null", {"type": "enum", "name": "E", "symbols": ["A", "B"]}]),
        ("map", {"type": "map", "values": "float"}),
    )
    sent = {
        "date": "1897-07-21",
        "time": "13:45:00.000001",
        "instant": "1897-07-21T13:45:00.500Z",
        "local": "1897-07-21T13:45:00.000000001",
        "decimal": -1.25,
        "uuid": "596c52d4-16d3-580c-a7db-1e59cdb5ccf1",
        "duration": "P1M2DT3.004S",
        "printable": "hello",
        "binary": "\x00\xff",
        "choice": "B",
        "map": {"k": 1.5},
    }
    codec = AvroCodec(json.dumps(schema))
    payload = codec.encode(codec.read(json.dumps(sent).encode()))
    assert codec.decode(payload) == {**sent, "decimal": "-1.25", "binary": "0x00ff"}
    other: Any = fastavro.schemaless_reader(io.BytesIO(payload), schema, None)
    assert other["choice"] == "B"


def test_decode_reads_blocks_as_other_writers_make_them() -> None:
    codec = AvroCodec('{"type": "array", "items": "int"}')
    assert codec.decode(b"\2\2" + b"\3\4\4\6" + b"\0") == [1, 2, 3]
    assert codec.decode(b"\1\2\2\0") == [1]


@pytest.mark.parametrize(
    ("schema", "payload", "reason"),
    [
        ('"int"', b"\2\2", "1 bytes follow"),
        ('"int"', b"", "too early"),
        ('"int"', b"\x80" * 11, "64 bits"),
        ('"string"', b"\x06ab", "too early"),
        ('"string"', b"\1", "too early"),
        ('"string"', b"\2\xff", "UTF-8"),
        ('"boolean"', b"\2", "boolean"),
        ('["null", "int"]', b"\4", "branch"),
        ('["null", "int"]', b"\1", "branch"),
        ('{"type": "array", "items": "null"}', b"\xfe\xff\xff\xff\x0f\0", "values"),
        (
            '{"type": "record", "name": "R", "fields": [{"name": "r", "type": ["null", "R"]}]}',
            b"\2" * 100_000,
            "deeply",
        ),
    ],
)
def test_a_payload_that_does_not_fit_is_refused(schema: str, payload: bytes, reason: str) -> None:
    with pytest.raises(Unprocessable, match=reason):
        AvroCodec(schema).decode(payload)


def test_an_example_uses_defaults_and_ends_for_recursive_schemas() -> None:
    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}
    schema = record(
        ("n", "int", 5),
        ("d", decimal, "0"),
        ("f", "double", 2.5),
        ("next", ["null", "R"]),
        ("all", {"type": "map", "values": "R"}),
    )
    codec = AvroCodec(json.dumps(schema))
    example = codec.example()
    assert example == {"n": 5, "f": 2.5, "next": None, "all": {}}
    assert codec.encode(codec.read(json.dumps(example).encode())) == b"\x0a\x020" + struct.pack("<d", 2.5) + b"\0\0"


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "int", "logicalType": "date"}, '"1897-07-21"', date(1897, 7, 21)),
        ({"type": "int", "logicalType": "time-millis"}, '"13:45:00.5"', clock(13, 45, 0, 500_000)),
        ({"type": "long", "logicalType": "time-micros"}, '"13:45:00.000001"', clock(13, 45, 0, 1)),
        (
            {"type": "long", "logicalType": "timestamp-micros"},
            '"1897-07-21T13:45:00.000001+02:00"',
            datetime(1897, 7, 21, 11, 45, 0, 1, UTC),
        ),
        (
            {"type": "long", "logicalType": "local-timestamp-millis"},
            '"1897-07-21T13:45:00"',
            datetime(1897, 7, 21, 13, 45),  # noqa: DTZ001  local on purpose
        ),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3}, "-1234.5", Decimal("-1234.500")),
        (
            {"type": "fixed", "name": "F", "size": 4, "logicalType": "decimal", "precision": 9},
            "-70000",
            Decimal(-70000),
        ),
        (
            {"type": "string", "logicalType": "uuid"},
            '"596C52D4-16D3-580C-A7DB-1E59CDB5CCF1"',
            UUID("596c52d4-16d3-580c-a7db-1e59cdb5ccf1"),
        ),
    ],
)
def test_another_reader_sees_the_same_date_decimal_or_uuid(schema: Any, text: str, value: Any) -> None:
    codec = AvroCodec(json.dumps(schema))
    payload = codec.encode(codec.read(text.encode()))
    assert fastavro.schemaless_reader(io.BytesIO(payload), schema, None) == value


@pytest.mark.parametrize("items", [{"type": "record", "name": "S", "fields": [{"name": "s", "type": "string", "default": "x" * 60_000}]},
                                   ["null", {"type": "map", "values": "int"}, {"type": "record", "name": "S", "fields": [{"name": "s", "type": "string", "default": "x" * 60_000}]}]])  # fmt: skip
def test_defaults_that_make_a_record_too_large_are_refused_before_it_is_made(items: Any) -> None:
    schema = {"type": "record", "name": "R", "fields": [{"name": "x", "type": {"type": "array", "items": items}}]}
    codec = AvroCodec(json.dumps(schema), max_bytes=900_000)
    few, many = (b'{"x": [' + b",".join([b'{"S": {}}' if isinstance(items, list) else b"{}"] * count) + b"]}" for count in (11, 20_000))  # fmt: skip
    assert len(codec.encode(codec.read(few))) > 600_000
    for encode in (codec.encode_plain, lambda record: codec.encode(codec.read(record))):
        with pytest.raises(RecordTooLarge, match="900,000"):
            encode(many)  # else a gigabyte
