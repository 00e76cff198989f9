"""The rules of the JSON Schema codec, one by one."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from inlake.errors import InlakeError, InvalidSchema, MalformedJson, NoResourceField, RecordRejected
from inlake.formats.json_schema.codec import JsonSchemaCodec

DRAFT_4 = "http://json-schema.org/draft-04/schema#"
DRAFT_6 = "http://json-schema.org/draft-06/schema#"
DRAFT_7 = "http://json-schema.org/draft-07/schema#"
DRAFT_2019 = "https://json-schema.org/draft/2019-09/schema"
DRAFT_2020 = "https://json-schema.org/draft/2020-12/schema"
RIGHTS = {"$id": "https://museum.example/schemas/rights.schema.json", "type": "object", "required": ["licence"]}


def codec(schema: Any, references: dict[str, Any] | None = None, **limits: Any) -> JsonSchemaCodec:
    others = [(name, json.dumps(other)) for name, other in (references or {}).items()]
    return JsonSchemaCodec(json.dumps(schema), others, **limits)


def publish(schema: Any, record: str | bytes, **limits: Any) -> bytes:
    made = codec(schema, **limits)
    return made.encode(made.read(record.encode() if isinstance(record, str) else record))


def refused(schema: Any, record: str, **limits: Any) -> list[tuple[str, str]]:
    """(pointer, code) of all errors."""
    with pytest.raises(RecordRejected) as caught:
        publish(schema, record, **limits)
    return [(error.pointer, error.code) for error in caught.value.errors]


def invalid(schema: Any, references: dict[str, Any] | None = None) -> str:
    with pytest.raises(InvalidSchema) as caught:
        codec(schema, references)
    return caught.value.detail


# ------------------------------------------------------------------------------------------------ what is published
@pytest.mark.parametrize(
    ("sent", "published"),
    [
        ('{"b": 1,\n "a" : [ ]}', '{"b":1,"a":[]}'),
        ('{"a": 1, "a": 2}', '{"a":2}'),
        ('"\\u00e9\\ud83d\\ude00"', '"é😀"'),
        ("0.1", "0.1"),
        ("1.10", "1.1"),
        ("1e5", "100000.0"),
        ("1.0", "1.0"),
        ("123456789012345678901234567890123456789012345678901234567890", "123456789012345678901234567890123456789012345678901234567890"),
        ("1.00000000000000000001", "1.00000000000000000001"),
        ("0.1234567890123456789", "0.1234567890123456789"),
        ("0.30000000000000004", "0.30000000000000004"),
        ("0e999", "0.0"),
        ("0e99999999999999999999", "0.0"),
        ("-0", "-0.0"),
        ("[1, -0]", "[1,-0.0]"),
        ('"a: -0"', '"a: -0"'),
        ("\ufeff1", "1"),
    ],
)  # fmt: skip
def test_what_was_validated_is_published_and_no_digit_is_lost(sent: str, published: str) -> None:
    assert publish(True, sent) == published.encode()


@pytest.mark.parametrize(
    "number",
    ["1e400", "-1e400", "1e-400", "1e-99999999999999999999", "1e99999999999999999999", "1" * 5_000, "0." + "1" * 5_000],
)
def test_a_number_that_no_reader_could_hold_is_refused_with_its_pointer(number: str) -> None:
    assert refused(True, f'{{"a": [0, {number}]}}') == [("/a/1", "out_of_range")]


def test_many_numbers_that_no_reader_could_hold_below_a_long_key_are_told_in_few_words() -> None:
    key = "k" * 450_000
    assert refused(True, f'{{"{key}": [{",".join(["1e999"] * 50_000)}]}}') == [(f"/{key}/0", "out_of_range")]
    assert len(refused(True, f"[{','.join(['1e999'] * 50_000)}]", max_errors=7)) == 7


def test_of_equal_keys_the_last_is_validated_and_published() -> None:
    schema = {"properties": {"a": {"type": "integer"}}}
    assert publish(schema, '{"a": "x", "b": 0.5, "a": 1}') == b'{"a":1,"b":0.5}'
    assert refused(schema, '{"a": 1, "a": "x"}') == [("/a", "wrong_type")]


@pytest.mark.parametrize("text", ["", "{", "NaN", "[Infinity]", '"\\ud800"', b'"\xff"', "01", "{'a': 1}", "1 2"])
def test_what_is_not_json_is_named_with_line_and_column(text: str | bytes) -> None:
    with pytest.raises(MalformedJson) as caught:
        publish(True, text)
    assert caught.value.members.keys() >= {"line", "column"}


def test_depth_is_counted_before_anything_is_parsed() -> None:
    assert publish(True, "[" * 200 + "]" * 200)
    assert refused(True, "[" * 201 + "]" * 201) == [("", "too_deep")]
    assert refused(True, "[" * 100_000) == [("", "too_deep")]
    deepest = codec({"items": {"$ref": "#"}, "not": {"const": 1}, "minItems": 2}, max_depth=500)
    with pytest.raises(RecordRejected) as caught:
        deepest.encode(deepest.read(b"[" * 500 + b"1" + b"]" * 500))
    assert caught.value.errors[0].pointer == ""
    twins = codec({"uniqueItems": True}, max_depth=500)
    with pytest.raises(RecordRejected):
        twins.encode(twins.read(b"[" + b",".join([b"[" * 400 + b"]" * 400] * 2) + b"]"))


def test_an_exact_decimal_is_validated_as_it_stands() -> None:
    assert refused({"type": "integer"}, "1.00000000000000000001") == [("", "wrong_type")]
    assert refused({"maximum": 1}, "1.00000000000000000001") == [("", "out_of_range")]
    assert publish({"maximum": 2**70}, str(2**70)) == str(2**70).encode()
    assert refused({"maximum": 2**70}, str(2**70 + 1)) == [("", "out_of_range")]


@pytest.mark.parametrize(
    ("schema", "fits", "fails"),
    [
        ('{"maximum": 0.10000000000000000001}', "0.10000000000000000001", "0.10000000000000000002"),
        ('{"maximum": 0.1}', "0.1", "0.1000000000000000055511151231257827"),
        ('{"minimum": 0.10000000000000000001}', "0.10000000000000000001", "0.1"),
        ('{"exclusiveMaximum": 9007199254740993.5}', "9007199254740993", "9007199254740994"),
        ('{"const": 0.10000000000000000001}', "0.10000000000000000001", "0.1"),
        ('{"enum": [0.10000000000000000001]}', "0.10000000000000000001", "0.10000000000000000002"),
        ('{"multipleOf": 0.00000000000000000001}', "0.10000000000000000001", "0.100000000000000000001"),
        ('{"maximum": 1e400}', "1e300", None),
        ('{"minimum": 1e400}', None, "1e300"),
        ('{"exclusiveMinimum": 1e-400}', "1e-300", "0"),
        ('{"maximum": 1%s}' % ("0" * 50), "1" + "0" * 50, "1" + "0" * 49 + "1"),
        ('{"const": -0}', "0", "1"),
    ],
)  # fmt: skip
def test_a_number_in_a_schema_is_exact(schema: str, fits: str | None, fails: str | None) -> None:
    made = JsonSchemaCodec(schema)
    if fits is not None:
        assert made.encode_plain(fits.encode()) is not None
    if fails is not None:
        assert made.encode_plain(fails.encode()) is None
        with pytest.raises(RecordRejected):
            made.encode(made.read(fails.encode()))


def test_a_number_in_a_schema_has_a_size_that_can_be_written_out() -> None:
    with pytest.raises(InvalidSchema, match="/properties/a/maximum"):
        JsonSchemaCodec('{"properties": {"a": {"maximum": 1e999999}}}')


# ----------------------------------------------------------------------------------------------------- why it is not
@pytest.mark.parametrize(
    ("schema", "record", "errors"),
    [
        ({"type": "integer"}, '"1"', [("", "wrong_type")]),
        ({"enum": ["A", 1]}, '"B"', [("", "unknown_symbol")]),
        ({"const": 1}, "2", [("", "unknown_symbol")]),
        ({"minimum": 1}, "0", [("", "out_of_range")]),
        ({"exclusiveMaximum": 1}, "1", [("", "out_of_range")]),
        ({"multipleOf": 3}, "4", [("", "not_a_multiple")]),
        ({"minLength": 2}, '"é"', [("", "wrong_length")]),
        ({"maxItems": 1}, "[1, 2]", [("", "wrong_length")]),
        ({"minProperties": 1}, "{}", [("", "wrong_length")]),
        ({"uniqueItems": True}, "[1, 1.0]", [("", "not_unique")]),
        ({"pattern": "^a"}, '"b"', [("", "pattern_mismatch")]),
        ({"format": "date"}, '"1897-02-30"', [("", "bad_format")]),
        ({"not": {"type": "null"}}, "null", [("", "not_allowed")]),
        (False, "1", [("", "not_allowed")]),
        ({"properties": {"a": False}}, '{"a": 1}', [("/a", "not_allowed")]),
        ({"required": ["a/b", "c"]}, "{}", [("/a~1b", "missing_field"), ("/c", "missing_field")]),
        ({"dependentRequired": {"a": ["b"]}}, '{"a": 1}', [("/b", "missing_field")]),
        ({"dependentSchemas": {"a": {"required": ["b"]}}}, '{"a": 1}', [("/b", "missing_field")]),
        ({"properties": {"a": {}}, "additionalProperties": False}, '{"b": 1, "a": 1, "c~": 2}', [("/b", "unknown_field"), ("/c~0", "unknown_field")]),
        ({"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False}, '{"a": 1, "b": 2}', [("/b", "unknown_field")]),
        ({"additionalProperties": {"type": "string"}}, '{"a": 1}', [("/a", "wrong_type")]),
        ({"patternProperties": {"^x": {"type": "string"}}}, '{"x1": 1, "y": 2}', [("/x1", "wrong_type")]),
        ({"propertyNames": {"pattern": "^x"}}, '{"x": 1, "y": 2}', [("/y", "unknown_field")]),
        ({"items": {"type": "string"}}, '["a", 1, null]', [("/1", "wrong_type"), ("/2", "wrong_type")]),
        ({"prefixItems": [{"type": "string"}], "items": False}, '["a", 1]', [("/1", "unknown_field")]),
        ({"prefixItems": [{}], "unevaluatedItems": False}, "[1, 2]", [("/1", "unknown_field")]),
        ({"contains": {"const": 1}, "minContains": 2}, "[1, 2]", [("", "wrong_length")]),
        ({"contains": {"const": 1}, "maxContains": 1}, "[1, 1]", [("", "wrong_length")]),
        ({"if": {"properties": {"a": {"const": 1}}}, "then": {"required": ["b"]}}, '{"a": 1}', [("/b", "missing_field")]),
        ({"if": {"required": ["a"]}, "else": {"required": ["b"]}}, "{}", [("/b", "missing_field")]),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "null"}}}, "1", [("", "wrong_type")]),
        ({"anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#"}}]}, "[[null], [[1]]]", [("/1/0/0", "wrong_type")]),
        ({"properties": {"a": {"$ref": "#"}}, "required": ["b"]}, '{"b": 1, "a": {"a": {"b": 1}}}', [("/a/b", "missing_field")]),
    ],
)  # fmt: skip
def test_every_rule_names_its_place_and_code(schema: Any, record: str, errors: list[tuple[str, str]]) -> None:
    assert refused(schema, record) == errors


@pytest.mark.parametrize("word", ["anyOf", "oneOf"])
def test_of_several_forms_the_closest_explains(word: str) -> None:
    mesh = {
        "type": "object",
        "properties": {"faces": {"type": "integer"}},
        "required": ["faces"],
        "additionalProperties": False,
    }
    image = {
        "type": "object",
        "properties": {"width": {"type": "integer"}, "mode": {"type": "string"}},
        "additionalProperties": False,
    }
    schema = {"properties": {"content": {word: [{"type": "null"}, mesh, image]}}}
    assert refused(schema, '{"content": {"width": "3", "mode": "RGB"}}') == [("/content/width", "wrong_type")]
    assert refused(schema, '{"content": {"faces": true}}') == [("/content/faces", "wrong_type")]
    assert refused(schema, '{"content": 3}') == [("/content", "wrong_type")]  # fmt: skip


def test_two_forms_that_exclude_each_other_and_both_fit_are_ambiguous() -> None:
    assert refused({"oneOf": [{"minimum": 1}, {"maximum": 3}]}, "2") == [("", "ambiguous")]


def test_an_error_says_what_was_expected_and_what_came_and_never_all_of_it() -> None:
    made = codec({"properties": {"a": {"type": ["integer", "null"]}}})
    with pytest.raises(RecordRejected) as caught:
        made.encode(made.read(json.dumps({"a": "x" * 10_000}).encode()))
    [error] = caught.value.errors
    assert error.expected == "null or integer"
    assert error.got.startswith('string "xxx')
    assert len(error.got) <= 60


def test_an_array_of_records_is_told_to_come_one_a_line() -> None:
    with pytest.raises(RecordRejected, match="one record a line"):
        publish({"type": "object"}, "[{}]")


def test_a_hundred_thousand_errors_cost_no_more_than_a_hundred() -> None:
    record = json.dumps(["x"] * 100_000)
    start = time.perf_counter()
    assert len(refused({"items": {"type": "integer"}}, record)) == 100
    wide = json.dumps({f"x{i}": [1] for i in range(30_000)})
    assert len(refused({"required": [f"r{i}" for i in range(1_000)]}, wide, max_errors=7)) == 7
    assert time.perf_counter() - start < 5


def test_choices_in_choices_cost_no_more_with_each_level() -> None:
    branch = {"type": "array", "items": {"$ref": "#"}}
    schema = {"anyOf": [branch, {**branch, "maxItems": 2}]}
    start = time.perf_counter()
    assert refused(schema, "[" * 50 + "1" + "]" * 50) == [("/0" * 50, "wrong_type")]
    assert refused(schema, "[" * 199 + "1" + "]" * 199)
    assert time.perf_counter() - start < 5


def test_an_error_far_behind_in_a_large_record_is_found() -> None:
    assert refused({"items": {"type": "integer"}}, json.dumps([1] * 50_000 + ["x"])) == [("/50000", "wrong_type")]


# ---------------------------------------------------------------------------------------------------- drafts, formats
@pytest.mark.parametrize("draft", [DRAFT_4, DRAFT_6, DRAFT_7, DRAFT_2019, DRAFT_2020, None])
def test_formats_are_asserted_in_every_draft(draft: str | None) -> None:
    schema = {"format": "date-time"} | ({"$schema": draft} if draft else {})
    assert publish(schema, '"1897-07-21T13:45:00Z"')
    assert refused(schema, '"yesterday"') == [("", "bad_format")]
    assert publish({"format": "accession-number"}, '"T00001"')


def test_each_draft_has_its_own_words() -> None:
    assert refused({"$schema": DRAFT_4, "minimum": 1, "exclusiveMinimum": True}, "1") == [("", "out_of_range")]
    assert publish({"$schema": DRAFT_4, "const": 1}, "2") == b"2"
    assert publish({"$schema": DRAFT_6, "if": True, "then": False}, "1") == b"1"
    assert refused({"$schema": DRAFT_7, "items": [{}], "additionalItems": False}, "[1, 2]") == [("/1", "unknown_field")]
    assert refused({"$schema": DRAFT_7, "dependencies": {"a": ["b"]}}, '{"a": 1}') == [("/b", "missing_field")]
    tree = {
        "$schema": DRAFT_2019,
        "$recursiveAnchor": True,
        "properties": {"a": {"$recursiveRef": "#"}},
        "required": ["b"],
    }
    assert refused(tree, '{"b": 1, "a": {}}') == [("/a/b", "missing_field")]
    node = {"$dynamicAnchor": "n", "properties": {"a": {"$dynamicRef": "#n"}}, "required": ["b"]}
    assert refused(node, '{"b": 1, "a": {}}') == [("/a/b", "missing_field")]


def test_patterns_may_look_around_within_limits() -> None:
    assert publish({"pattern": "^(?!tmp).*$"}, '"T1"') == b'"T1"'
    assert refused({"pattern": "^(?!tmp).*$"}, '"tmp1"') == [("", "pattern_mismatch")]
    start = time.perf_counter()
    assert refused({"pattern": "(x+x+)+y"}, json.dumps("x" * 100_000)) == [("", "pattern_mismatch")]
    assert refused({"pattern": "(x+x+)+(?=y)y"}, json.dumps("x" * 100_000)) == [("", "pattern_mismatch")]
    assert time.perf_counter() - start < 5


# -------------------------------------------------------------------------------------------- references to others
@pytest.mark.parametrize("own", [{}, {"$id": "https://museum.example/schemas/object.json"}, {"$id": "object.json"}])
@pytest.mark.parametrize("other", [RIGHTS, {"type": "object", "required": ["licence"]}])
def test_a_reference_is_found_by_its_name(own: dict[str, str], other: dict[str, Any]) -> None:
    made = codec({**own, "properties": {"rights": {"$ref": "rights.schema.json"}}}, {"rights.schema.json": other})
    assert made.encode(made.read(b'{"rights":{"licence":"CC0"}}')) == b'{"rights":{"licence":"CC0"}}'
    with pytest.raises(RecordRejected) as caught:
        made.encode(made.read(b'{"rights":{}}'))
    assert caught.value.errors[0].pointer == "/rights/licence"


def test_a_reference_is_found_by_its_own_id_and_by_an_absolute_name() -> None:
    by_id = codec({"$ref": RIGHTS["$id"]}, {"rights": RIGHTS})
    by_name = codec(
        {"$ref": "https://a.example/b.json#/$defs/x"}, {"https://a.example/b.json": {"$defs": {"x": RIGHTS}}}
    )
    for made in (by_id, by_name):
        assert made.encode(made.read(b'{"licence":1}'))
        with pytest.raises(RecordRejected):
            made.encode(made.read(b"{}"))


def test_references_refer_to_each_other_by_name() -> None:
    others = {"licence.json": {"$id": "https://else.example/x/licence.json", "type": "string"},
              "rights.json": {"$id": "https://else.example/y/rights.json", "properties": {"licence": {"$ref": "licence.json"}}}}  # fmt: skip
    made = codec({"$ref": "rights.json"}, others)
    with pytest.raises(RecordRejected) as caught:
        made.encode(made.read(b'{"licence":1}'))
    assert caught.value.errors[0].pointer == "/licence"


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/x.json", "file:///etc/hostname", "rights.schema.json"])
def test_a_reference_that_the_registry_does_not_have_is_named_and_never_fetched(address: str) -> None:
    assert repr(address) in invalid({"properties": {"a": {"$ref": address}}})


# ------------------------------------------------------------------------------------------ schemas that are refused
@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"properties": {"a": {"type": "strin"}}}, "/properties/a/type"),
        ({"properties": {"a": {"pattern": "(("}}}, "/properties/a/pattern"),
        ({"pattern": "((a{1000}){1000}){1000}"}, "/pattern"),
        ({"$ref": "#/$defs/x"}, "/$defs/x"),
        ({"$schema": "http://json-schema.org/draft-03/schema#"}, "draft-03"),
        ([], "must be an object"),
        ({"$ref": "#"}, "without a step"),
        ({"$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"anyOf": [{}, {"$ref": "#/$defs/a"}]}}}, "without a step"),
        ({"title": "x" * (1 << 20)}, "longer than"),
        ({"$defs": {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(40)} | {"d40": {}}, "$ref": "#/$defs/d0"}, "10,000 subschemas"),
        ({"$defs": {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(9_000)} | {"d9000": {}}, "$ref": "#/$defs/d0"}, "chained too deeply"),
    ],
)  # fmt: skip
def test_an_invalid_schema_is_refused_with_the_place(schema: Any, words: str) -> None:
    start = time.perf_counter()
    assert words in invalid(schema)
    assert time.perf_counter() - start < 5


def test_a_schema_that_is_no_json_or_too_deep_is_refused() -> None:
    for text in ("{", '{"allOf":[' * 5_000 + "{}" + "]}" * 5_000):
        with pytest.raises(InvalidSchema):
            JsonSchemaCodec(text)


def test_an_invalid_reference_is_named() -> None:
    assert "'rights.json' is invalid at /type" in invalid({"$ref": "rights.json"}, {"rights.json": {"type": "strin"}})


# ------------------------------------------------------------------------------------------------- the resource field
@pytest.mark.parametrize(
    ("schema", "has"),
    [
        ({"properties": {"__resource_path__": {"type": "string"}}}, True),
        ({"properties": {"__resource_path__": {"type": ["null", "string"], "format": "uri"}}}, True),
        ({"properties": {"__resource_path__": {"type": "string", "pattern": "^s3:"}}}, True),
        ({"properties": {"__resource_path__": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/t"}]}}, "$defs": {"t": {"type": "string"}}}, True),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"properties": {"__resource_path__": True}}]}}}, True),
        ({"properties": {"__resource_path__": {"type": "integer"}}}, False),
        ({"properties": {"__resource_path__": False}}, False),
        ({"properties": {"title": {}}}, False),
        ({"additionalProperties": {"type": "string"}}, False),
        (True, False),
    ],
)  # fmt: skip
def test_the_schema_must_name_the_resource_field_and_take_text_in_it(schema: Any, has: bool) -> None:
    assert codec(schema).has_resource_field is has


def test_the_resource_is_set_and_validated_with_the_record() -> None:
    made = codec(
        {"properties": {"__resource_path__": {"type": "string", "pattern": "^s3:"}}, "required": ["__resource_path__"]}
    )
    assert made.read(b"{}").resource is None
    assert made.read(b'{"__resource_path__":"p"}').resource == "p"
    assert (
        made.encode(made.read(b'{"__resource_path__":"p","a":1}'), "s3://b/k")
        == b'{"__resource_path__":"s3://b/k","a":1}'
    )
    with pytest.raises(RecordRejected):
        made.encode(made.read(b"{}"), "file:///k")
    with pytest.raises(NoResourceField):
        codec(True).encode(codec(True).read(b"{}"), "s3://b/k")


def test_a_record_that_is_no_object_has_no_resource() -> None:
    made = codec({"properties": {"__resource_path__": {"type": "string"}}, "type": "object"})
    assert made.read(b"[1]").resource is None
    with pytest.raises(RecordRejected):
        made.encode(made.read(b"[1]"), "s3://b/k")


# ------------------------------------------------------------------------------------------------- for people to read
def test_payloads_are_read_back() -> None:
    made = codec(True)
    assert made.content_type == "application/vnd.confluent.json"
    assert made.decode(b'{"a":[1,2.5,null]}') == {"a": [1, 2.5, None]}
    with pytest.raises(InlakeError):
        made.decode(b"\x00")


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "integer", "minimum": 10}, "b": {"format": "uuid", "type": "string"}}},
        {"type": "array", "minItems": 3, "items": {"enum": ["A"]}},
        {"type": "array", "minItems": 3.0, "items": {"enum": ["A"]}},
        {"type": "array", "minItems": 3.0},
        {"type": "string", "minLength": 9.0, "maxLength": 10.0},
        {"type": "integer", "minimum": 10.0, "multipleOf": 3.0},
        {"examples": [{"title": "x"}], "type": "object"},
        {"type": "string", "minLength": 9},
        {"type": "number", "exclusiveMinimum": 3, "multipleOf": 2.5},
        {"type": "string", "pattern": "^(AR|[A-Z])\\d{5}(_\\d+)?$"},
        {"oneOf": [{"type": "null"}, {"type": "object", "required": ["x"], "properties": {"x": {"const": 3}}, "additionalProperties": False}]},
        {"properties": {"next": {"$ref": "#"}}, "type": "object"},
        {"$schema": DRAFT_4, "type": "integer", "minimum": 3, "exclusiveMinimum": True},
    ],
)  # fmt: skip
def test_an_example_fits_the_schema(schema: Any) -> None:
    made = codec(schema)
    example = made.example()
    assert example is not None
    assert made.encode(made.read(json.dumps(example).encode()))


def test_there_is_no_example_where_none_is_found() -> None:
    assert codec(False).example() is None
    assert codec({"type": "string", "minLength": 10**9}).example() is None
    assert codec({"type": "array", "minItems": 10**9, "items": {"type": "string"}}).example() is None
    assert codec({"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}}).example() is None


# ------------------------------------------------------------------------------------------- drafts, places and formats
NOT_IN_FORMAT = {
    "date": "x", "date-time": "x", "time": "x", "duration": "three days", "email": "x", "idn-email": "x",
    "hostname": "-a-", "idn-hostname": "-a-", "ipv4": "x", "ipv6": "x", "uri": "x y", "uri-reference": "a b\\",
    "uri-template": "{a", "iri": "x y", "iri-reference": "a b\\", "uuid": "not-a-uuid", "json-pointer": "a",
    "relative-json-pointer": "x", "regex": "((",
}  # fmt: skip


@pytest.mark.parametrize("draft", [DRAFT_4, DRAFT_6, DRAFT_7, DRAFT_2019, DRAFT_2020])
@pytest.mark.parametrize("name", NOT_IN_FORMAT)
def test_every_format_is_asserted_in_every_draft(draft: str, name: str) -> None:
    schema = {"$schema": draft, "properties": {"a": {"format": name}}}
    assert refused(schema, json.dumps({"a": NOT_IN_FORMAT[name]})) == [("/a", "bad_format")]
    inside = {"$schema": DRAFT_7, "properties": {"a": {"$ref": "o.json"}}}
    other = {"o.json": {"$schema": draft, "format": name}}
    assert refused(inside, json.dumps({"a": NOT_IN_FORMAT[name]}), references=other) == [("/a", "bad_format")]


@pytest.mark.parametrize(
    ("root", "other", "fits", "fails", "errors"),
    [
        (DRAFT_2020, {"$schema": DRAFT_7, "items": [{"type": "integer"}], "additionalItems": False}, "[1]", "[1, 2]", [("/a/1", "unknown_field")]),
        (DRAFT_2020, {"$schema": DRAFT_4, "minimum": 3, "exclusiveMinimum": True}, "4", "3", [("/a", "out_of_range")]),
        (DRAFT_2020, {"$schema": DRAFT_7, "$ref": "#/definitions/x", "type": "string", "definitions": {"x": {"type": "integer"}}}, "1", '"x"', [("/a", "wrong_type")]),
        (DRAFT_7, {"$schema": DRAFT_2020, "prefixItems": [{"type": "integer"}], "items": False}, "[1]", "[1, 2]", [("/a/1", "unknown_field")]),
        (DRAFT_7, {"$schema": DRAFT_2019, "dependentRequired": {"x": ["y"]}}, '{"y": 1}', '{"x": 1}', [("/a/y", "missing_field")]),
        (DRAFT_4, {"$schema": DRAFT_6, "const": 1}, "1", "2", [("/a", "unknown_symbol")]),
        (DRAFT_4, {"minimum": 3, "exclusiveMinimum": True}, "4", "3", [("/a", "out_of_range")]),
    ],
)  # fmt: skip
def test_a_reference_is_judged_by_its_own_draft(root: str, other: Any, fits: str, fails: str, errors: Any) -> None:
    schema = {"$schema": root, "properties": {"a": {"$ref": "o.json"}}}
    made = codec(schema, {"o.json": other})
    assert made.encode_plain(f'{{"a":{fits}}}'.encode()) is not None
    assert refused(schema, f'{{"a":{fails}}}', references={"o.json": other}) == errors


X = {"type": "integer"}
A_IS = {"properties": {"a": {"$ref": "rights.json"}}}


@pytest.mark.parametrize(
    ("schema", "others"),
    [
        ({"$id": "schemas/object.json", **A_IS}, {"rights.json": X}),
        ({"$id": "schemas/object.json", **A_IS}, {"rights.json": {"$id": "schemas/rights.json", **X}}),
        ({"$id": "/schemas/object.json", **A_IS}, {"rights.json": X}),
        ({"$id": "a/b/object.json", "properties": {"a": {"$ref": "../rights.json"}}}, {"../rights.json": X}),
        ({"$id": "a/object.json", "properties": {"a": {"$ref": "part/x.json"}}, "$defs": {"x": {"$id": "part/x.json", **X}}}, {}),
        ({"$id": "a/object.json", "properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": X}}, {}),
        ({"$schema": DRAFT_7, "$id": "a/object.json", "properties": {"a": {"$ref": "#x"}}, "definitions": {"x": {"$id": "#x", **X}}}, {}),
        ({"$schema": DRAFT_4, "id": "a/object.json", "properties": {"a": {"$ref": "#/definitions/x"}}, "definitions": {"x": X}}, {}),
    ],
)  # fmt: skip
def test_a_relative_id_is_a_place_to_refer_from(schema: Any, others: Any) -> None:
    assert codec(schema, others).encode_plain(b'{"a":1}') is not None
    assert refused(schema, '{"a":"x"}', references=others) == [("/a", "wrong_type")]


@pytest.mark.parametrize("own", [{}, {"$id": "https://a.example/x.json"}, {"$id": "x/y.json"}])
def test_an_empty_reference_is_the_document_itself(own: Any) -> None:
    schema = {**own, "properties": {"a": {"$ref": ""}, "b": {"type": "integer"}}}
    assert publish(schema, '{"a":{"b":1}}')
    assert refused(schema, '{"a":{"b":"x"}}') == [("/a/b", "wrong_type")]
    assert publish({"const": {"$ref": ""}}, '{"$ref":""}')
    assert refused({"const": {"$ref": ""}}, '{"$ref":"#"}') == [("", "unknown_symbol")]


def test_an_id_that_is_no_address_is_named() -> None:
    assert "$id" in invalid({"$id": "http://["})


def form(kind: str, **properties: Any) -> Any:
    return {"type": "object", "properties": {"type": {"const": kind}, **properties}, "required": ["type", *properties]}


@pytest.mark.parametrize("word", ["oneOf", "anyOf"])
def test_of_a_choice_the_branch_that_a_const_names_is_told(word: str) -> None:
    whole = {"type": "integer"}
    schema = {word: [form("a", p=whole, q=whole), form("b")]}
    assert refused(schema, '{"type":"a","p":"x","q":"y"}') == [("/p", "wrong_type"), ("/q", "wrong_type")]
    behind = {word: [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/b"}], "$defs": {"a": form("a", p=whole, q=whole), "b": form("b")}}  # fmt: skip
    assert refused(behind, '{"type":"a","p":"x","q":"y"}') == [("/p", "wrong_type"), ("/q", "wrong_type")]
    several = {word: [{"properties": {"k": {"enum": ["a", "c"]}, "p": whole, "q": whole}}, {"properties": {"k": {"enum": ["b"]}}}]}  # fmt: skip
    assert refused(several, '{"k":"c","p":"x","q":"y"}') == [("/p", "wrong_type"), ("/q", "wrong_type")]
    assert refused(schema, '{"type":"z"}') == [("/type", "unknown_symbol")]
