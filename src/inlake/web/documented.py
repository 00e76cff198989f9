"""Raw ASGI routes that stand in the OpenAPI document: no request object, no dependencies, no response model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi.routing import APIRoute

from inlake.errors import InlakeError
from inlake.gateway import Gateway
from inlake.web.admission import Admission
from inlake.web.exchange import ClientGoneError, Exchange, Receive, Scope, Send, Site

Endpoint = Callable[[Exchange, Gateway], Awaitable[None]]

PROBLEM: dict[str, Any] = {
    "description": "What went wrong, as problem+json (RFC 9457); `code` is stable, `errors` has a pointer each.",
    "content": {
        "application/problem+json": {
            "schema": {"type": "object"},
            "example": {
                "type": "/docs/errors#record_rejected",
                "title": "The record does not fit its schema",
                "status": 422,
                "detail": "/dateRange/startYear: expected int, got a string",
                "instance": "5f3a9c01-17",
                "code": "record_rejected",
                "schema": "tate.artwork",
                "errors": [
                    {
                        "pointer": "/dateRange/startYear",
                        "code": "wrong_type",
                        "detail": "expected int, got a string",
                        "expected": "int",
                        "got": 'string "no date"',
                    }
                ],
            },
        }
    },
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


class RawRoute(APIRoute):
    """An `APIRoute` for the document whose ASGI application is ours."""

    def __init__(
        self, path: str, endpoint: Endpoint, gateway: Gateway, site: Site, admission: Admission, extra: dict[str, Any]
    ) -> None:
        async def documented() -> None: ...

        documented.__name__, documented.__doc__ = endpoint.__name__, endpoint.__doc__
        super().__init__(path, documented, methods=["POST"], status_code=201, openapi_extra=extra, tags=["ingress"])

        async def asgi(scope: Scope, receive: Receive, send: Send) -> None:
            x = Exchange(scope, receive, send, site)
            try:
                with admission.admit(x):
                    await endpoint(x, gateway)
            except InlakeError as error:
                if x.started:
                    raise
                await x.refuse(error)
            except ClientGoneError:
                return  # nobody is there to read an answer

        self.app = asgi


def _parameter(
    name: str, description: str, schema: dict[str, Any] | None = None, example: Any = None
) -> dict[str, Any]:
    parameter = {"name": name, "in": "query", "description": description, "schema": schema or {"type": "string"}}
    return parameter if example is None else {**parameter, "example": example}


ADDRESS = [
    _parameter(
        "schema", "Name of the schema. Without it each record is an envelope that names it.", example="tate.artwork"
    ),
    _parameter("destination", "Database or sub-database that consumers should load the record into."),
    _parameter("version", "Version of the schema; default: the latest.", {"type": "integer", "minimum": 1}),
    _parameter("message", "Protobuf only: full name of the message; default: the first in the file."),
]
FIRST_INLAKE = [_parameter("key_inlk", "`schema` or `schema/destination`, as in the first Inlake.")]


def _created(resource: object) -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}, "example": {**RECEIPT, "resource": resource}}}
    return {"description": "Published: the receipt.", "content": content}


RECORD_JSON: dict[str, Any] = {
    "parameters": [
        *ADDRESS,
        _parameter("receipts", "Which receipts of a stream come back.", {"enum": ["all", "rejects", "none"]}),
        *FIRST_INLAKE,
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {},
                "example": {"acno": "A00001", "title": "A Figure Bowing before a Seated Old Man"},
            },
            "application/x-ndjson": {
                "schema": {"type": "string"},
                "example": '{"acno": "A00001"}\n{"acno": "A00002"}\n',
            },
        },
    },
    "responses": {
        "201": _created(None),
        "207": {
            "description": "A stream whose lines have different statuses: a receipt a line, the last one a summary.",
            "content": {
                "application/x-ndjson": {
                    "schema": {"type": "string"},
                    "example": '{"line":1,"status":201,"id":"..."}\n{"line":2,"status":422,"errors":[...]}\n'
                    '{"summary":{"accepted":1,"pending":0,"rejected":1,"failed":0},"complete":true}\n',
                }
            },
        },
        "4XX": PROBLEM,
        "5XX": PROBLEM,
    },
}
RECORD_JSON_AND_BINARY: dict[str, Any] = {
    "parameters": [
        *ADDRESS,
        *FIRST_INLAKE,
        _parameter("content", "The record, as in the first Inlake; then `file` is the only part."),
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
                "example": {
                    "record": '{"title": "Spot, triangulated surface", "__resource_path__": null}',
                    "file": "v 0 0 0",
                },
            }
        },
    },
    "responses": {"201": _created(RESOURCE), "4XX": PROBLEM, "5XX": PROBLEM},
}
VALIDATE: dict[str, Any] = {
    **RECORD_JSON,
    "responses": {
        "200": {
            "description": "The record fits.",
            "content": {
                "application/json": {
                    "schema": {"type": "object"},
                    "example": {"valid": True, "schema": RECEIPT["schema"]},
                }
            },
        },
        "207": RECORD_JSON["responses"]["207"],
        "4XX": PROBLEM,
        "5XX": PROBLEM,
    },
}
