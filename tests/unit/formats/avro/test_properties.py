"""The codec against random schemas and values: what it writes is read by fastavro, which shares no line with it."""

from __future__ import annotations

import io
import json
import struct
from typing import Any

import fastavro
from hypothesis import given, settings
from hypothesis import strategies as st

from inlake.errors import InlakeError, RecordRejected
from inlake.formats.avro.codec import AvroCodec
from inlake.formats.avro.exact import walk
from inlake.formats.json_text import ABSENT, parse_json
from inlake.formats.source import UNDECIDED

many = settings(deadline=None, max_examples=150)

PRIMITIVES = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"]
LOGICAL: list[dict[str, Any]] = [
    {"type": "int", "logicalType": "date"},
    {"type": "int", "logicalType": "time-millis"},
    {"type": "long", "logicalType": "time-micros"},
    {"type": "long", "logicalType": "timestamp-millis"},
    {"type": "long", "logicalType": "timestamp-nanos"},
    {"type": "long", "logicalType": "local-timestamp-micros"},
    {"type": "string", "logicalType": "uuid"},
    {"type": "bytes", "logicalType": "decimal", "precision": 6, "scale": 2},
    {"type": "bytes", "logicalType": "decimal", "precision": 2, "scale": 6},
    {"type": "string", "logicalType": "colour"},
]
TEXTS = ["", "é", "1897", "1897-01-31", "1897-01-31T10:00:00Z", "1897-01-31T10:00", "10:00:00", "12.50", "-1e1", "P1D"]
NUMBERS = [0, -1, 63, 64, 8191, 8192, 4096, 2**24 + 1, 2**31 - 1, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, 2**63, 2**70]


class Names:
    """Names given out in one schema, and the records around the place that is drawn now."""

    def __init__(self) -> None:
        self.count = 0
        self.done: list[str] = []
        self.around: list[str] = []

    def new(self) -> str:
        self.count += 1
        return f"N{self.count}"


@st.composite
def schemas(draw: st.DrawFn, names: Names | None = None, depth: int = 3, union: bool = True) -> Any:
    names = names or Names()
    kinds = ["primitive", "primitive", "logical", "enum", "fixed"]
    if depth > 0:
        kinds += ["record", "record", "array", "map"] + ["union"] * 3 * union
    kinds += ["again"] * bool(names.done)
    kind = draw(st.sampled_from(kinds))
    if kind == "primitive":
        return draw(st.sampled_from(PRIMITIVES))
    if kind == "logical":
        return draw(st.sampled_from(LOGICAL))
    if kind == "again":
        return draw(st.sampled_from(names.done))
    if kind in ("array", "map"):
        # only below a container may a record hold itself: it can be empty
        inner: Any = draw(st.one_of(schemas(names, depth - 1), st.sampled_from(names.around or ["int"])))
        return {"type": kind, "items" if kind == "array" else "values": inner}
    if kind == "union":
        return draw(unions(names, depth))
    name = names.new()
    if kind == "enum":
        names.done.append(name)
        return {"type": "enum", "name": name, "symbols": draw(st.sampled_from([["A"], ["A", "string", "B"]]))}
    if kind == "fixed":
        names.done.append(name)
        logical = draw(st.sampled_from([{}, {"logicalType": "decimal", "precision": 4, "scale": 1}]))
        return {"type": "fixed", "name": name, "size": draw(st.sampled_from([0, 2, 12])), **logical}
    names.around.append(name)
    fields = [draw(record_fields(names, depth, number)) for number in range(draw(st.integers(0, 4)))]
    names.around.pop()
    names.done.append(name)
    return {"type": "record", "name": name, "fields": fields}


@st.composite
def unions(draw: st.DrawFn, names: Names, depth: int) -> Any:
    branches: list[Any] = []
    for _ in range(draw(st.integers(1, 4))):
        done = list(names.done)
        branch = draw(schemas(names, depth - 1, union=False))
        if tag(branch) not in [tag(other) for other in branches]:
            branches.append(branch)
        else:
            names.done = done  # what was defined in it is not in the schema
    again = draw(st.booleans())
    if names.around and again:
        branches = ["null", *[b for b in branches if b != "null"], draw(st.sampled_from(names.around))]
    return branches


@st.composite
def record_fields(draw: st.DrawFn, names: Names, depth: int, number: int) -> Any:
    type_ = draw(schemas(names, depth - 1))
    field: dict[str, Any] = {"name": f"f{number}", "type": type_}
    if isinstance(type_, list) and "null" in type_ and draw(st.booleans()):
        field["default"] = None
    elif type_ in ("int", "double") and draw(st.booleans()):
        field["default"] = 7
    elif isinstance(type_, dict) and type_["type"] == "array" and draw(st.booleans()):
        field["default"] = []
    return field


def tag(schema: Any) -> str:
    if isinstance(schema, str):
        return schema
    return str(schema.get("name", schema["type"]))


class Known(dict[str, Any]):
    """Named types of a schema by name."""

    def __init__(self, schema: Any) -> None:
        super().__init__()
        self.add(schema)

    def add(self, schema: Any) -> None:
        if isinstance(schema, list):
            for branch in schema:
                self.add(branch)
        elif isinstance(schema, dict):
            if "name" in schema:
                self[schema["name"]] = schema
            for part in (schema.get("items"), schema.get("values"), *[f["type"] for f in schema.get("fields", [])]):
                self.add(part)


@st.composite
def fitting(draw: st.DrawFn, schema: Any, known: Known, depth: int = 6) -> Any:
    """A JSON value that fits, mostly."""
    if isinstance(schema, list):
        if depth <= 0 and "null" in schema:
            return None
        return draw(fitting(draw(st.sampled_from(schema)), known, depth - 1))
    if isinstance(schema, str) and schema in known:
        schema = known[schema]
    if isinstance(schema, str):
        return draw(LEAVES[schema])
    kind = schema["type"]
    if "logicalType" in schema:
        return draw(st.one_of(st.integers(-(10**4), 10**5), st.sampled_from(TEXTS), st.uuids().map(str)))
    if kind == "record":
        given_ = [f for f in schema["fields"] if "default" not in f or draw(st.booleans())]
        return {f["name"]: draw(fitting(f["type"], known, depth - 1)) for f in given_}
    if kind in ("array", "map"):
        inner = fitting(schema["items" if kind == "array" else "values"], known, depth - 1)
        size = 0 if depth <= 0 else 3
        if kind == "array":
            return draw(st.lists(inner, max_size=size))
        return draw(st.dictionaries(st.sampled_from(["", "a/b", "ü", "string", "f0"]), inner, max_size=size))
    if kind == "enum":
        return draw(st.sampled_from(schema["symbols"]))
    if kind == "fixed":
        return draw(st.text(st.characters(max_codepoint=255), min_size=schema["size"], max_size=schema["size"]))
    return draw(LEAVES[kind])


TEXT = st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), st.sampled_from(TEXTS))
FLOATS = st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(NUMBERS), st.integers(-99, 99))
LEAVES: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    "int": st.one_of(st.integers(-(2**31), 2**31 - 1), st.sampled_from(NUMBERS)),
    "long": st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from(NUMBERS)),
    "float": FLOATS,
    "double": FLOATS,
    "bytes": st.one_of(st.text(st.characters(max_codepoint=255), max_size=5), TEXT),
    "string": TEXT,
}
ODD = st.one_of(
    st.none(), st.booleans(), st.sampled_from(NUMBERS), st.floats(allow_nan=False, allow_infinity=False), TEXT,
    st.just([]), st.just({}), st.sampled_from(["int", "string", "N1", "N2"]).map(lambda name: {name: 1}),
)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> Any:
    """The value with one place changed, dropped, added or tagged."""
    if isinstance(value, dict) and value and draw(st.booleans()):
        key = draw(st.sampled_from(list(value)))
        change = draw(st.sampled_from(["deeper", "deeper", "drop", "add"]))
        if change == "drop":
            return {k: v for k, v in value.items() if k != key}
        return {**value, "f9": draw(ODD)} if change == "add" else {**value, key: draw(mutated(value[key]))}
    if isinstance(value, list) and value and draw(st.booleans()):
        index = draw(st.integers(0, len(value) - 1))
        return [*value[:index], draw(mutated(value[index])), *value[index + 1 :]]
    if draw(st.booleans()):
        return {draw(st.sampled_from([*PRIMITIVES, "array", "map", "N1", "N2", "N3"])): value}
    return draw(ODD)


def without_logical(schema: Any) -> Any:
    if isinstance(schema, list):
        return [without_logical(branch) for branch in schema]
    if isinstance(schema, dict):
        return {key: without_logical(value) for key, value in schema.items() if key != "logicalType"}
    return schema


def read_back(schema: Any, payload: bytes) -> Any:
    stream = io.BytesIO(payload)
    value = fastavro.schemaless_reader(stream, fastavro.parse_schema(without_logical(schema)), None)
    assert stream.read() == b""
    return value


def same(got: Any, sent: Any) -> bool:
    """Whether fastavro read what was sent; fields more than sent are defaults."""
    if isinstance(got, bytes):
        return got.decode("latin-1") == sent or isinstance(sent, int | float | str)  # decimals: see the codec's tests
    if isinstance(sent, bool) or sent is None:
        return got is sent
    if isinstance(got, dict):
        return isinstance(sent, dict) and all(key in got and same(got[key], sent[key]) for key in sent)
    if isinstance(got, list):
        return len(got) == len(sent) and all(map(same, got, sent))
    if isinstance(got, float):
        return got == sent or struct.pack("<f", got) == struct.pack("<f", sent)
    if isinstance(got, int) and isinstance(sent, str):
        return True  # an ISO text: see the tests of logical types
    return bool(got == sent)


def check(codec: AvroCodec, schema: Any, text: bytes) -> bytes | None:
    """The bytes of a record that was accepted, after all that must hold of it."""
    draft = codec.read(text)
    exact, errors = walk(codec.root, parse_json(text))
    if draft.typed is not ABSENT:
        try:
            fast = codec._write(draft.typed, text)
        except UNDECIDED:
            pass
        else:
            assert not errors
            assert fast == exact
    try:
        payload = codec.encode(draft)
    except RecordRejected:
        assert errors
        return None
    assert not errors
    assert payload == exact
    read_back(schema, payload)
    codec.decode(payload)
    return payload


@many
@given(st.data())
def test_what_is_accepted_is_read_back_by_another_reader_as_it_was_sent(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    value = data.draw(fitting(schema, Known(schema)))
    payload = check(AvroCodec(json.dumps(schema)), schema, json.dumps(value, ensure_ascii=False).encode())
    if payload is not None:
        assert same(read_back(schema, payload), value)


@many
@given(st.data())
def test_a_mutated_value_is_never_written_differently_by_the_fast_path(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    value = data.draw(mutated(data.draw(fitting(schema, Known(schema)))))
    check(AvroCodec(json.dumps(schema)), schema, json.dumps(value).encode())


@many
@given(st.data())
def test_any_text_is_taken_or_refused_with_an_error_of_ours(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    codec = AvroCodec(json.dumps(schema))
    text = bytearray(json.dumps(data.draw(fitting(schema, Known(schema)))).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        text[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.one_of(st.binary(max_size=2), st.sampled_from([b'"', b"[", b"}", b"1e5", b"\\ud800", b"NaN", b"9" * 50]))
        )
    for tagged in (False, True):
        try:
            codec.encode(codec.read(bytes(text), tagged=tagged))
        except InlakeError:
            continue


@many
@given(st.data())
def test_the_example_of_a_schema_fits_it(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    codec = AvroCodec(json.dumps(schema))
    assert codec.encode(codec.read(json.dumps(codec.example()).encode())) is not None


@many
@given(st.data())
def test_the_tagged_form_of_a_value_is_written_like_the_branch_it_names(data: st.DataObject) -> None:
    schema = data.draw(schemas())
    known = Known(schema)
    codec = AvroCodec(json.dumps(schema))
    plain, tagged = data.draw(with_tags(schema, known))
    try:
        payload = codec.encode(codec.read(json.dumps(tagged).encode(), tagged=True))
    except RecordRejected:
        return
    assert same(read_back(schema, payload), plain)


@st.composite
def with_tags(draw: st.DrawFn, schema: Any, known: Known, depth: int = 6) -> tuple[Any, Any]:
    """(plain, tagged) form of one value."""
    if isinstance(schema, list):
        branch = "null" if depth <= 0 and "null" in schema else draw(st.sampled_from(schema))
        plain, tagged = draw(with_tags(branch, known, depth - 1))
        return plain, None if branch == "null" else {tag(branch): tagged}
    schema = known.get(schema, schema) if isinstance(schema, str) else schema
    if isinstance(schema, dict) and schema["type"] == "record":
        pairs = {f["name"]: draw(with_tags(f["type"], known, depth - 1)) for f in schema["fields"]}
        return {k: plain for k, (plain, _) in pairs.items()}, {k: tagged for k, (_, tagged) in pairs.items()}
    if isinstance(schema, dict) and schema["type"] == "array" and depth > 0:
        items = draw(st.lists(with_tags(schema["items"], known, depth - 1), max_size=2))
        return [plain for plain, _ in items], [tagged for _, tagged in items]
    if isinstance(schema, dict) and schema["type"] in ("array", "map"):
        empty: Any = [] if schema["type"] == "array" else {}
        return empty, empty
    value = draw(fitting(schema, known, depth))
    return value, value


@many
@given(
    st.recursive(ODD, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)))
)
def test_any_json_as_a_schema_compiles_or_is_refused_with_an_error_of_ours(value: Any) -> None:
    for schema in (value, {"type": "record", "name": "R", "fields": [{"name": "f", "type": value, "default": value}]}):
        try:
            AvroCodec(json.dumps(schema))
        except InlakeError:
            continue
