"""The codec as the gateway uses it: drafts, the resource field, framing, and the museums' data."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from inlake.errors import InlakeError, NoResourceField, RecordRejected, Unprocessable
from inlake.formats.protobuf.codec import ProtobufCodec
from tests.google_protobuf import Google

EXAMPLES = Path(__file__).parents[4] / "examples"
REJECTS = json.loads((EXAMPLES / "expected-rejects.json").read_text())["rejects"]
SCHEMAS = {s["name"]: s for s in json.loads((EXAMPLES / "index.json").read_text())["schemas"]}
DATA = [s for s in SCHEMAS.values() if s["language"] == "PROTOBUF" and "data" in s]
EVERYTHING = (Path(__file__).parents[3] / "data/everything.proto").read_text()
PROTO3 = 'syntax = "proto3"; '


def references_of(schema: dict[str, Any]) -> dict[str, str]:
    return {r["name"]: (EXAMPLES / SCHEMAS[r["subject"]]["file"]).read_text() for r in schema.get("references", [])}


@pytest.mark.parametrize("schema", DATA, ids=lambda schema: schema["name"])
def test_the_museums_records_fit_or_are_refused_where_they_are_wrong(schema: dict[str, Any]) -> None:
    text, references, data = (EXAMPLES / schema["file"]).read_text(), references_of(schema), EXAMPLES / schema["data"]
    codec = ProtobufCodec(text, list(references.items()), message=schema["message"])
    google = Google(text, schema["message"], references)
    lines = (gzip.decompress(data.read_bytes()) if data.suffix == ".gz" else data.read_bytes()).splitlines()
    refused = {}
    for number, line in enumerate(lines, 1):
        draft = codec.read(line)
        try:
            payload = codec.encode(draft)
        except RecordRejected as error:
            refused[number] = sorted(found.pointer for found in error.errors)
            continue
        if number % 20 == 1:  # google's json_format takes a quarter of a millisecond a record
            assert google.from_bytes(payload[1:]) == google.from_json(line)
            assert codec.decode(payload) == google.to_plain(google.from_bytes(payload[1:]))
    expected = {r["line"]: sorted(r["pointers"]) for r in REJECTS if r["language"] == "protobuf" and r["file"] == schema["data"]}  # fmt: skip
    assert refused == expected


@pytest.mark.parametrize("message", ["p.A", "p.B", "p.A.C", "p.B.D.E"])
def test_confluent_s_deserializer_reads_what_we_frame(message: str) -> None:
    fields = "string name = 1; int64 size = 2;"
    text = (
        PROTO3
        + f"package p; message A {{ {fields} message C {{ {fields} }} }} message B {{ {fields} message D {{ message E {{ {fields} }} }} }}"
    )
    codec, google = ProtobufCodec(text, message=message), Google(text, message)
    value = b"\0\0\0\0\7" + codec.encode(codec.read(b'{"name":"spot.stl","size":"9007199254740993"}'))
    read = ProtobufDeserializer(google.type, {"use.deprecated.format": False})(
        value, SerializationContext("topic", MessageField.VALUE)
    )
    assert (read.name, read.size) == ("spot.stl", 2**53 + 1)


def test_the_resource_is_read_and_set_under_either_name() -> None:
    codec, google = ProtobufCodec(EVERYTHING), Google(EVERYTHING, "test.Everything")
    assert codec.has_resource_field
    for text in (
        '{"ResourcePath":"a"}',
        '{"__resource_path__":"a"}',
        '{"__resource_path__":"a","i32":"1","many_i32":["1"]}',
    ):
        draft = codec.read(text.encode())
        assert draft.resource == "a"
        filled = google.from_bytes(codec.encode(draft, "s3://bucket/é")[1:])
        assert filled.__resource_path__ == "s3://bucket/é"
        assert google.from_bytes(codec.encode(draft)[1:]).__resource_path__ == "a"
    for text in ("{}", '{"ResourcePath":null}', '{"i32":"1"}'):
        draft = codec.read(text.encode())
        assert draft.resource is None
        assert google.from_bytes(codec.encode(draft, "uri")[1:]).__resource_path__ == "uri"
    draft = codec.read(b'{"ResourcePath":7}')
    assert draft.resource == 7
    assert codec.encode(draft, "uri") == codec.encode(codec.read(b"{}"), "uri")
    with pytest.raises(RecordRejected):
        codec.encode(draft)


@pytest.mark.parametrize("kind", ["string", "optional string", "google.protobuf.StringValue"])
def test_text_in_any_form_can_hold_the_resource(kind: str) -> None:
    text = PROTO3 + f'import "google/protobuf/wrappers.proto"; message A {{ {kind} uri = 1; }}'
    codec = ProtobufCodec(text, resource_field="uri")
    assert codec.has_resource_field
    assert Google(text, "A").to_plain(Google(text, "A").from_bytes(codec.encode(codec.read(b"{}"), "x")[1:])) == {
        "uri": "x"
    }


@pytest.mark.parametrize("kind", ["int32", "bytes", "repeated string", "map<string, string>", "A"])
def test_other_kinds_cannot_hold_the_resource(kind: str) -> None:
    codec = ProtobufCodec(PROTO3 + f"message A {{ {kind} __resource_path__ = 1; }}")
    assert not codec.has_resource_field
    with pytest.raises(NoResourceField):
        codec.encode(codec.read(b"{}"), "x")


def test_an_error_elsewhere_is_told_also_when_the_resource_is_filled_in() -> None:
    codec = ProtobufCodec(EVERYTHING)
    with pytest.raises(RecordRejected) as caught:
        codec.encode(codec.read(b'{"i32":"x","i32":1,"yes":0}'), "uri")
    assert [error.pointer for error in caught.value.errors] == ["/i32", "/yes"]
    with pytest.raises(RecordRejected):
        codec.encode(codec.read(b"[]"), "uri")


@pytest.mark.parametrize("schema", [*(s["name"] for s in DATA), ""])
def test_the_example_fits_its_own_schema_and_google_takes_it_too(schema: str) -> None:
    found = SCHEMAS.get(schema, {"message": "test.Everything"})
    text = (EXAMPLES / found["file"]).read_text() if schema else EVERYTHING
    codec = ProtobufCodec(text, list(references_of(found).items()), message=found["message"])
    record = json.dumps(codec.example())
    google = Google(text, found["message"], references_of(found))
    assert google.from_bytes(codec.encode(codec.read(record.encode()))[1:]) == google.from_json(record)


def test_a_recursive_schema_has_an_example_and_an_endless_one_has_none() -> None:
    assert ProtobufCodec(PROTO3 + "message A { A a = 1; repeated A b = 2; int32 c = 3; }").example() == {"c": 1}
    with pytest.raises(Unprocessable):
        ProtobufCodec("message A { required A a = 1; }").example()
    wide = (
        PROTO3
        + "".join(
            f"message A{n} {{ " + " ".join(f"A{n + 1} f{i} = {i + 1};" for i in range(20)) + "}" for n in range(7)
        )
        + "message A7 {}"
    )
    assert len(json.dumps(ProtobufCodec(wide).example())) < 100_000


def test_ordinary_records_take_the_fast_path() -> None:
    codec = ProtobufCodec(EVERYTHING)
    text = '{"i32":1,"u64":"5","single":0.5,"text":"a:b","long_name_here":"é","children":[{"texts":{"a":"b"}}],"moment":"1970-01-01T00:00:00Z","wText":"x"}'
    for fast in (text, '{"text":"\\"\\\\","maybeText":"\\u0022\\u003a"}', '{"i32":null,"text":"","manyText":[]}'):
        assert codec.encode_plain(fast.encode()) == codec.encode(codec.read(fast.encode())), fast
    for slow in ('{"i32":"1"}', '{"i32":1,"i32":1}', '{"longNameHere":"a","long_name_here":"a"}', '{"double":-0}'):
        assert codec.encode_plain(slow.encode()) is None


@pytest.mark.parametrize(
    "payload",
    [b"", b"\0\x08", b"\x02", b"\x02\x63", b"\xff" * 11, b"\0\x0a\xff", b"\x02\x01\x00", b"\0" + b"\x8a\x01" * 300],
)
def test_a_payload_that_is_no_message_is_an_error_of_ours(payload: bytes) -> None:
    with pytest.raises(InlakeError, match="not a message of this schema"):
        ProtobufCodec(PROTO3 + "message A { int32 a = 1; string b = 2; }").decode(payload)
