"""`/schemas` and `/schemas/{name}`: what a record can be."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from inlake.errors import InvalidSchema
from inlake.formats import has_records
from inlake.formats.shape import Shape
from inlake.web.openapi import answer, content, json, operation, parameters, problems
from inlake.web.request import address
from inlake.web.request.exchange import Exchange
from inlake.web.request.query import query
from inlake.wiring import Deployment


class SchemaEntry(Struct):
    """A schema that a record can name."""

    name: str
    subject: str


class SchemaList(Struct):
    """All schemas."""

    schemas: list[SchemaEntry]


class Reference(Struct):
    """A schema that another one imports."""

    name: str
    subject: str
    version: int


TEXT = '{"type": "record", "name": "Artwork", "fields": [{"name": "acno", "type": "string"}]}'


class Schema(Struct):
    """A schema of the registry, and a record that fits it."""

    name: str
    subject: str
    version: int
    id: int
    versions: list[int]
    type: Annotated[str, Meta(examples=["AVRO", "PROTOBUF", "JSON"])]
    schema: Annotated[str, Meta(description="The text of the schema.", examples=[TEXT])]
    references: list[Reference]
    example: Annotated[
        Any,
        Meta(
            description="A record that fits; null where the schema is only for others to import.",
            examples=[{"acno": "text"}],
        ),
    ]
    fields: list[Shape]
    resource_field: Annotated[str | None, Meta(description="The field that names the binary, if there is one.")]


class Which(Struct):
    """The query for a schema."""

    message: Annotated[str | None, Meta(description="Protobuf only; default: the first in the file.")] = None

    version: Annotated[Annotated[int, Meta(ge=1, le=999_999_999)] | None, Meta(description="Default: the latest.")] = (
        None
    )


LISTED = operation(
    "schemas",
    {200: answer("All schemas.", json(SchemaList([SchemaEntry("tate.artwork", "tate.artwork")])))},
    problems(401, 403, 503),
)
FOUND = operation(
    "schemas",
    {200: answer("The schema.", content("application/json", Schema))},
    problems(400, 401, 403, 404, 422, 501, 503),
    asks=parameters(Which),
)


async def schemas(x: Exchange, d: Deployment) -> None:
    """All schemas that a record can name, and that the principal has a right to."""
    await x.reply(200, msgspec.json.encode(SchemaList(await list_all(x, d))))


async def list_all(x: Exchange, d: Deployment) -> list[SchemaEntry]:
    """The subjects of the registry that are schemas, and that the principal has a right to."""
    before, _, after = d.settings.subject.partition("{schema}")
    subjects = [s for s in await d.registry.subjects() if s.startswith(before) and s.endswith(after)]
    listed = [SchemaEntry(s[len(before) : len(s) - len(after)], s) for s in subjects]
    return [entry for entry in listed if entry.name and x.caller.may_see(entry.name)]


async def schema(x: Exchange, d: Deployment) -> None:
    """One schema: its text, its versions, its fields, and a record that fits it."""
    await x.reply(200, msgspec.json.encode(await tell(x, d, x.path_parameter("name"), query(x, Which))))


async def tell(x: Exchange, d: Deployment, name: str, which: Which) -> Schema:
    """One schema as clients see it. Raises `BadName`, `SchemaNotFound`, `InvalidSchema`, ..."""
    address.names(name, None, None)
    x.caller.check_sees(name)
    found = await d.registry.find(d.settings.subject_of(name), which.version)
    references = [Reference(r.name or "", r.subject or "", r.version or 0) for r in found.schema.references or []]
    told = Schema(
        name,
        found.subject or "",
        found.version or 0,
        found.schema_id or 0,
        await d.registry.versions(d.settings.subject_of(name)),
        found.schema.schema_type or "AVRO",
        found.schema.schema_str or "",
        references,
        None,
        [],
        None,
    )
    try:
        codec = (await d.gateway.codecs.find(name, which.version, which.message)).codec
        told.example, told.fields = codec.example(), codec.shape().fields
        told.resource_field = d.settings.resource_field if codec.has_resource_field else None
    except InvalidSchema:
        imported = await d.registry.references(found.schema)
        if await asyncio.to_thread(has_records, found.schema, imported):
            raise  # else it is a .proto without messages, for others to import
    return told
