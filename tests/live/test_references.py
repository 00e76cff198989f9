"""Schemas spread over subjects, in all three languages: types of other subjects, imports of imports, later messages."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from confluent_kafka.schema_registry import SchemaReference
from google.protobuf import json_format
from google.protobuf.message import Message

from tests import live_servers as live
from tests.command import Served, serving
from tests.foreign import Reader, events_of, register, topic_of

AVRO = {
    "place": {"type": "record", "name": "Place", "namespace": "museum.common", "fields": [{"name": "name", "type": "string"}]},
    "role": {"type": "enum", "name": "Role", "namespace": "museum.common", "symbols": ["MAKER", "LENDER"]},
    "person": {"type": "record", "name": "Person", "namespace": "museum", "fields": [
        {"name": "name", "type": "string"},
        {"name": "role", "type": "museum.common.Role"},
        {"name": "born", "type": ["null", "museum.common.Place"]},
    ]},
    "loan": {"type": "record", "name": "Loan", "namespace": "museum", "fields": [
        {"name": "number", "type": "long"},
        {"name": "people", "type": {"type": "array", "items": "Person"}},
        {"name": "to", "type": "museum.common.Place"},
    ]},
}  # fmt: skip
PROTOBUF = {
    "place": 'syntax = "proto3"; package museum.common; message Place { string name = 1; }',
    "role": 'syntax = "proto3"; package museum.common; enum Role { UNKNOWN = 0; MAKER = 1; LENDER = 2; }',
    "person": """syntax = "proto3"; package museum;
        import "museum/common/place.proto"; import "museum/common/role.proto";
        message Person { string name = 1; museum.common.Role role = 2; museum.common.Place born = 3; }""",
    "loan": """syntax = "proto3"; package museum;
        import "museum/person.proto"; import "museum/common/place.proto"; import "google/protobuf/timestamp.proto";
        message Object { string acno = 1; }
        message Register {
          message Entry { google.protobuf.Timestamp at = 1; }
          message Loan { int64 number = 1; repeated Person people = 2; museum.common.Place to = 3; }
        }""",
}
DRAFT = "https://json-schema.org/draft/2020-12/schema"
JSON: dict[str, Any] = {
    "place": {"$schema": DRAFT, "$defs": {"Place": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}}},
    "role": {"$schema": DRAFT, "enum": ["MAKER", "LENDER"]},
    "person": {"$schema": DRAFT, "type": "object", "required": ["name", "role"], "unevaluatedProperties": False, "properties": {
        "name": {"type": "string"},
        "role": {"$ref": "role.json"},
        "born": {"anyOf": [{"type": "null"}, {"$ref": "place.json#/$defs/Place"}]},
    }},
    "loan": {"$schema": DRAFT, "type": "object", "required": ["number", "people", "to"], "properties": {
        "number": {"type": "integer"},
        "people": {"type": "array", "items": {"$ref": "person.json"}},
        "to": {"$ref": "place.json#/$defs/Place"},
    }},
}  # fmt: skip
NAMES = {
    "AVRO": {"place": "museum.common.Place", "role": "museum.common.Role", "person": "museum.Person"},
    "PROTOBUF": {
        "place": "museum/common/place.proto",
        "role": "museum/common/role.proto",
        "person": "museum/person.proto",
    },
    "JSON": {"place": "place.json", "role": "role.json", "person": "person.json"},
}
TEXTS = {
    "AVRO": {name: json.dumps(schema) for name, schema in AVRO.items()},
    "PROTOBUF": PROTOBUF,
    "JSON": {name: json.dumps(schema) for name, schema in JSON.items()},
}
REFERS: dict[str, list[str]] = {"place": [], "role": [], "person": ["place", "role"], "loan": ["person", "place"]}
MESSAGE = "museum.Register.Loan"
PEOPLE = [
    {"name": "Rebecca Horn", "role": "MAKER", "born": {"name": "Michelstadt"}},
    {"name": "Tate", "role": "LENDER", "born": None},
]
LOAN = {"number": 7, "people": PEOPLE, "to": {"name": "Carnegie Museum of Art"}}
BROKEN = {**LOAN, "people": [*PEOPLE, {"name": "x", "role": "PAINTER", "born": {"name": 1}}]}


@pytest.fixture(scope="module", params=["embedded", pytest.param("real", marks=pytest.mark.live)])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    own = f"t{uuid.uuid4().hex[:12]}"
    variables = {"INLAKE_TOPIC": f"{own}.{{schema}}", "INLAKE_SUBJECT": f"{own}.{{schema}}"}
    if request.param == "real":
        variables = live.deployment(own)
    with serving(tmp_path_factory.mktemp("references"), **variables) as served:
        for kind, texts in TEXTS.items():
            for name, text in texts.items():
                references = [SchemaReference(NAMES[kind][other], f"{own}.{other}.{kind}", 1) for other in REFERS[name]]
                register(served, f"{own}.{name}.{kind}", text, kind, references)
        yield served


def test_records_of_schemas_with_references_of_references_are_read_back_by_their_ids(served: Served) -> None:
    """One stream with all three languages; the schema, what it refers to and its message come from the id alone."""
    records = [(kind, record) for kind in TEXTS for record in (LOAN, BROKEN, LOAN)]
    lines = [
        {
            "schema": f"loan.{kind}",
            "destination": "loans",
            **({"message": MESSAGE} if kind == "PROTOBUF" else {}),
            "record": record,
        }
        for kind, record in records
    ]
    answer = httpx2.post(
        f"{served.url}/ingress/record-json",
        content="\n".join(map(json.dumps, lines)),
        headers={"content-type": "application/x-ndjson"},
        timeout=60,
    )
    *receipts, last = map(json.loads, answer.text.splitlines())
    assert last == {"summary": {"accepted": 6, "pending": 0, "rejected": 3, "failed": 0}, "complete": True}
    for receipt, (_, record) in zip(receipts, records, strict=True):
        if record is BROKEN:
            pointers = sorted(error["pointer"] for error in receipt["errors"])
            assert pointers == ["/people/2/born/name", "/people/2/role"], receipt
    with Reader(served) as reader:
        for kind in TEXTS:
            first, second = map(reader.decode, events_of(served, topic_of(served, f"loan.{kind}")))
            assert first == second
            assert plain(first) == LOAN


def plain(value: Any) -> Any:
    if not isinstance(value, Message):
        return value
    assert value.DESCRIPTOR.full_name == MESSAGE
    people = [{"born": None, **person} for person in json_format.MessageToDict(value)["people"]]
    return {**json_format.MessageToDict(value), "number": 7, "people": people}
