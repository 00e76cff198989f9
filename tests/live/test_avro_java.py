"""Apache Avro's Java library as a second opinion: it reads what we write, and takes the tagged form as we do."""

from __future__ import annotations

import base64
import json
import os
import re
import struct
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inlake.errors import InlakeError, RecordRejected
from inlake.formats.avro.codec import AvroCodec
from tests.unit.formats.avro.test_properties import Known, fitting, mutated, read_back, schemas, with_tags

pytestmark = [pytest.mark.live, pytest.mark.slow]

EXAMPLES = int(os.environ.get("INLAKE_TEST_FUZZ", "150"))
Ask = Callable[[Any, dict[str, Any]], dict[str, Any]]
"""Asks Java about a schema and `binary` or `json`."""
fuzz = settings(
    deadline=None,
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def avro(java: list[str]) -> Iterator[Ask]:
    with subprocess.Popen([*java, "Fuzz"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        stdin, stdout = process.stdin, process.stdout

        def ask(schema: Any, given: dict[str, Any]) -> dict[str, Any]:
            stdin.write(json.dumps({"schema": json.dumps(schema), **given}).encode() + b"\n")
            stdin.flush()
            return dict(json.loads(stdout.readline()))

        yield ask
        stdin.close()


def encode(codec: AvroCodec, text: str, *, tagged: bool = False) -> tuple[bytes | None, set[str]]:
    """The bytes, or the codes of the errors."""
    try:
        return codec.encode(codec.read(text.encode(), tagged=tagged)), set()
    except RecordRejected as refusal:
        return None, {error.code for error in refusal.errors}


@fuzz
@given(data=st.data())
def test_java_reads_every_accepted_value_as_it_was_sent(avro: Ask, data: st.DataObject) -> None:
    schema = data.draw(schemas())
    value = data.draw(fitting(schema, Known(schema)))
    if data.draw(st.booleans()):
        value = data.draw(mutated(value))
    payload, _ = encode(AvroCodec(json.dumps(schema)), json.dumps(value))
    if payload is None:
        return
    answer = avro(schema, {"binary": base64.b64encode(payload).decode()})
    assert "refused" not in answer, (schema, value, answer)
    ours = read_back(schema, payload)
    assert read_back(schema, base64.b64decode(answer["binary"])) == ours
    if not without_fields(Known(schema)):  # Java writes them as no text at all
        assert equal(untagged(json.loads(answer["json"]), schema, Known(schema)), ours)


@fuzz
@given(data=st.data())
def test_the_tagged_form_is_taken_and_refused_as_in_java(avro: Ask, data: st.DataObject) -> None:
    schema = data.draw(schemas())
    known = Known(schema)
    _, value = data.draw(with_tags(schema, known))
    if data.draw(st.booleans()):
        value = data.draw(mutated(value))
    text = json.dumps(value)
    payload, codes = encode(AvroCodec(json.dumps(schema)), text, tagged=True)
    answer = avro(schema, {"json": text})
    if payload is None:
        assert "refused" in answer or codes & STRICTER or is_odd(text, known), (schema, text, codes)
    elif "refused" in answer:
        assert is_more(value, schema, known), (schema, text, answer)
    else:
        assert read_back(schema, base64.b64decode(answer["binary"])) == read_back(schema, payload)


STRICTER = {
    "unknown_field", "not_bytes", "not_exact", "out_of_range", "date_out_of_range", "time_out_of_range", "invalid_uuid",
    "too_many_digits",
}  # fmt: skip
"""Codes of errors that Java lets pass; out of range are floats only."""


def is_odd(text: str, known: Known) -> bool:
    """What Java takes and no code of an error tells: anything for a record without fields, a second member beside the tag
    of a union, a tagged null, a decimal of no bytes, an integer with a fraction of 0 or an exponent."""
    return without_fields(known) or re.search(r'"f9": |{"null": |""|\d(\.0\b|e)', text) is not None


def without_fields(known: Known) -> bool:
    return any(named.get("fields") == [] for named in known.values())


def is_more(value: Any, schema: Any, known: Known) -> bool:
    """Whether a value holds what Java's decoder does not know: a field left to its default, text for a date or time."""
    if isinstance(schema, list):
        branch = next((b for b in schema if isinstance(value, dict) and [tag_of(b)] == list(value)), "null")
        return branch != "null" and is_more(value[tag_of(branch)], branch, known)
    schema = known.get(schema, schema) if isinstance(schema, str) else schema
    kind = schema if isinstance(schema, str) else schema["type"]
    if kind == "record":
        return any(f["name"] not in value or is_more(value[f["name"]], f["type"], known) for f in schema["fields"])
    if kind == "array":
        return any(is_more(item, schema["items"], known) for item in value)
    if kind == "map":
        return any(is_more(item, schema["values"], known) for item in value.values())
    return kind in ("int", "long") and isinstance(value, str)


def record(*fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": "R", "fields": list(fields)}


def logical(name: str, type_: str = "int", **more: Any) -> dict[str, Any]:
    return {"type": type_, "logicalType": name, **more}


DECIMAL = logical("decimal", "bytes", precision=4, scale=2)
FIXED = {"type": "fixed", "name": "F", "size": 2}
A = {"name": "a", "type": "int"}
ONLY_IN_JAVA: list[tuple[Any, str]] = [
    ("int", "1.0"), ("long", "1e3"), ("float", "1e39"), ("double", "1e400"), ("float", "16777217"),
    ("double", "9007199254740993"), ("bytes", '"\u0100"'), (FIXED, '"a\u0100"'), (record(A), '{"a":1,"b":2}'),
    (record({**A, "aliases": ["b"]}), '{"b":1}'), (record(), "3"), (["null", "int"], '{"int":1,"x":2}'),
    (["null", "int"], '{"null":null}'), (DECIMAL, '"abcdefgh"'), (DECIMAL, '""'), (logical("date"), "99999999"),
    (logical("time-millis"), "-1"), (logical("timestamp-millis", "long"), "9223372036854775807"),
    (logical("uuid", "string"), '"x"'), ("int", "1 2"), ("string", '"\\ud800"'),
]  # fmt: skip
ONLY_HERE: list[tuple[Any, str]] = [
    (record({**A, "default": 7}), "{}"), (record({"name": "a", "type": ["null", "int"], "default": None}), "{}"),
    (logical("date"), '"2020-01-01"'), (logical("time-millis"), '"10:00:00"'), ("int", "\ufeff1"),
    (logical("timestamp-millis", "long"), '"2020-01-01T00:00:00Z"'),
    ({"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"}, '"596c52d4-16d3-580c-a7db-1e59cdb5ccf1"'),
]  # fmt: skip
NOWHERE: list[tuple[Any, str]] = [
    ("int", "1.5"), ("int", "2147483648"), ("int", '"1"'), ("double", '"NaN"'), ("double", "NaN"), ("boolean", "1"),
    ("string", "1"), (FIXED, '"abc"'), ({"type": "enum", "name": "E", "symbols": ["A"], "default": "A"}, '"C"'),
    (record(A), "{}"), (["null", "int"], "1"), (["null", "int"], '{"long":1}'), (DECIMAL, "1.5"),
    ({"type": "fixed", "name": "L", "size": 12, "logicalType": "duration"}, '"P1Y"'), ("int", "01"), ("int", ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "text", "here", "there"),
    [
        *((*case, False, True) for case in ONLY_IN_JAVA),
        *((*case, True, False) for case in ONLY_HERE),
        *((*case, False, False) for case in NOWHERE),
    ],
)
def test_the_differences_are_those_of_docs_avro_md(avro: Ask, schema: Any, text: str, here: bool, there: bool) -> None:
    codec = AvroCodec(json.dumps(schema))
    try:
        taken = codec.encode(codec.read(text.encode(), tagged=True)) is not None
    except InlakeError:
        taken = False
    assert (taken, "refused" not in avro(schema, {"json": text})) == (here, there)


def test_of_two_equal_keys_the_last_wins_here_and_in_a_map_of_java_s(avro: Ask) -> None:
    for schema, payload, java in (
        (record(A), b"\x04", b"\x02"),
        ({"type": "map", "values": "int"}, b"\2\2a\4\0", None),
    ):
        ours, _ = encode(AvroCodec(json.dumps(schema)), '{"a":1,"a":2}', tagged=True)
        assert ours == payload
        assert base64.b64decode(avro(schema, {"json": '{"a":1,"a":2}'})["binary"]) == (java or payload)


def untagged(value: Any, schema: Any, known: Known) -> Any:
    """A value of Avro's JSON encoding as fastavro gives it: the names of branches gone, bytes as bytes."""
    if isinstance(schema, list):
        if value is None:
            return None
        ((tag, inside),) = value.items()
        (branch,) = [branch for branch in schema if tag_of(branch) == tag]
        return untagged(inside, branch, known)
    schema = known.get(schema, schema) if isinstance(schema, str) else schema
    kind = schema if isinstance(schema, str) else schema["type"]
    if kind == "record":
        types = {field["name"]: field["type"] for field in schema["fields"]}
        assert value.keys() == types.keys()
        return {name: untagged(value[name], type_, known) for name, type_ in types.items()}
    if kind == "array":
        return [untagged(item, schema["items"], known) for item in value]
    if kind == "map":
        return {key: untagged(item, schema["values"], known) for key, item in value.items()}
    return value.encode("latin-1") if kind in ("bytes", "fixed") else value


def tag_of(branch: Any) -> str:
    return branch if isinstance(branch, str) else str(branch.get("name", branch["type"]))


def equal(java: Any, python: Any) -> bool:
    """Whether two readers saw the same; Java writes a float with the digits that make it, not with those of a double."""
    if isinstance(python, float):
        return isinstance(java, int | float) and (
            java == python or struct.pack("<f", java) == struct.pack("<f", python)
        )
    if isinstance(python, dict):
        return java.keys() == python.keys() and all(equal(java[key], python[key]) for key in python)
    if isinstance(python, list):
        return len(java) == len(python) and all(map(equal, java, python))
    return type(java) is type(python) and bool(java == python)
