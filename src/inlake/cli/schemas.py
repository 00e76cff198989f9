"""`inlake schemas`: add schemas to the registry and look at them."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inlake.cli.failures import Failure

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import Schema, SchemaReference

    from inlake.ports import Registry
    from inlake.settings import Settings

LANGUAGES = {".avsc": "AVRO", ".proto": "PROTOBUF", ".json": "JSON"}
NAME = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,200}")


def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name that clients give: `tate.artwork` for one.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Schemas: .avsc, .proto or .json.")],
    reference: Annotated[
        list[str] | None,
        typer.Option(metavar="REFNAME=SUBJECT:VERSION", help="What the schema calls REFNAME; may be repeated."),
    ] = None,
) -> None:
    """Check schemas and add them to the registry, in the order given, each as a version."""
    from inlake.cli.deployment import load_settings

    if not NAME.fullmatch(name):
        raise Failure(f"{name!r} is no name of a schema: 1 to 200 of the characters A-Z a-z 0-9 . _ -")
    settings, _ = load_settings()
    references = [_parsed_reference(text) for text in reference or []]
    asyncio.run(_add(settings, name, [_read_schema(file, references) for file in files]))


def list_(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False) -> None:
    """List all subjects with their versions."""
    from inlake.cli.deployment import load_settings

    settings, _ = load_settings()
    asyncio.run(_list(settings, as_json))


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name that clients give.")],
    version: Annotated[int | None, typer.Option(help="Version to show; the latest if not given.")] = None,
) -> None:
    """Print a schema as it stands in the registry."""
    from inlake.cli.deployment import load_settings

    settings, _ = load_settings()
    asyncio.run(_show(settings, name, version))


def _parsed_reference(text: str) -> SchemaReference:
    from confluent_kafka.schema_registry import SchemaReference

    name, equals, target = text.partition("=")
    subject, colon, version = target.rpartition(":")
    if not (name and equals and subject and colon and version.isdecimal()):
        raise Failure(f"--reference {text}: write REFNAME=SUBJECT:VERSION, for one rights.proto=heritage.rights:1")
    return SchemaReference(name=name, subject=subject, version=int(version))


def _read_schema(file: Path, references: list[SchemaReference]) -> Schema:
    from confluent_kafka.schema_registry import Schema

    language = LANGUAGES.get(file.suffix.lower())
    if language is None:
        raise Failure(
            f"{file}: the name of a schema file ends in .avsc (Avro), .proto (Protobuf) or .json (JSON Schema)."
        )
    try:
        text = file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Failure(f"{file}: not UTF-8 at byte {error.start}.") from None
    return Schema(text, language, references)


async def _add(settings: Settings, name: str, schemas: list[Schema]) -> None:
    from inlake.cli.deployment import open_registry
    from inlake.cli.terminal import output

    subject = settings.subject_of(name)
    async with open_registry(settings) as registry:
        for schema in schemas:
            note = await _check(registry, schema, settings)
            added = await registry.register(subject, schema)
            output().print(f"{added.subject} version {added.version}, id {added.schema_id}, {schema.schema_type}{note}")


async def _check(registry: Registry, schema: Schema, settings: Settings) -> str:
    """Compile the schema as the gateway will; a note where that cannot be done yet. Raises `InvalidSchema`."""
    from inlake.errors import FormatNotBuilt
    from inlake.formats import compile_codec

    references = await registry.references(schema)
    try:
        compile_codec(schema, references, resource_field=settings.resource_field)
    except FormatNotBuilt as error:
        return f" (not checked: {error.detail.rstrip('.')})"
    return ""


async def _list(settings: Settings, as_json: bool) -> None:
    from rich.table import Table

    from inlake.cli.deployment import open_registry
    from inlake.cli.terminal import as_json as to_json
    from inlake.cli.terminal import output

    table = Table("subject", "versions", "latest id", "language", box=None, pad_edge=False)
    async with open_registry(settings) as registry:
        for subject in await registry.subjects():
            versions = await registry.versions(subject)
            latest = await registry.find(subject)
            language = latest.schema.schema_type or "AVRO"
            if as_json:
                row = {"subject": subject, "versions": versions, "id": latest.schema_id, "language": language}
                output().print(to_json(row))
            else:
                table.add_row(subject, ", ".join(map(str, versions)), str(latest.schema_id), language)
    if table.row_count:
        output().print(table)
    elif not as_json:
        output().print("No schemas yet: add one with `inlake schemas add NAME FILE`.")


async def _show(settings: Settings, name: str, version: int | None) -> None:
    from inlake.cli.deployment import open_registry
    from inlake.cli.terminal import messages, output, printable

    async with open_registry(settings) as registry:
        found = await registry.find(settings.subject_of(name), version)
    schema = found.schema
    messages().print(f"{found.subject} version {found.version}, id {found.schema_id}, {schema.schema_type or 'AVRO'}")
    for reference in schema.references or []:
        messages().print(f"reference {reference.name} = {reference.subject}:{reference.version}")
    output().print(printable((schema.schema_str or "").rstrip("\n")))
