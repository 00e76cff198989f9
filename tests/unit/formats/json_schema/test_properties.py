"""The codec against random schemas and values: Python's jsonschema, which shares no line with it, must agree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import jsonschema
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from inlake.errors import FieldError, InvalidSchema, RecordRejected
from inlake.formats.json_schema.codec import JsonSchemaCodec
from inlake.formats.json_schema.explain import explain
from inlake.formats.json_schema.keywords import META_SCHEMAS
from inlake.formats.json_schema.numbers import OutOfRange, exact_number

settings.register_profile("json_schema", deadline=None, max_examples=150)
settings.load_profile("json_schema")

NAMES = ["a", "b", "ab", "é/~"]
SCALARS = [None, True, False, 0, 1, -1, 2, 1.0, 1.5, 2**53 + 1, 2**70, "", "a", "b", "ab", "é/~", "aaaa"]
ANYTHING = JsonSchemaCodec("true")
NOTHING_FITS = JsonSchemaCodec('{"not": {}}')
ORACLES = {
    4: jsonschema.Draft4Validator,
    6: jsonschema.Draft6Validator,
    7: jsonschema.Draft7Validator,
    19: jsonschema.Draft201909Validator,
    20: jsonschema.Draft202012Validator,
}
TYPES = ["null", "boolean", "integer", "number", "string", "array", "object"]

values = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)),
    max_leaves=8,
)


def keywords(inner: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    """Values of the keywords, those of all drafts together: a draft must pass over what it does not know."""
    some = st.lists(inner, min_size=1, max_size=3)
    by_name = st.dictionaries(st.sampled_from(NAMES), inner, min_size=1, max_size=3)
    names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True)
    size = st.integers(0, 3)
    return {
        "type": st.one_of(st.sampled_from(TYPES), st.lists(st.sampled_from(TYPES), min_size=1, max_size=3, unique=True)),
        "enum": st.lists(st.sampled_from(SCALARS), min_size=1, max_size=4, unique_by=lambda x: (repr(x) if not isinstance(x, int | float) or isinstance(x, bool) else float(x))),
        "const": st.sampled_from(SCALARS),
        "minimum": st.integers(-1, 2),
        "maximum": st.sampled_from([0, 1.5, 2**53]),
        "multipleOf": st.sampled_from([1, 2, 0.5]),
        "minLength": size, "maxLength": size, "minItems": size, "maxItems": size, "minProperties": size, "maxProperties": size,
        "uniqueItems": st.booleans(),
        "pattern": st.sampled_from(["^a", "b$", "^(?!a)", "é"]),
        "required": names,
        "dependentRequired": st.dictionaries(st.sampled_from(NAMES), names, max_size=2),
        "dependentSchemas": by_name,
        "dependencies": st.dictionaries(st.sampled_from(NAMES), st.one_of(names, inner), max_size=2),
        "properties": by_name,
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "b$"]), inner, max_size=2),
        "additionalProperties": inner, "unevaluatedProperties": inner, "propertyNames": inner,
        "prefixItems": some, "additionalItems": inner, "unevaluatedItems": inner,
        "items": inner,
        "contains": inner, "minContains": size, "maxContains": size,
        "allOf": some, "anyOf": some, "oneOf": some, "not": inner,
        "if": inner, "then": inner, "else": inner,
        "$ref": st.sampled_from(["#", "#/definitions/x"]),
    }  # fmt: skip


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    table = keywords(inner)
    return st.lists(st.sampled_from(sorted(table)), min_size=1, max_size=4, unique=True).flatmap(
        lambda words: st.fixed_dictionaries({word: table[word] for word in words})
    )


schemas = st.recursive(
    st.sampled_from([{}, {"type": "string"}, {"type": "integer"}, {"minimum": 1}]), objects, max_leaves=6
)
drafts = st.sampled_from(sorted(ORACLES))


def whole(schema: Any, draft: int) -> dict[str, Any]:
    """A complete schema; false is a schema from draft 6 on only."""
    definition = {"type": "array", "items": {"$ref": "#"}} if draft == 4 else {"items": {"$ref": "#"}, "not": False}
    return {**schema, "$schema": META_SCHEMAS[draft], "definitions": {"x": definition}}


def compiled(schema: Any, draft: int, max_errors: int = 100) -> JsonSchemaCodec:
    """The codec, if the schema has no circle without a step into the value: such are refused."""
    try:
        return JsonSchemaCodec(json.dumps(whole(schema, draft)), max_errors=max_errors)
    except InvalidSchema as error:
        if "without a step" not in error.detail or '"$ref": "#' not in json.dumps(schema):
            raise
        reject()


def comparable(schema: Any, draft: int) -> bool:
    """Python's knows no `dependencies` from 2019-09 on (docs/json-schema.md)."""
    return draft <= 7 or '"dependencies"' not in json.dumps(schema)


@given(schemas, drafts, st.lists(values, min_size=1, max_size=6))
def test_the_verdict_is_that_of_python_jsonschema(schema: Any, draft: int, records: list[Any]) -> None:
    made = compiled(schema, draft)
    oracle = ORACLES[draft](whole(schema, draft))
    for record in records:
        published, errors = answer(made, record)
        assert not comparable(schema, draft) or oracle.is_valid(record) is not bool(errors), errors
        assert errors or json.loads(published) == record


def answer(made: JsonSchemaCodec, record: Any) -> tuple[bytes, Sequence[FieldError]]:
    """What is published, or the reasons why nothing is."""
    try:
        return made.encode(made.read(json.dumps(record).encode())), []
    except RecordRejected as refusal:
        return b"", refusal.errors


@given(schemas, drafts, st.lists(values, min_size=1, max_size=6), st.integers(1, 3))
def test_every_refusal_has_reasons_that_lie_in_the_record(
    schema: Any, draft: int, records: list[Any], most: int
) -> None:
    made = compiled(schema, draft, max_errors=most)
    for record in records:
        _, errors = answer(made, record)
        assert len(errors) <= most
        for error in errors:
            assert exists(record, error.pointer, missing=error.code == "missing_field"), error


def exists(value: Any, pointer: str, *, missing: bool) -> bool:
    """Whether a pointer leads to something in the record; a missing property has only its object there."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    for number, step in enumerate(steps):
        if missing and number == len(steps) - 1:
            return isinstance(value, dict) and step not in value
        value = value[int(step)] if isinstance(value, list) else value[step]
    return True


@given(schemas, drafts, st.lists(values, min_size=1, max_size=6))
def test_the_walk_finds_what_the_library_finds(schema: Any, draft: int, records: list[Any]) -> None:
    made = compiled(schema, draft)
    library = made.documents.validator
    made.documents.validator = NOTHING_FITS.documents.validator  # explain() falls back on it: that has its own code
    for record in records:
        codes = [reason.code for reason in explain(made.documents, record, max_errors=100)]
        assert (codes == ["does_not_fit"]) is library.is_valid(record), codes


numbers = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?\Z"),
)


@given(numbers)
def test_no_number_changes_its_value(text: str) -> None:
    try:
        value = exact_number(text)
    except OutOfRange:
        assert not 1e-307 < abs(Decimal(text)) < 1e307
        return
    assert Decimal(repr(value) if isinstance(value, float) else value) == Decimal(text)
    published = ANYTHING.encode(ANYTHING.read(text.encode()))
    assert Decimal(published.decode()) == Decimal(text)
    assert ANYTHING.encode(ANYTHING.read(published)) == published


@given(schemas, drafts)
def test_an_example_is_valid_or_there_is_none(schema: Any, draft: int) -> None:
    made = compiled(schema, draft)
    example = made.example()
    assert example is None or not answer(made, example)[1]
