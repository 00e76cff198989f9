"""The main job with real data, on both ways to run: in over HTTP, read back by code that is not ours."""

from __future__ import annotations

import asyncio
import datetime as dt
import decimal
import gzip
import hashlib
import io
import json
import sqlite3
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiokafka
import fastavro
import httpx2
import pytest
from aiobotocore.session import get_session
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from tests import live_servers as live
from tests.command import Served, serving

EXAMPLES = Path(__file__).parents[2] / "examples"
REJECTS = json.loads((EXAMPLES / "expected-rejects.json").read_text())["rejects"]
SCHEMAS = [s for s in json.loads((EXAMPLES / "index.json").read_text())["schemas"] if s["language"] == "AVRO"]
DATA = [s for s in SCHEMAS if "data" in s and s["name"] != "heritage.digital_object"]


@dataclass(frozen=True)
class Read:
    """An event as somebody else's client read it, its value decoded by somebody else's decoder."""

    headers: dict[str, str]
    value: Any


@pytest.fixture(scope="module", params=["embedded", pytest.param("real", marks=pytest.mark.live)])
def deployment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A served gateway with all Avro examples registered."""
    tag = uuid.uuid4().hex[:12]
    variables = {"INLAKE_TOPIC": f"{tag}.{{schema}}", "INLAKE_SUBJECT": f"{{schema}}-{tag}"}
    if request.param == "real":
        for what, address in (
            ("Kafka", live.KAFKA_BOOTSTRAP),
            ("registry", live.SCHEMA_REGISTRY_URL),
            ("S3", live.S3_ENDPOINT),
        ):
            live.require(what, address)
        variables |= {
            "INLAKE_BUS": f"kafka://{live.KAFKA_BOOTSTRAP}",
            "INLAKE_KAFKA_CREATE_TOPICS": "true",
            "INLAKE_STORE": f"s3://{live.S3_BUCKET}/{tag}",
            "INLAKE_REGISTRY": live.SCHEMA_REGISTRY_URL,
            "AWS_ENDPOINT_URL_S3": live.S3_ENDPOINT,
            "AWS_REGION": live.S3_REGION,
            "AWS_ACCESS_KEY_ID": live.AWS_ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": live.AWS_SECRET_ACCESS_KEY,
        }
    with serving(tmp_path_factory.mktemp("real-data"), **variables) as served:
        for schema in SCHEMAS:
            references = [f"{r['name']}={r['subject']}-{tag}:{r['version']}" for r in schema.get("references", [])]
            options = [text for reference in references for text in ("--reference", reference)]
            added = served.inlake("schemas", "add", schema["name"], EXAMPLES / schema["file"], *options)
            assert added.returncode == 0, added.stderr
        yield served


@pytest.mark.parametrize("data", DATA, ids=lambda d: d["name"])
def test_every_record_that_fits_is_an_event_and_every_other_is_refused_where_it_is_wrong(deployment: Served, data: dict[str, Any]) -> None:  # fmt: skip
    body = gzip.decompress((EXAMPLES / data["data"]).read_bytes())
    records = [json.loads(line) for line in body.splitlines()]
    answer = httpx2.post(
        f"{deployment.url}/ingress/record-json?schema={data['name']}",
        content=body,
        headers={"content-type": "application/x-ndjson"},
        timeout=120,
    )
    *receipts, last = [json.loads(line) for line in answer.text.splitlines()]
    expected = {r["line"]: r["pointers"] for r in REJECTS if r["file"] == data["data"] and r["language"] == "avro"}
    assert last["complete"]
    assert last["summary"]["accepted"] == len(records) - len(expected)
    assert last["summary"]["rejected"] == len(expected)
    refused = {r["line"]: [e["pointer"] for e in r["errors"]] for r in receipts if r["status"] == 422}
    assert {line: sorted(pointers) for line, pointers in refused.items()} == {
        line: sorted(p) for line, p in expected.items()
    }
    accepted = {r["id"]: records[r["line"] - 1] for r in receipts if r["status"] == 201}
    schema = json.loads((EXAMPLES / data["file"]).read_text())
    events = read_events(deployment, data["name"], schema)
    assert len(events) == len(accepted)
    for event in events:
        assert event.value == filled(accepted.pop(event.headers["ce_id"]), schema)
    assert accepted == {}


def test_every_binary_is_stored_whole_and_named_by_its_event(deployment: Served) -> None:
    lines = (EXAMPLES / "binaries/metadata.avro-untagged.ndjson").read_text().removesuffix("\n").split("\n")
    assert len(lines) == 18
    sent = {}
    for line in lines:
        record = json.loads(line)
        path = EXAMPLES / "binaries/files" / record["file"]["name"]
        with path.open("rb") as file:
            answer = httpx2.post(
                f"{deployment.url}/ingress/record-json-and-binary?schema=heritage.digital_object&destination=demo",
                files={"record": (None, line), "file": (path.name, file, record["file"]["media_type"])},
                timeout=60,
            )
        assert answer.status_code == 201, answer.text
        receipt = answer.json()
        assert receipt["resource"]["size"] == record["file"]["byte_length"] == path.stat().st_size
        sent[receipt["id"]] = (path, {**record, "__resource_path__": receipt["resource"]["uri"]})
    rights = json.loads((EXAMPLES / "schemas/avro/rights.avsc").read_text())
    schema = json.loads((EXAMPLES / "schemas/avro/digital_object.avsc").read_text())
    events = read_events(deployment, "heritage.digital_object", schema, rights)
    assert len(events) == 18
    for event in events:
        path, record = sent.pop(event.headers["ce_id"])
        assert event.value == filled(record, schema, rights)
        content = read_object(deployment, event.headers["inlake_resource_uri"])
        assert content == path.read_bytes()
        assert event.headers["inlake_resource_sha256"] == hashlib.sha256(content).hexdigest()
        assert event.headers["inlake_resource_size"] == str(len(content))
        assert record["__resource_path__"] == event.headers["inlake_resource_uri"]


# ------------------------------------------------------------------------------------ reading back with others' code
def read_events(deployment: Served, name: str, schema: Any, *references: Any) -> list[Read]:
    topic = deployment.variables["INLAKE_TOPIC"].replace("{schema}", name)
    if "INLAKE_BUS" in deployment.variables:
        return asyncio.run(_read_kafka(topic))
    named: dict[str, Any] = {}
    for reference in references:
        fastavro.parse_schema(reference, named)
    parsed = fastavro.parse_schema(schema, named)
    with sqlite3.connect(deployment.folder / ".inlake/events.db") as db:
        rows = db.execute("select value, headers from events where topic = ? order by offset", (topic,)).fetchall()
    db.close()
    return [Read(dict(json.loads(h)), fastavro.schemaless_reader(io.BytesIO(v[5:]), parsed, None)) for v, h in rows]


async def _read_kafka(topic: str) -> list[Read]:
    with SchemaRegistryClient({"url": live.SCHEMA_REGISTRY_URL}) as registry:
        return await _decode_kafka(topic, AvroDeserializer(registry))


async def _decode_kafka(topic: str, decode: AvroDeserializer) -> list[Read]:
    consumer = aiokafka.AIOKafkaConsumer(topic, bootstrap_servers=live.KAFKA_BOOTSTRAP, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partitions = consumer.assignment()
        ends = await consumer.end_offsets(partitions)
        found: list[Read] = []
        while any([await consumer.position(p) < end for p, end in ends.items()]):
            for messages in (await consumer.getmany(timeout_ms=1000)).values():
                for m in messages:
                    headers = {k: v.decode() for k, v in m.headers}
                    found.append(Read(headers, decode(m.value, SerializationContext(topic, MessageField.VALUE))))
        return found
    finally:
        await consumer.stop()


def read_object(deployment: Served, uri: str) -> bytes:
    if uri.startswith("file://"):
        return Path(uri.removeprefix("file://")).read_bytes()
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return asyncio.run(_read_s3(bucket, key))


async def _read_s3(bucket: str, key: str) -> bytes:
    client = get_session().create_client(
        "s3",
        endpoint_url=live.S3_ENDPOINT,
        region_name=live.S3_REGION,
        aws_access_key_id=live.AWS_ACCESS_KEY_ID,
        aws_secret_access_key=live.AWS_SECRET_ACCESS_KEY,
    )
    async with client as s3:
        response = await s3.get_object(Bucket=bucket, Key=key)
        async with response["Body"] as body:
            return bytes(await body.read())


# ------------------------------------------------------------- what an Avro reader must see for JSON that was sent
def filled(value: Any, schema: Any, *references: Any) -> Any:
    """The JSON sent, defaults filled, logical types as fastavro gives them."""
    names: dict[str, Any] = {}
    for reference in references:
        _expected(None, reference, "", names, collect=True)
    _expected(None, schema, "", names, collect=True)
    return _expected(value, schema, "", names)


def _expected(value: Any, schema: Any, space: str, names: dict[str, Any], *, collect: bool = False) -> Any:
    if isinstance(schema, str):
        if collect:
            return None
        schema = names.get(schema) or names.get(f"{space}.{schema}") or schema
    if isinstance(schema, list):
        if collect:
            return [_expected(None, branch, space, names, collect=True) for branch in schema]
        branch = next(b for b in schema if _fits(value, b, names, space))
        return _expected(value, branch, space, names)
    kind = schema if isinstance(schema, str) else schema["type"]
    if not isinstance(schema, str) and "name" in schema:
        space = schema.get("namespace", space)
        if collect:
            names[f"{space}.{schema['name']}"] = {**schema, "namespace": space}
    if kind == "record":
        if collect:
            return [_expected(None, f["type"], space, names, collect=True) for f in schema["fields"]]
        return {
            f["name"]: _expected(value.get(f["name"], f.get("default")), f["type"], space, names)
            for f in schema["fields"]
        }
    if kind in {"array", "map"}:
        inner = schema["items" if kind == "array" else "values"]
        if collect:
            return _expected(None, inner, space, names, collect=True)
        if kind == "array":
            return [_expected(item, inner, space, names) for item in value]
        return {k: _expected(v, inner, space, names) for k, v in value.items()}
    if isinstance(kind, dict | list):
        return _expected(value, kind, space, names, collect=collect)
    return None if collect else _leaf(value, kind, schema)


def _fits(value: Any, branch: Any, names: dict[str, Any], space: str) -> bool:
    if isinstance(branch, str):
        branch = names.get(branch) or names.get(f"{space}.{branch}") or branch
    kind = branch if isinstance(branch, str) else branch["type"]
    if kind == "record":
        wanted = {f["name"] for f in branch["fields"] if "default" not in f}
        return isinstance(value, dict) and wanted <= value.keys() <= {f["name"] for f in branch["fields"]}
    kinds = {type(None): {"null"}, bool: {"boolean"}, int: {"int", "long"}, str: {"string", "enum"}, list: {"array"}}
    return kind in kinds.get(type(value), {"map"})


def _leaf(value: Any, kind: str, schema: Any) -> Any:
    logical = schema.get("logicalType") if isinstance(schema, dict) else None
    if logical == "date":
        return dt.date(1970, 1, 1) + dt.timedelta(days=value)
    if logical == "timestamp-millis":
        return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(milliseconds=value)
    if logical == "uuid":
        return uuid.UUID(value)
    if logical == "decimal":
        return decimal.Decimal(int.from_bytes(value.encode("latin-1"), "big", signed=True)).scaleb(-schema["scale"])
    return value.encode("latin-1") if kind in {"bytes", "fixed"} else value
