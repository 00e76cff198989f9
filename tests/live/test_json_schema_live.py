"""A JSON Schema with references in the real registry: Confluent's deserializer reads what the codec writes."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.json_schema import JSONDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from inlake.formats import compile_codec
from inlake.registry.confluent.registry import ConfluentRegistry
from tests import live_servers as live

pytestmark = pytest.mark.live
EXAMPLES = Path(__file__).parents[2] / "examples"
SCHEMAS = EXAMPLES / "schemas" / "jsonschema"


async def test_a_schema_with_references_is_read_back_by_its_id() -> None:
    live.require("registry", live.SCHEMA_REGISTRY_URL)
    tag = uuid.uuid4().hex[:12]
    registry = ConfluentRegistry(live.SCHEMA_REGISTRY_URL)
    rights = Schema((SCHEMAS / "rights.schema.json").read_text(), "JSON")
    await registry.register(f"rights-{tag}", rights)
    reference = SchemaReference("rights.schema.json", f"rights-{tag}", 1)
    text = (SCHEMAS / "digital_object.schema.json").read_text()
    await registry.register(f"object-{tag}", Schema(text, "JSON", [reference]))
    found = await registry.find(f"object-{tag}")
    codec = compile_codec(found.schema, await registry.references(found.schema))

    assert found.schema_id
    frame = b"\x00" + found.schema_id.to_bytes(4, "big")
    where = SerializationContext("topic", MessageField.VALUE)
    with SchemaRegistryClient({"url": live.SCHEMA_REGISTRY_URL}) as client:
        read = JSONDeserializer(None, schema_registry_client=client)
        for line in (EXAMPLES / "binaries" / "metadata.jsonschema.ndjson").read_bytes().splitlines():
            payload = codec.encode(codec.read(line), "s3://bucket/object")
            assert read(frame + payload, where) == {**json.loads(line), "__resource_path__": "s3://bucket/object"}
    await registry.close()
