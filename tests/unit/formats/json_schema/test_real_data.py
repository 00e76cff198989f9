"""Real records against the JSON Schemas of examples/: refused where expected, read back by Confluent's deserializer."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.schema_registry.json_schema import JSONDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from inlake.errors import RecordRejected
from inlake.formats.json_schema.codec import JsonSchemaCodec

EXAMPLES = Path(__file__).parents[4] / "examples"
SCHEMAS = [s for s in json.loads((EXAMPLES / "index.json").read_text())["schemas"] if s["language"] == "JSON"]
TEXTS = {s["name"]: (EXAMPLES / s["file"]).read_text() for s in SCHEMAS}
WITH_DATA = [s for s in SCHEMAS if "data" in s]
REJECTS = json.loads((EXAMPLES / "expected-rejects.json").read_text())["rejects"]
COUNTS = {"tate.artwork.json": 32, "tate.artist.json": 0, "cmoa.artwork.json": 104, "nga.constituent.json": 1}


def codec(schema: dict[str, Any]) -> JsonSchemaCodec:
    references = [(reference["name"], TEXTS[reference["subject"]]) for reference in schema.get("references", [])]
    return JsonSchemaCodec(TEXTS[schema["name"]], references)


def records(schema: dict[str, Any]) -> list[bytes]:
    data = (EXAMPLES / schema["data"]).read_bytes()
    return (gzip.decompress(data) if schema["data"].endswith(".gz") else data).splitlines()


def encode(made: JsonSchemaCodec, record: bytes) -> tuple[bytes, set[str]]:
    """The payload, or the pointers of the errors."""
    try:
        return made.encode(made.read(record)), set()
    except RecordRejected as refusal:
        return b"", {error.pointer for error in refusal.errors}


@pytest.mark.parametrize("schema", WITH_DATA, ids=lambda schema: schema["name"])
def test_real_records_are_published_or_refused_as_expected(schema: dict[str, Any]) -> None:
    expected = {
        reject["line"]: set(reject["pointers"])
        for reject in REJECTS
        if reject["file"] == schema["data"] and reject["language"] == "jsonschema"
    }
    made, refused = codec(schema), {}
    for line, record in enumerate(records(schema), 1):
        payload, pointers = encode(made, record)
        if pointers:
            refused[line] = pointers
        else:
            assert json.loads(payload) == json.loads(record)
    assert refused.keys() == expected.keys()
    assert len(refused) == COUNTS.get(schema["name"], 0)
    for line, pointers in refused.items():
        # a choice is refused at its place by some, and inside of the closest branch here
        for pointer in expected[line]:
            assert any(found == pointer or found.startswith(pointer + "/") for found in pointers), (line, pointers)
        assert all(found.startswith(tuple(expected[line])) for found in pointers), (line, pointers)


@pytest.mark.parametrize(
    "schema", [schema for schema in WITH_DATA if "references" not in schema], ids=lambda schema: schema["name"]
)
def test_confluents_deserializer_reads_the_same_record(schema: dict[str, Any]) -> None:
    made, read = codec(schema), JSONDeserializer(TEXTS[schema["name"]])
    where = SerializationContext("topic", MessageField.VALUE)
    for record in records(schema)[::100]:
        payload, pointers = encode(made, record)
        if not pointers:
            assert read(b"\x00\x00\x00\x00\x01" + payload, where) == json.loads(record)


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema["name"])
def test_every_example_schema_has_an_example(schema: dict[str, Any]) -> None:
    made = codec(schema)
    example = made.example()
    assert isinstance(example, dict)
    assert encode(made, json.dumps(example).encode())[1] == set()
    assert made.has_resource_field == (schema["name"] == "heritage.digital_object.json")
