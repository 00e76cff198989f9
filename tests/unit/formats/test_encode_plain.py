"""Reading and encoding in one go says what the two steps say, or leaves the record to them."""

from __future__ import annotations

import gzip
import itertools

import pytest
from confluent_kafka.schema_registry import Schema

from inlake.errors import InlakeError, RecordRejected
from inlake.formats import compile_codec
from inlake.ports import Codec
from tests.gateways import EXAMPLES

FILES = {
    "AVRO": "avro/{}.avsc",
    "JSON": "jsonschema/{}.schema.json",
    "PROTOBUF": "protobuf/{}.proto",
}
RECORDS = {"nga_constituent": "nga/constituents", "cmoa_artwork": "cmoa/artworks"}
WITH_RESOURCE = {
    "AVRO": """{"type": "record", "name": "N", "fields": [{"name": "title", "type": "string"},
        {"name": "__resource_path__", "type": ["null", "string"], "default": null}]}""",
    "JSON": """{"type": "object", "properties": {"title": {"type": "string"},
        "__resource_path__": {"type": ["string", "null"]}}, "required": ["title"]}""",
    "PROTOBUF": """syntax = "proto3";
        message N { string title = 1; string __resource_path__ = 2 [json_name = "__resource_path__"]; }""",
}


def in_two_steps(codec: Codec, record: bytes) -> bytes | None:
    try:
        return codec.encode(codec.read(record))
    except InlakeError:
        return None


@pytest.mark.parametrize(("language", "name"), [*itertools.product(FILES, RECORDS)])
def test_real_records_are_the_same_bytes_in_one_go(language: str, name: str) -> None:
    codec = compile_codec(Schema((EXAMPLES / "schemas" / FILES[language].format(name)).read_text(), language))
    records = gzip.decompress((EXAMPLES / f"{RECORDS[name]}.ndjson.gz").read_bytes()).splitlines()[:500]
    at_once = [codec.encode_plain(record) for record in records]
    stepwise = [in_two_steps(codec, record) for record in records]
    taken = [(one, two) for one, two in zip(at_once, stepwise, strict=True) if one is not None]
    assert all(one == two for one, two in taken)
    assert len(taken) > 0.9 * sum(two is not None for two in stepwise), "most take the short way"


@pytest.mark.parametrize("language", WITH_RESOURCE)
@pytest.mark.parametrize("value", ['"a"', '""', '"0f3c0d3a-4a0e-4d9f-8f43-2a3c7b1de0aa"'])
def test_a_record_that_names_a_resource_takes_both_steps(language: str, value: str) -> None:
    codec = compile_codec(Schema(WITH_RESOURCE[language], language))
    assert codec.encode_plain(b'{"title": "a", "__resource_path__": %b}' % value.encode()) is None


@pytest.mark.parametrize("language", WITH_RESOURCE)
@pytest.mark.parametrize("record", [b'{"title": "a"}', b'{"title": "a", "__resource_path__": null}'])
def test_a_record_without_a_resource_takes_one(language: str, record: bytes) -> None:
    codec = compile_codec(Schema(WITH_RESOURCE[language], language))
    assert codec.encode_plain(record) == codec.encode(codec.read(record))


@pytest.mark.parametrize("language", WITH_RESOURCE)
@pytest.mark.parametrize("record", [b'{"title": 1}', b'{"title": "a", "more": []}', b'{"title": "a", "title": 2}'])
def test_a_record_that_does_not_fit_is_left_to_the_steps_that_say_why(language: str, record: bytes) -> None:
    codec = compile_codec(Schema(WITH_RESOURCE[language], language))
    assert codec.encode_plain(record) == in_two_steps(codec, record)


@pytest.mark.parametrize("language", WITH_RESOURCE)
def test_depth_is_bounded_there_too(language: str) -> None:
    codec = compile_codec(Schema(WITH_RESOURCE[language], language), max_depth=20)
    deep = b"[" * 21 + b"]" * 21
    with pytest.raises(RecordRejected, match="deeper than 20"):
        codec.encode_plain(deep) or codec.read(deep)


DOUBLES = {
    "AVRO": """{"type": "record", "name": "N", "fields": [{"name": "id", "type": "string"},
        {"name": "width", "type": "double"}]}""",
    "PROTOBUF": """syntax = "proto3"; message N { string id = 1; double width = 2; }""",
}


@pytest.mark.parametrize("language", DOUBLES)
@pytest.mark.parametrize(
    ("number", "is_sure"),
    [("0.0", True), ("0", True), ("-0.0", True), ("-0", False), ("1e-400", False), ("0." + "0" * 400 + "1", False)],
)
def test_a_zero_is_sure_where_no_other_number_is_read_as_zero(language: str, number: str, is_sure: bool) -> None:
    codec = compile_codec(Schema(DOUBLES[language], language))
    for identifier in ("596c52d4-8e-4321-5e-400f-1", "1897-01-31", "a-0"):
        record = f'{{"id": "{identifier}", "width": {number}}}'.encode()
        assert (codec.encode_plain(record) is not None) == is_sure


@pytest.mark.parametrize("language", DOUBLES)
def test_a_record_that_cannot_be_deep_is_refused_by_its_depth_all_the_same(language: str) -> None:
    codec = compile_codec(Schema(DOUBLES[language], language), max_depth=20)
    deep = b'{"id": "a", "width": ' + b"[" * 100 + b"]" * 100 + b"}"
    assert codec.encode_plain(deep) is None
    with pytest.raises(RecordRejected, match="deeper than 20"):
        codec.read(deep)


def test_a_schema_that_holds_itself_is_looked_at_record_by_record() -> None:
    node = """{"type": "record", "name": "N", "fields": [{"name": "n", "type": ["null", "N"], "default": null}]}"""
    codec = compile_codec(Schema(node, "AVRO"), max_depth=20)
    assert codec.encode_plain(b'{"n":' * 20 + b"null" + b"}" * 20) is not None
    with pytest.raises(RecordRejected, match="deeper than 20"):
        codec.encode_plain(b'{"n":' * 21 + b"null" + b"}" * 21)
