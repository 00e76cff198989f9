"""The codec against random records: google's runtime reads the same, and the fast path never differs from the walker."""

from __future__ import annotations

import base64
import copy
import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from inlake.errors import InlakeError, RecordRejected
from inlake.formats.json_text import ABSENT
from inlake.formats.protobuf.codec import ProtobufCodec
from inlake.formats.protobuf.exact import walk
from inlake.formats.protobuf.parse import parse_record, strings_in
from inlake.formats.protobuf.types import WRAPPERS, Element, Field, Message
from inlake.formats.protobuf.wire import RANGES
from inlake.formats.source import UNDECIDED
from tests.google_protobuf import Google

settings.register_profile("protobuf", deadline=None, max_examples=100)
settings.load_profile("protobuf")

SCHEMA = (Path(__file__).parents[3] / "data/everything.proto").read_text()
PROTO2 = """
syntax = "proto2";
package test;
message Everything {
  required int32 id = 3;
  optional group Inside = 1 { optional string text = 1; repeated group Part = 2 { required bool yes = 1; } }
  enum Kind { ONE = 1; TWO = 2; }
  optional Kind kind = 2 [default = TWO];
  repeated Kind kinds = 4;
  repeated int32 loose = 5;
  repeated sfixed32 tight = 6 [packed = true];
  optional string name = 7 [default = "x"];
  map<string, int32> by_name = 8;
  extensions 100 to 200;
}
"""
EDITION = """
edition = "2023";
package test;
message Everything {
  int32 id = 1;
  string plain = 2 [features.field_presence = IMPLICIT];
  Everything child = 3 [features.message_encoding = DELIMITED];
  repeated int32 loose = 4 [features.repeated_field_encoding = EXPANDED];
  enum Kind { option features.enum_type = CLOSED; ONE = 1; }
  Kind kind = 5;
  repeated Everything children = 6 [features.message_encoding = DELIMITED];
  int64 must = 7 [features.field_presence = LEGACY_REQUIRED];
}
"""
SCHEMAS = [SCHEMA, PROTO2, EDITION]
CODECS = [ProtobufCodec(schema) for schema in SCHEMAS]
GOOGLES = [Google(schema, "test.Everything") for schema in SCHEMAS]
GOOGLE_FAILS = re.compile(rb"many_?(values|nothing)|value_?by_?name", re.IGNORECASE)
"""Fields where google's Python stumbles over null: lists of NullValue, and null for a list or map of Value."""
TEXTS = st.sampled_from(["", "a", "é", "😀", "1", "NaN", '":', "\\", "\n", "__", "-0", ": -0", "x" * 5_000])
WRONG: list[Any] = [None, True, "x", "1.5", 1.5, -1, 2**31, 2**63, 2**64, [], {}, [None], {"a": None}, [1], "RED", 1e39]
DOUBLES = st.sampled_from([0, 1, -1, 0.5, -0.0, 1e300, 1e-300, 2**53, "NaN", "-Infinity", "0.1", "-0", 0.1])
SINGLES = st.sampled_from([0, 1, 0.5, -0.0, 0.1, 3e38, 1e-45, 1e-60, 2**24, "NaN", "Infinity", "0.1"])
SPECIAL: dict[str, st.SearchStrategy[Any]] = {
    "google.protobuf.Timestamp": st.sampled_from(["1970-01-01T00:00:00Z", "1897-07-21T13:45:00.5+01:00"]),
    "google.protobuf.Duration": st.sampled_from(["0s", "-1.5s", "3.000000001s"]),
    "google.protobuf.FieldMask": st.sampled_from(["", "a", "a,bC.d"]),
    "google.protobuf.Empty": st.just({}),
    "google.protobuf.Any": st.sampled_from(
        [{}, {"@type": "x/test.Everything", "i32": 1}, {"@type": "x/google.protobuf.Duration", "value": "1s"}]
    ),
}
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), TEXTS, st.sampled_from([0, -1.5, 2**53])),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(TEXTS, inner, max_size=2)),
    max_leaves=4,
)
SPECIAL |= {
    "google.protobuf.Value": VALUES,
    "google.protobuf.Struct": st.dictionaries(TEXTS, VALUES, max_size=2),
    "google.protobuf.ListValue": st.lists(VALUES, max_size=2),
}


def integers(kind: str) -> st.SearchStrategy[Any]:
    low, high = RANGES[kind]
    number = st.one_of(st.sampled_from([low, high, 0, 1, 4095, 4096]), st.integers(low, high))
    return st.one_of(number, number.map(str), st.integers(0, 1000).map(float))


@st.composite
def scalars(draw: st.DrawFn, kind: str) -> Any:
    if kind in RANGES:
        return draw(integers(kind))
    if kind in ("double", "float"):
        return draw(DOUBLES if kind == "double" else SINGLES)
    if kind == "bool":
        return draw(st.booleans())
    if kind == "string":
        return draw(TEXTS)
    data = draw(st.binary(max_size=5))
    text = draw(st.sampled_from([base64.b64encode, base64.urlsafe_b64encode]))(data).decode()
    return draw(st.sampled_from([text, text.rstrip("=")]))


@st.composite
def elements(draw: st.DrawFn, element: Element, depth: int) -> Any:
    if element.message is not None:
        return draw(messages(element.message, depth - 1))
    if element.enum is None:
        return draw(scalars(element.kind))
    if element.enum.is_null:
        return draw(st.sampled_from(["NULL_VALUE", 0]))
    names = list(element.enum.numbers)
    return draw(st.sampled_from([*names, *element.enum.numbers.values(), *([] if element.enum.closed else [77])]))


@st.composite
def keys(draw: st.DrawFn, kind: str) -> str:
    if kind in RANGES:
        return str(draw(st.integers(*RANGES[kind])))
    return draw(TEXTS if kind == "string" else st.sampled_from(["true", "false"]))


@st.composite
def fields(draw: st.DrawFn, field: Field, depth: int) -> Any:
    if not field.element.takes_null and draw(st.integers(0, 9)) == 0 and not field.required:
        return None
    if field.key is not None:
        return draw(st.dictionaries(keys(field.key.kind), elements(field.element, depth), max_size=2))
    if field.repeated:
        return draw(st.lists(elements(field.element, depth), max_size=3))
    return draw(elements(field.element, depth))


@st.composite
def messages(draw: st.DrawFn, type_: Message, depth: int = 2) -> Any:
    if type_.name in WRAPPERS:
        return draw(scalars(WRAPPERS[type_.name]))
    if type_.special:
        return copy.deepcopy(draw(SPECIAL[type_.name]))  # `mutated` changes it
    wanted = draw(st.lists(st.sampled_from(type_.fields), max_size=5 if depth > 0 else 2, unique=True))
    chosen = {one.number: one for one in type_.fields if one.required} | {one.number: one for one in wanted}
    oneofs: set[str] = set()
    value: dict[str, Any] = {}
    for field in chosen.values():
        message = field.element.message
        if (message and not message.special and depth <= 0) or field.oneof in oneofs:
            continue
        oneofs |= {field.oneof} if field.oneof else set()
        value[draw(st.sampled_from([field.name, field.json_name]))] = draw(fields(field, depth))
    return value


@st.composite
def mutated(draw: st.DrawFn, type_: Message) -> Any:
    """A record with one value of it replaced by something, or something added."""
    record = draw(messages(type_))
    spots: list[tuple[Any, Any]] = []
    open_ = [record]
    while open_:
        value = open_.pop()
        inner = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
        spots += [(value, key) for key, _ in inner]
        open_ += [one for _, one in inner if isinstance(one, (dict, list))]
    if not spots or draw(st.integers(0, 5)) == 0:
        record[draw(st.sampled_from([*type_.names, "nope", "[x.y]"]))] = draw(st.sampled_from(WRONG))
    else:
        value, key = draw(st.sampled_from(spots))
        value[key] = draw(st.sampled_from(WRONG))
    return record


def encode(codec: ProtobufCodec, text: bytes) -> bytes | None:
    """The message in bytes, checked against the law; None when it is refused."""
    draft = codec.read(text)
    fast = None
    if draft.typed is not ABSENT:
        with suppress(*UNDECIDED):
            fast = codec._write(draft.typed, text)
    exact, errors = walk(codec._types, codec.root, parse_record(text))
    if fast is not None:
        assert (errors, fast) == ([], b"\0" + exact)
    try:
        payload = codec.encode(draft)
    except RecordRejected:
        assert errors
        return None
    assert payload == b"\0" + exact
    return exact


def same(google: Google, left: bytes, right: bytes) -> bool:
    """Whether two messages are one; NaN equals itself here, and maps have no order."""
    one, other = google.from_bytes(left), google.from_bytes(right)
    return bool(one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True))


@given(st.data())
def test_google_reads_what_was_sent(data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(SCHEMAS) - 1))
    codec, google = CODECS[number], GOOGLES[number]
    record = data.draw(messages(codec.root))
    text = json.dumps(record, ensure_ascii=data.draw(st.booleans())).encode()
    encoded = encode(codec, text)
    assert encoded is not None
    assert same(google, encoded, google.from_json(text).SerializeToString())


@given(st.data())
def test_what_we_take_google_takes_and_reads_the_same(data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(SCHEMAS) - 1))
    codec, google = CODECS[number], GOOGLES[number]
    text = json.dumps(data.draw(mutated(codec.root))).encode()
    encoded = encode(codec, text)
    if encoded is not None and not GOOGLE_FAILS.search(text):
        assert same(google, encoded, google.from_json(text).SerializeToString())


@given(st.data())
def test_what_google_refuses_we_refuse(data: st.DataObject) -> None:
    text = json.dumps(data.draw(mutated(CODECS[0].root))).encode()
    try:
        GOOGLES[0].from_json(text)
    except (json_format.ParseError, OverflowError, ValueError, TypeError):
        assert encode(CODECS[0], text) is None or GOOGLE_FAILS.search(text)


@given(st.data())
def test_a_decoded_payload_says_what_google_says(data: st.DataObject) -> None:
    codec, google = CODECS[0], GOOGLES[0]
    record = data.draw(messages(codec.root))
    encoded = encode(codec, json.dumps(record).encode())
    assert encoded is not None
    again = encode(codec, json.dumps(codec.decode(b"\0" + encoded)).encode())
    assert again is not None
    assert same(google, encoded, again)


@given(st.data())
def test_a_key_given_twice_is_never_lost(data: st.DataObject) -> None:
    codec = CODECS[0]
    record = data.draw(messages(codec.root))
    text = json.dumps(record, separators=data.draw(st.sampled_from([(",", ":"), (" , ", " : ")])))
    places = [at for at, letter in enumerate(text) if letter == "{" and text[at + 1 : at + 2] == '"']
    if not places:
        return
    at = data.draw(st.sampled_from(places)) + 1
    key, _ = json.JSONDecoder().raw_decode(text, at)
    escaped = data.draw(st.sampled_from([key, *([f"\\u{ord(key[0]):04x}{key[1:]}"] if key[:1].isalpha() else [])]))
    doubled = (
        f'{text[:at]}"{escaped}":null,{text[at:]}' if '"' not in key and "\\" not in key and "\n" not in key else ""
    )
    if doubled:
        assert encode(codec, doubled.encode()) is None


@given(st.data())
def test_what_was_read_is_taken_only_with_a_text_of_as_many_strings(data: st.DataObject) -> None:
    codec = CODECS[data.draw(st.integers(0, len(CODECS) - 1))]
    text = json.dumps(data.draw(messages(codec.root))).encode()
    typed, strings = codec.read(text).typed, strings_in(text)
    if typed is not ABSENT:
        taken = [count for count in range(strings + 3) if is_written(codec, typed, b'""' * count)]
        assert taken in ([], [strings])  # none: a value is undecided, not the number


def is_written(codec: ProtobufCodec, typed: Any, text: bytes) -> bool:
    try:
        return bool(codec._write(typed, text))
    except UNDECIDED:
        return False


@pytest.mark.parametrize("escapes", [b"", rb"\u0022\u0022", rb"\u0022\u0022\u0022\u0022"])
def test_a_key_given_twice_is_not_hidden_by_quotes_that_are_escaped_otherwise(escapes: bytes) -> None:
    codec = ProtobufCodec('syntax = "proto3"; message M { string s = 1; int32 n = 2; }')
    assert codec.encode_plain(b'{"s": "%b", "n": 1}' % escapes) is not None
    assert codec.encode_plain(b'{"n": 2, "s": "%b", "n": 1}' % escapes) is None


@given(st.text(max_size=20))
def test_strings_are_counted_whatever_is_in_them(text: str) -> None:
    for ascii_only in (True, False):
        assert strings_in(json.dumps({text: [text, {"a": text}]}, ensure_ascii=ascii_only).encode()) == 4


@given(st.binary(max_size=60))
def test_any_bytes_decode_or_are_refused_as_an_error_of_ours(payload: bytes) -> None:
    for codec in CODECS:
        for framed in (b"\0" + payload, payload):
            with suppress(InlakeError):
                codec.decode(framed)


@given(st.text(alphabet='{}[]":,-0123456789.eE\\u i32textNa', max_size=30))
def test_any_text_is_encoded_or_refused_as_an_error_of_ours(text: str) -> None:
    with suppress(InlakeError):
        encode(CODECS[0], text.encode())
