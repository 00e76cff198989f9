"""The OpenAPI document: FastAPI makes it, the table of routes says what stands in it, structs say what shapes are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from inlake.errors import every_error
from inlake.model import SCHEMA_NAME
from inlake.web.request.problems import FieldError, Problem
from inlake.web.request.route import Document, Route
from inlake.web.request.table import Routed

DESCRIPTION = """A record is JSON, checked against its schema in a Schema Registry. A binary is stored in S3, or a
folder. An answer with 201 comes once the event that names both is on the bus. A `Problem` says why something is
refused, and where it is wrong."""
TAGS = [
    {"name": "ingress", "description": "Records, binaries, or both in one request."},
    {"name": "promises", "description": "A binary and its record in two requests; binaries sent straight to S3."},
    {"name": "shipments", "description": "Many binaries with their records, announced and published together."},
    {"name": "uploads", "description": "Resumable uploads: tus 1.0.0."},
    {"name": "schemas", "description": "What a record can be."},
    {"name": "rejects", "description": "Refused records that are kept."},
    {"name": "resources", "description": "Stored binaries."},
    {"name": "health", "description": "Whether the gateway works, and how much."},
]
"""Groups of the document, in its order."""
PATH_PARAMETERS = {
    "puuid": {"type": "string", "format": "uuid", "description": "Name of the promise."},
    "shipment": {"type": "string", "format": "uuid", "description": "Id of the shipment."},
    "reject": {"type": "string", "format": "uuid", "description": "Id of the reject."},
    "line": {"type": "integer", "minimum": 1, "description": "Number of the line in the request that announced it."},
    "name": {"type": "string", "pattern": f"^{SCHEMA_NAME}$", "description": "Name of the schema."},
}
NDJSON = "application/x-ndjson"
IN_PATH = {"name": "tate.artwork"}
"""Examples of parameters in the path."""
BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key of `INLAKE_API_KEYS`; a gateway without keys takes every client as `anonymous`.",
}
PROBLEM_EXAMPLE = Problem(
    type="/docs/errors#record_rejected",
    title="The record does not fit its schema",
    status=422,
    detail="/dateRange/startYear: A value of type int is expected here.",
    instance="5f3a9c01-17",
    code="record_rejected",
    schema="tate.artwork",
    errors=[
        FieldError(
            "/dateRange/startYear", "wrong_type", "A value of type int is expected here.", "int", 'string "no date"'
        )
    ],
)


class Application(Routed):
    """The application whose document has our shapes, and says who may send."""

    live: Any = None
    """New events, for pages that are open."""
    needs_key = False
    """Clients must say who they are."""

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if self.openapi_schema is None:
            document = super().openapi()
            listed = [route for route in self.table if route.row.document is not None]
            operations = {(route.row.method, route.path): _operation(route) for route in listed}
            shapes = _Shapes([*operations.values()])
            for (method, path), operation in operations.items():
                document["paths"][path][method.lower()] |= shapes.refer(operation)
            document["components"] = {"schemas": shapes.components, "securitySchemes": {"bearer": BEARER}}
            document["security"] = [{"bearer": []}] if self.needs_key else [{}, {"bearer": []}]
        assert self.openapi_schema is not None
        return self.openapi_schema


class _Shapes:
    """The types that stand in a document in place of their JSON Schema."""

    def __init__(self, document: object) -> None:
        found: dict[Any, None] = {}

        def collect(shape: Any) -> None:
            found[shape] = None

        msgspec.to_builtins(document, enc_hook=collect, str_keys=True)
        schemas, self.components = msgspec.json.schema_components(found, ref_template="#/components/schemas/{name}")
        self.components = {name: _digestible(component) for name, component in self.components.items()}
        self._schemas = dict(zip(found, schemas, strict=True))

    def refer(self, document: object) -> Any:
        """The document with their schemas, references to `components`."""
        return msgspec.to_builtins(document, enc_hook=self._schemas.__getitem__, str_keys=True)


def _digestible(component: dict[str, Any]) -> dict[str, Any]:
    """A component in a form that Spectral and generators of clients can take.

    A member that may only be null is not told: openapi-generator has no type for it. A member `schema` stands in an
    object of its own where one is called `example` or `examples`: Spectral takes the two for a body and its example.
    """
    if "properties" not in component:
        return component
    properties = {name: schema for name, schema in component["properties"].items() if schema.get("type") != "null"}
    if "schema" not in properties or properties.keys().isdisjoint({"example", "examples"}):
        return {**component, "properties": properties}
    required, apart = component["required"], {"schema": properties.pop("schema")}
    inner = {"type": "object", "properties": apart, "required": [name for name in required if name in apart]}
    outer = {**component, "properties": properties, "required": [name for name in required if name not in apart]}
    return {"title": component["title"], "allOf": [outer, inner]}


def _is_misread(value: object) -> bool:
    """Whether Spectral would take something in it for a body and its example."""
    match value:
        case {"schema": _, "example": _} | {"schema": _, "examples": _}:
            return True
        case dict():
            return any(map(_is_misread, value.values()))
        case list():
            return any(map(_is_misread, value))
    return False


def _operation(route: Route) -> dict[str, Any]:
    row, names = route.row, [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": PATH_PARAMETERS[name]}
        | ({"example": IN_PATH[name]} if name in IN_PATH else {})
        for name in names
    ]
    document = dict(row.document or {})
    document["parameters"] = [*in_path, *document.get("parameters", [])]
    if row.is_open:
        return document | {"security": []}
    document["responses"] = document["responses"] | problems(429)
    return document


# ------------------------------------------------------------------------------------------------- parts of a document
def operation(
    tag: str,
    answers: Mapping[int, Document],
    refusals: Document,
    *,
    asks: Iterable[Document] = (),
    body: Document | None = None,
) -> Document:
    """A row's document: answers by their status, and refusals (`problems`).

    `asks`: the parameters; `body`: its contents by media type, or a whole `requestBody`.
    """
    document: Document = {"tags": [tag], "parameters": [*asks]}
    if body is not None:
        document["requestBody"] = body if "content" in body else {"required": True, "content": body}
    return document | {"responses": {str(status): told for status, told in answers.items()} | refusals}


def parameter(name: str, description: str, schema: object = str, example: object = None) -> Document:
    """A parameter of the query."""
    given = {"name": name, "in": "query", "description": description, "schema": schema}
    return given if example is None else {**given, "example": example}


def header(name: str, description: str, schema: object = str, *, required: bool = False) -> Document:
    """A header of the request."""
    return {"name": name, "in": "header", "required": required, "description": description, "schema": schema}


def parameters(shape: type[Struct]) -> Iterator[Document]:
    """A parameter for each field of a struct that the query is read into."""
    for name, schema in msgspec.json.schema_components([shape])[1][shape.__name__]["properties"].items():
        yield {"name": name, "in": "query", "schema": schema}


def content(kind: str, schema: object, example: object = None) -> Document:
    """A body of one media type."""
    return {kind: {"schema": schema} | ({} if example is None else {"example": example})}


def ndjson(description: str, shapes: list[object], example: object = None) -> Document:
    """A body of one JSON object a line. `contentMediaType` is left out: with it Swagger UI wants a file."""
    items = {"type": "array", "items": {"anyOf": shapes}}
    return content(NDJSON, {"type": "string", "description": description, "contentSchema": items}, example)


def json(example: Struct) -> Document:
    """A body that is the JSON of a struct, with the struct as example where programs can take it."""
    is_misread = _is_misread(msgspec.to_builtins(example))
    return content("application/json", type(example), None if is_misread else example)


def answer(description: str, *contents: Document, headers: Mapping[str, str] = {}) -> Document:
    """An answer, in one of several media types; of a header its description."""
    answered: dict[str, Any] = {"description": description}
    if contents:
        answered["content"] = {kind: body for each in contents for kind, body in each.items()}
    if headers:
        answered["headers"] = {name: {"description": text, "schema": str} for name, text in headers.items()}
    return answered


def problems(*statuses: int, beside: Document | None = None) -> Document:
    """Answers for errors, with the codes each may have; `beside`: another content that they may have."""
    return {str(status): answer(_codes(status), _problem(status), beside or {}) for status in statuses}


def _problem(status: int) -> Document:
    return content("application/problem+json", Problem, PROBLEM_EXAMPLE if status == PROBLEM_EXAMPLE.status else None)


def _codes(status: int) -> str:
    found = [error for error in every_error() if error.status == status and not error.__subclasses__()]
    return "; ".join(f"`{error.code}`: {error.title()}" for error in found) + "."
