"""The main job with real data, in all schema languages and on both ways to run: in over HTTP, read back by code that is not
ours."""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import pytest
from confluent_kafka.schema_registry import SchemaReference
from google.protobuf import json_format
from google.protobuf.message import Message

from tests import live_servers as live
from tests.command import Served, serving
from tests.foreign import Event, Reader, events_of, read_object, register, topic_of

EXAMPLES = Path(__file__).parents[2] / "examples"
REJECTS = json.loads((EXAMPLES / "expected-rejects.json").read_text())["rejects"]
SCHEMAS = {s["name"]: s for s in json.loads((EXAMPLES / "index.json").read_text())["schemas"]}
DATA = [s for s in SCHEMAS.values() if s.get("data", "").endswith(".gz")]
OBJECTS = {s["language"]: s for s in SCHEMAS.values() if s["name"].startswith("heritage.digital_object")}
LANGUAGES = {"AVRO": "avro", "PROTOBUF": "protobuf", "JSON": "jsonschema"}
"""The words of expected-rejects.json."""
VALIDATE = bool(os.environ.get("INLAKE_TEST_VALIDATE"))
"""Whether Confluent's JSON deserializer checks every record against its schema: minutes more."""


# ------------------------------------------------------------------------------------------------------------ gateways
@pytest.fixture(scope="module", params=["embedded", pytest.param("real", marks=pytest.mark.live)])
def deployment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A served gateway with all examples registered, by others' means."""
    own = f"t{uuid.uuid4().hex[:12]}"
    variables = {"INLAKE_TOPIC": f"{own}.{{schema}}", "INLAKE_SUBJECT": f"{own}.{{schema}}"}
    if request.param == "real":
        variables = live.deployment(own)
    with serving(tmp_path_factory.mktemp("real-data"), **variables) as served:
        for schema in SCHEMAS.values():
            references = [SchemaReference(**{**r, "subject": f"{own}.{r['subject']}"}) for r in references_of(schema)]
            register(served, f"{own}.{schema['name']}", text_of(schema), schema["language"], references)
        yield served


@pytest.fixture(scope="module")
def reader(deployment: Served) -> Iterator[Reader]:
    with Reader(deployment, validate=VALIDATE) as reader:
        yield reader


@pytest.fixture(scope="module")
def checking(deployment: Served) -> Iterator[Reader]:
    """As `reader`, and what it reads as JSON fits its schema to Confluent's deserializer."""
    with Reader(deployment) as reader:
        yield reader


def references_of(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return list(schema.get("references", []))


def text_of(schema: dict[str, Any]) -> str:
    return (EXAMPLES / str(schema["file"])).read_text()


@cache
def avro_of(name: str) -> Any:
    return json.loads(text_of(SCHEMAS[name]))


def address_of(schema: dict[str, Any]) -> str:
    """The query that names a schema, and the message where there are several."""
    return f"schema={schema['name']}" + (f"&message={schema['message']}" if "message" in schema else "")


# --------------------------------------------------------------------------------------------------------------- tests
@pytest.mark.parametrize("data", DATA, ids=lambda d: d["name"])
def test_every_record_that_fits_is_an_event_and_every_other_is_refused_where_it_is_wrong(
    deployment: Served, reader: Reader, checking: Reader, data: dict[str, Any]
) -> None:
    body = gzip.decompress((EXAMPLES / data["data"]).read_bytes())
    lines = body.splitlines()
    answer = httpx2.post(
        f"{deployment.url}/ingress/record-json?{address_of(data)}",
        content=body,
        headers={"content-type": "application/x-ndjson"},
        timeout=120,
    )
    *receipts, last = [json.loads(line) for line in answer.text.splitlines()]
    language = LANGUAGES[data["language"]]
    expected = {r["line"]: r["pointers"] for r in REJECTS if (r["file"], r["language"]) == (data["data"], language)}
    assert last["complete"]
    assert last["summary"]["accepted"] == len(lines) - len(expected)
    assert last["summary"]["rejected"] == len(expected)
    refused = {r["line"]: [e["pointer"] for e in r["errors"]] for r in receipts if r["status"] == 422}
    assert refused.keys() == expected.keys()
    for line, pointers in refused.items():
        check_pointers(data["language"], pointers, expected[line])
    accepted = {r["id"]: lines[r["line"] - 1] for r in receipts if r["status"] == 201}
    events = events_of(deployment, topic_of(deployment, data["name"]))
    assert len(events) == len(accepted)
    for number, event in enumerate(events):
        decode = checking.decode if number % 50 == 0 else reader.decode
        check_value(data, decode(event), accepted.pop(event.headers["ce_id"]))
    assert accepted == {}


def check_pointers(language: str, found: list[str], expected: list[str]) -> None:
    """Each place that is wrong is named. Of a choice in JSON Schema some tools name the place, and Inlake what is wrong
    within the closest branch."""
    if language == "JSON":
        for pointer in expected:
            assert any(one == pointer or one.startswith(f"{pointer}/") for one in found), found
        assert all(one.startswith(tuple(expected)) for one in found), found
    else:
        assert sorted(found) == sorted(expected)


def check_value(schema: dict[str, Any], value: Any, sent: bytes) -> None:
    """What was decoded is what was sent: to google's json_format, to the rules of Avro, or as plain JSON."""
    if isinstance(value, Message):
        assert value.DESCRIPTOR.full_name == schema["message"]
        assert value == json_format.Parse(sent, type(value)(), descriptor_pool=value.DESCRIPTOR.file.pool)
    elif schema["language"] == "AVRO":
        others = [avro_of(r["subject"]) for r in references_of(schema)]
        assert value == filled(json.loads(sent), avro_of(schema["name"]), *others)
    else:
        assert value == json.loads(sent)


@pytest.mark.parametrize(
    ("language", "spelling"),
    [("AVRO", "avro-untagged"), ("AVRO", "avro-tagged"), ("PROTOBUF", "protobuf"), ("JSON", "jsonschema")],
)
def test_every_binary_is_stored_whole_and_named_by_its_event(
    deployment: Served, checking: Reader, language: str, spelling: str
) -> None:
    schema = OBJECTS[language]
    kind = "application/vnd.apache.avro+json" if spelling == "avro-tagged" else "application/json"
    url = f"{deployment.url}/ingress/record-json-and-binary?{address_of(schema)}&destination={spelling}"
    sent: dict[str, tuple[Path, Any]] = {}
    for line, plain in zip(lines_of(spelling), lines_of(schema["data"].split(".")[1]), strict=True):
        record = place_apart(json.loads(line), spelling)
        path = EXAMPLES / "binaries/files" / record["file"]["name"]
        with path.open("rb") as file:
            answer = httpx2.post(
                url,
                files={
                    "record": (None, json.dumps(record), kind),
                    "file": (path.name, file, record["file"]["media_type"]),
                },
                timeout=60,
            )
        assert answer.status_code == 201, answer.text
        receipt = answer.json()
        assert receipt["resource"]["size"] == path.stat().st_size
        sent[receipt["id"]] = (path, {**json.loads(plain), "__resource_path__": receipt["resource"]["uri"]})
    assert len(sent) == 18
    key = f"{schema['name']}/{spelling}"
    for event in [e for e in events_of(deployment, topic_of(deployment, schema["name"])) if e.key == key]:
        path, expected = sent.pop(event.headers["ce_id"])
        check_value(schema, checking.decode(event), json.dumps(expected).encode())
        check_object(deployment, event, path)
        assert expected["__resource_path__"] == event.headers["inlake_resource_uri"]
    assert sent == {}


def lines_of(spelling: str) -> list[str]:
    return (EXAMPLES / f"binaries/metadata.{spelling}.ndjson").read_text().removesuffix("\n").split("\n")


def place_apart(record: dict[str, Any], spelling: str) -> dict[str, Any]:
    """The place that a record names below a folder of its own: the four spellings name the same places."""
    place = record["__resource_path__"]
    if isinstance(place, dict):
        place = {"string": f"{spelling}/{place['string']}"}
    elif place is not None:
        place = f"{spelling}/{place}"
    return {**record, "__resource_path__": place}


def check_object(deployment: Served, event: Event, path: Path) -> None:
    content = read_object(deployment, event.headers["inlake_resource_uri"])
    assert content == path.read_bytes()
    assert event.headers["inlake_resource_sha256"] == hashlib.sha256(content).hexdigest()
    assert event.headers["inlake_resource_size"] == str(len(content))


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
        if isinstance(value, int | float):
            return decimal.Decimal(str(value))
        return decimal.Decimal(int.from_bytes(value.encode("latin-1"), "big", signed=True)).scaleb(-schema["scale"])
    return value.encode("latin-1") if kind in {"bytes", "fixed"} else value
