"""Raw ASGI routes that stand in the OpenAPI document: no request object, no dependencies, no response model."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from inlake.errors import every_error
from inlake.web.components import SCHEMAS, SECURITY_SCHEMES, ref
from inlake.web.request.route import RawRoute

TAGS = [
    {"name": "ingress", "description": "Records, binaries, or both in one request."},
    {"name": "promises", "description": "A binary and its record in two requests; binaries sent straight to S3."},
    {"name": "uploads", "description": "Resumable uploads: tus 1.0.0."},
    {"name": "schemas", "description": "What a record can be."},
    {"name": "resources", "description": "Stored binaries."},
    {"name": "health", "description": "Whether the gateway works, and how much."},
]
"""Groups of the document, in its order."""

PROBLEM_EXAMPLE = {
    "type": "/docs/errors#record_rejected",
    "title": "The record does not fit its schema",
    "status": 422,
    "detail": "/dateRange/startYear: A value of type int is expected here.",
    "instance": "5f3a9c01-17",
    "code": "record_rejected",
    "schema": "tate.artwork",
    "errors": [
        {
            "pointer": "/dateRange/startYear",
            "code": "wrong_type",
            "detail": "A value of type int is expected here.",
            "expected": "int",
            "got": 'string "no date"',
        }
    ],
}
RECEIPT = {
    "id": "6c1d6f9e-6a52-4a53-9a3e-0c2f1be0c1c8",
    "key": "tate.artwork",
    "topic": "inlake.tate.artwork",
    "partition": 0,
    "offset": 42,
    "schema": {"subject": "tate.artwork", "version": 1, "id": 7},
    "resource": None,
}
RESOURCE = {
    "puuid": "0f3c0d3a-4a0e-4d9f-8f43-2a3c7b1de0aa",
    "uri": "s3://bucket/prefix/objects/0f3c0d3a-4a0e-4d9f-8f43-2a3c7b1de0aa/spot.obj",
    "size": 330624,
    "sha256": "07383815b560ed74e5e8c7aad0afb4b74f6cbf7a08ac7e40b2c24a9775000000",
    "content_type": "model/obj",
    "filename": "spot.obj",
}


PROMISE = {
    "puuid": RESOURCE["puuid"],
    "state": "stored",
    "way": "request",
    "received": 330624,
    "size": 330624,
    "sha256": RESOURCE["sha256"],
    "content_type": "model/obj",
    "filename": "spot.obj",
    "expires_at": "2026-11-23T20:15:00Z",
    "reason": None,
    "receipt": None,
}
PENDING = {
    "id": RECEIPT["id"],
    "key": "tate.artwork",
    "promise": RESOURCE["puuid"],
    "state": "claimed",
    "schema": RECEIPT["schema"],
    "expires_at": "2026-11-23T20:15:00Z",
}
NAME = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,200}$"}
DESTINATION = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,100}(/[A-Za-z0-9._-]{1,100})*$", "maxLength": 200}
VERSION = {"type": "integer", "minimum": 1, "maximum": 999_999_999}
MESSAGE = {"type": "string", "pattern": r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$", "maxLength": 500}


class Documented(FastAPI):
    """FastAPI whose OpenAPI document has our shapes and says who may send."""

    keys = False
    """Clients need an API key."""
    free = frozenset[str]()
    """Paths for everybody."""

    def __init__(self, **given: Any) -> None:
        """As FastAPI's."""
        super().__init__(**given)
        self.raw: dict[tuple[str, str], RawRoute] = {}
        """By method and path, those whose path is fixed."""

    def add_raw(self, route: RawRoute) -> None:
        """A route that stands in the document as every other."""
        self.router.routes.append(route)  # not included: include_router would build it anew from its documented stub
        if "{" not in route.path:
            self.raw |= {(method, route.path): route for method in route.methods or ()}

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            document = super().openapi()
            document["components"] = {"schemas": SCHEMAS, "securitySchemes": SECURITY_SCHEMES}
            document["security"] = [{"bearer": []}] if self.keys else [{}, {"bearer": []}]
            for path, operations in document["paths"].items():
                for operation in operations.values():
                    operation["summary"] = operation["description"].partition("\n")[0].rstrip(".")
                    if path in self.free:
                        operation["security"] = []
                    if "HTTPValidationError" in str(operation["responses"].get("422")):
                        del operation["responses"]["422"]  # FastAPI's own; ours is 400
        assert self.openapi_schema is not None
        return self.openapi_schema


def _parameter(
    name: str, description: str, schema: dict[str, Any] | None = None, example: Any = None
) -> dict[str, Any]:
    parameter = {"name": name, "in": "query", "description": description, "schema": schema or {"type": "string"}}
    return parameter if example is None else {**parameter, "example": example}


def problems(*statuses: int, lines: bool = False) -> dict[int | str, Any]:
    """Responses for errors, with the codes each may have; `lines`: or a stream all of whose lines share the status."""
    content: dict[str, Any] = {"application/problem+json": {"schema": ref("Problem")}}
    if lines:
        content["application/x-ndjson"] = STREAM
    return {
        str(status): {"description": _codes(status), "content": _with_example(content, status)} for status in statuses
    }


def _with_example(content: dict[str, Any], status: int) -> dict[str, Any]:
    if status != PROBLEM_EXAMPLE["status"]:
        return content
    return {**content, "application/problem+json": {"schema": ref("Problem"), "example": PROBLEM_EXAMPLE}}


def _codes(status: int) -> str:
    found = [error for error in every_error() if error.status == status and not error.__subclasses__()]
    return "; ".join(f"`{error.code}`: {error.title()}" for error in found) + "."


STREAM = {
    "schema": {
        "type": "string",
        "description": "One JSON object a line: a `LineReceipt`, `LinePending` or `LineReject` for each record, "
        "then a `Summary`.",
    },
    "example": '{"line":1,"status":201,"id":"..."}\n{"line":2,"status":422,"code":"record_rejected","errors":[...]}\n'
    '{"summary":{"accepted":1,"pending":0,"rejected":1,"failed":0},"complete":true}\n',
}
ADDRESS = [
    _parameter(
        "schema", "Name of the schema. Without it each record is an envelope that names it.", NAME, "tate.artwork"
    ),
    _parameter("destination", "Database or sub-database that consumers should load the record into.", DESTINATION),
    _parameter("version", "Version of the schema; default: the latest.", VERSION),
    _parameter("message", "Protobuf only: full name of the message; default: the first in the file.", MESSAGE),
]
ATOMIC = _parameter(
    "mode",
    "`atomic`: all records of the body are published, or none. For a body of one record a line, of at most "
    "`INLAKE_ATOMIC_RECORDS` records and `INLAKE_ATOMIC_BYTES` bytes, without binaries.",
    {"type": "string", "enum": ["atomic"]},
)
FIRST_INLAKE = [_parameter("key_inlk", "`schema` or `schema/destination`, as in the first Inlake.")]
RECEIPTS = {"type": "string", "enum": ["all", "rejects", "none"], "default": "all"}


def _answer(description: str, name: str, example: object) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": ref(name), "example": example}}}


def _or_stream(answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "content": {**answer["content"], "application/x-ndjson": STREAM}}


LOCATION = {
    "Location": {
        "description": "Where to ask: `/promises/{puuid}`; of one record, not of a stream.",
        "schema": {"type": "string"},
    }
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A text of the client's own for this one request. Sent again with it, the request publishes nothing "
    "more and gets the same answer, with `Idempotent-Replayed: true`.",
    "schema": {"type": "string", "pattern": '^"[A-Za-z0-9._-]{1,255}"$'},
    "example": '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
}

RECORD_JSON: dict[str, Any] = {
    "parameters": [
        *ADDRESS,
        _parameter("receipts", "Which receipts of a stream come back.", RECEIPTS),
        ATOMIC,
        *FIRST_INLAKE,
        IDEMPOTENCY_KEY,
    ],
    "requestBody": {
        "required": True,
        "description": "One record, or a stream of them a line each; without `schema` each in an envelope.",
        "content": {
            "application/json": {
                "schema": {"description": "The record, or an `Envelope` around it."},
                "example": {"acno": "A00001", "title": "A Figure Bowing before a Seated Old Man"},
            },
            "application/x-ndjson": {
                "schema": {"type": "string"},
                "example": '{"acno": "A00001"}\n{"acno": "A00002"}\n',
            },
            "application/vnd.apache.avro+json": {
                "schema": {"description": "The record; unions in the tagged form of the Avro specification only."},
            },
        },
    },
    "responses": {
        "201": _or_stream(_answer("Published: the receipt.", "Receipt", RECEIPT)),
        "202": {
            **_or_stream(_answer("Kept: published once the binary that it names is complete.", "Pending", PENDING)),
            "headers": LOCATION,
        },
        "207": {
            "description": "A stream whose lines have different statuses, or that is longer than one window.",
            "content": {"application/x-ndjson": STREAM},
        },
        **problems(400, 401, 403, 404, 408, 409, 410, 413, 415, 422, 501, 503, 507, lines=True),
    },
}
RECORD_JSON_AND_BINARY: dict[str, Any] = {
    "parameters": [
        *ADDRESS,
        *FIRST_INLAKE,
        _parameter("content", "The record, as in the first Inlake; then `file` is the only part."),
        IDEMPOTENCY_KEY,
    ],
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "record": {"type": "string", "description": "JSON; first, so that it is checked first"},
                        "file": {"type": "string", "format": "binary"},
                    },
                    "required": ["file"],
                },
                "encoding": {"record": {"contentType": "application/json"}, "file": {"contentType": "*/*"}},
                "example": {
                    "record": '{"title": "Spot, triangulated surface", "__resource_path__": null}',
                    "file": "v 0 0 0",
                },
            }
        },
    },
    "responses": {
        "201": _answer("Stored and published: the receipt.", "Receipt", {**RECEIPT, "resource": RESOURCE}),
        **problems(400, 401, 403, 404, 408, 409, 410, 413, 415, 422, 501, 503, 507),
    },
}
BINARY: dict[str, Any] = {
    "parameters": [
        _parameter("filename", "Name of the binary, any text; before the one that the body or its header says."),
        IDEMPOTENCY_KEY,
        *(
            {
                "name": name,
                "in": "header",
                "description": "`sha-256=:BASE64:` (RFC 9530); of a form: of the whole form.",
                "schema": {"type": "string"},
            }
            for name in ("Repr-Digest", "Content-Digest")
        ),
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}, "example": "v 0 0 0"},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "string", "format": "binary"}},
                    "required": ["file"],
                },
                "encoding": {"file": {"contentType": "*/*"}},
                "example": {"file": "v 0 0 0"},
            },
        },
    },
    "responses": {
        "200": _answer("Stored: the promise that a record can name.", "Promise", PROMISE),
        **problems(400, 401, 403, 408, 409, 410, 413, 415, 422, 501, 503, 507),
    },
}
VALIDATE: dict[str, Any] = {
    **RECORD_JSON,
    "parameters": [p for p in RECORD_JSON["parameters"] if p is not IDEMPOTENCY_KEY and p is not ATOMIC],
    "responses": {
        "200": _or_stream(_answer("The record fits.", "Valid", {"valid": True, "schema": RECEIPT["schema"]})),
        "207": RECORD_JSON["responses"]["207"],
        **problems(400, 401, 403, 404, 408, 413, 415, 422, 501, 503, lines=True),
    },
}
