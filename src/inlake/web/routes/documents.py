"""The ingress routes in the OpenAPI document."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from inlake.model import SCHEMA_NAME, Pending, Receipt, SchemaVersion, StoredObject
from inlake.web.openapi import answer, content, header, json, ndjson, operation, parameter, problems
from inlake.web.request import address
from inlake.web.request.envelope import Envelope, Version
from inlake.web.request.route import Document
from inlake.web.routes import examples
from inlake.web.routes.lines import STREAM
from inlake.web.routes.promises import PROMISE
from inlake.web.routes.records import Valid

SCHEMA = SchemaVersion("tate.artwork", 1, 7)
PUUID, EVENT = PROMISE.puuid, "6c1d6f9e-6a52-4a53-9a3e-0c2f1be0c1c8"
RECEIPT = Receipt(EVENT, "tate.artwork", "inlake.tate.artwork", 0, 42, SCHEMA)
STORED = StoredObject(
    PUUID,
    f"s3://bucket/prefix/objects/{PUUID}/spot.obj",
    PROMISE.received,
    str(PROMISE.sha256),
    PROMISE.content_type,
    PROMISE.filename,
)
BOTH = Receipt(EVENT, "tate.artwork", "inlake.tate.artwork", 0, 42, SCHEMA, STORED)
WAITING = Receipt(EVENT, "tate.artwork", "inlake.tate.artwork", None, None, SCHEMA, STORED)
PENDING = Pending(EVENT, "tate.artwork", PUUID, "claimed", SCHEMA, "2026-11-23T20:15:00Z")

Name = Annotated[str, Meta(pattern=f"^{SCHEMA_NAME}$")]
Destination = Annotated[str, Meta(pattern=f"^{address.DESTINATION}$", max_length=200)]
Message = Annotated[str, Meta(pattern=f"^{address.MESSAGE}$", max_length=address.LONGEST_MESSAGE)]
_SCHEMA = "Name of the schema. Without it each record is an envelope that names it."
_ADDRESS = [
    parameter("destination", "Database or sub-database that consumers should load the record into.", Destination),
    parameter("version", "Version of the schema; default: the latest.", Version),
    parameter("message", "Protobuf only: full name of the message; default: the first in the file.", Message),
    parameter("key_inlk", "`schema` or `schema/destination`, as in the first Inlake."),
]
ADDRESS = [parameter("schema", _SCHEMA, Name, "tate.artwork"), *_ADDRESS]
"""The query parameters of records."""
ADDRESS_WITH_BINARY = [parameter("schema", _SCHEMA, Name, "heritage.digital_object"), *_ADDRESS]
"""The query parameters of records that have a binary."""
RECEIPTS = parameter("receipts", "Which receipts of a stream come back; default: all.", address.Receipts)
ATOMIC = parameter(
    "mode",
    "`atomic`: all records of the body are published, or none. For a body of one record a line, of at most "
    "`INLAKE_ATOMIC_RECORDS` records and `INLAKE_ATOMIC_BYTES` bytes, without binaries.",
    Literal["atomic"],
)
IDEMPOTENCY_KEY = header(
    "Idempotency-Key",
    'A text of the client\'s own for this one request, such as `"8e03978e-40d5"`; the quotes may be left out. Sent '
    "again with it, the request publishes nothing more and gets the same answer, with `Idempotent-Replayed: true`.",
    Annotated[str, Meta(min_length=1)],
)
LOCATION = {"Location": "Where to ask: `/promises/{puuid}`; of one record that waits for its binary."}
RECORD: Document = {"type": "object", "additionalProperties": True}
RECORDS: Document = {
    "required": True,
    "description": "One record, or a stream of them a line each; without `schema` each in an envelope.",
    "content": {
        **content(
            "application/json",
            RECORD | {"title": "Record", "description": "The record, or an `Envelope` around it."},
            examples.ARTWORK,
        ),
        **ndjson(
            "A record, or an `Envelope` around one, a line.",
            [RECORD, Envelope],
            examples.lines(examples.ARTWORK, examples.ARTWORK | {"classification": None}),
        ),
        **content(
            address.TAGGED,
            RECORD
            | {
                "title": "TaggedRecord",
                "description": "The record; unions in the tagged form of the Avro specification only.",
            },
            examples.ARTWORK_TAGGED,
        ),
    },
}
BYTES = {"type": "string", "format": "binary"}
KEPT_UNTIL = (
    "Kept: published once the binary that it names is complete; or, with an outbox, once the bus is back: a receipt "
    "without partition and offset."
)
KEPT_ANSWER = content("application/json", {"anyOf": [Pending, Receipt]}, PENDING)
KEPT = answer(KEPT_UNTIL, KEPT_ANSWER, headers=LOCATION)
"""202 of one record."""
RECORD_JSON = operation(
    "ingress",
    {
        201: answer("Published: the receipt.", json(RECEIPT), STREAM),
        202: answer(KEPT_UNTIL, KEPT_ANSWER, STREAM, headers=LOCATION),
        207: answer("A stream whose lines have different statuses, or that is longer than one window.", STREAM),
    },
    problems(400, 401, 403, 404, 408, 409, 410, 413, 415, 422, 501, 503, 507, beside=STREAM),
    asks=[*ADDRESS, RECEIPTS, ATOMIC, IDEMPOTENCY_KEY],
    body=RECORDS,
)
RECORD_JSON_AND_BINARY = operation(
    "ingress",
    {
        201: answer("Stored and published: the receipt.", json(BOTH)),
        202: answer("Stored, and published once the bus is back, where the gateway has an outbox.", json(WAITING)),
    },
    problems(400, 401, 403, 404, 408, 409, 410, 413, 415, 422, 501, 503, 507),
    asks=[
        *ADDRESS_WITH_BINARY,
        parameter("content", "The record, as in the first Inlake; then `file` is the only part."),
        IDEMPOTENCY_KEY,
    ],
    body={
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {
                    "record": {
                        "type": "string",
                        "description": "JSON; first, so that it is checked first",
                        "examples": [examples.lines(examples.OBJECT)],  # what Swagger UI fills its field with
                    },
                    "file": BYTES,
                },
                "required": ["file"],
            },
            "encoding": {"record": {"contentType": "application/json"}, "file": {"contentType": "*/*"}},
            "example": {"record": examples.lines(examples.OBJECT), "file": examples.FILE.decode()},
        }
    },
)
BINARY = operation(
    "ingress",
    {200: answer("Stored: the promise that a record can name.", json(PROMISE))},
    problems(400, 401, 403, 408, 409, 410, 413, 415, 422, 501, 503, 507),
    asks=[
        parameter("filename", "Name of the binary, any text; before the one that the body or its header says."),
        IDEMPOTENCY_KEY,
        *(
            header(name, "`sha-256=:BASE64:` (RFC 9530); of a form: of the whole form.")
            for name in ("Repr-Digest", "Content-Digest")
        ),
    ],
    body={
        **content("application/octet-stream", BYTES, examples.FILE.decode()),
        "multipart/form-data": {
            "schema": {"type": "object", "properties": {"file": BYTES}, "required": ["file"]},
            "encoding": {"file": {"contentType": "*/*"}},
            "example": {"file": examples.FILE.decode()},
        },
    },
)
VALIDATE = operation(
    "ingress",
    {
        200: answer("The record fits.", json(Valid(True, SCHEMA)), STREAM),
        207: answer("A stream whose lines have different statuses, or that is longer than one window.", STREAM),
    },
    problems(400, 401, 403, 404, 408, 413, 415, 422, 501, 503, beside=STREAM),
    asks=[*ADDRESS, RECEIPTS],
    body=RECORDS,
)
