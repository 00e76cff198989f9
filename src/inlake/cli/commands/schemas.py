"""`inlake schemas`: add schemas to the registry and look at them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inlake.cli.failures import OK, REFUSED, Failure
from inlake.cli.schema_sources import compile_source, find_source, read_schema, require_name

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import Schema, SchemaReference

    from inlake.ports import Registry
    from inlake.settings import Settings


def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name that clients give: `tate.artwork` for one.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Schemas: .avsc, .proto or .json.")],
    reference: Annotated[
        list[str] | None,
        typer.Option(metavar="REFNAME=SUBJECT:VERSION", help="What the schema calls REFNAME; may be repeated."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be added, and add nothing.")] = False,
) -> None:
    """Check schemas and add them to the registry, in the order given, each as a version."""
    from inlake.cli.deployment import load_settings

    require_name(name)
    settings, _ = load_settings()
    references = [_parsed_reference(text) for text in reference or []]
    schemas = [read_schema(file, references) for file in files]
    asyncio.run(_plan(settings, name, schemas) if dry_run else _add(settings, name, schemas))


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


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="The schema before: a file, NAME or NAME:VERSION.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The schema after.")],
    reference: Annotated[
        list[str] | None,
        typer.Option(metavar="REFNAME=FILE", help="File of what schema files call REFNAME; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Avro: print one JSON object a line.")] = False,
) -> None:
    """Say what differs between two schemas, and for whom.

    Avro: each difference; whether records made for A fit B; whether readers that have one schema read events written
    with the other. Protobuf and JSON Schema: the lines that differ. A name without version is its latest.

    Exit code: 0 they mean the same, 1 they differ, 2 the command or a schema is wrong, 3 the registry cannot be
    reached.
    """
    from inlake.cli.comparison import compare_sources
    from inlake.cli.deployment import load_settings

    settings, _ = load_settings()
    given = reference or []
    sources = [find_source(text, settings, references=given if Path(text).is_file() else []) for text in (a, b)]
    for source in sources:
        compile_source(source, settings)
    same = compare_sources(*sources, as_json=as_json)
    raise typer.Exit(OK if same else REFUSED)


def _parsed_reference(text: str) -> SchemaReference:
    from confluent_kafka.schema_registry import SchemaReference

    name, equals, target = text.partition("=")
    subject, colon, version = target.rpartition(":")
    if not (name and equals and subject and colon and version.isdecimal()):
        raise Failure(f"--reference {text}: write REFNAME=SUBJECT:VERSION, for one rights.proto=heritage.rights:1")
    return SchemaReference(name=name, subject=subject, version=int(version))


async def _add(settings: Settings, name: str, schemas: list[Schema]) -> None:
    from inlake.cli.deployment import open_registry
    from inlake.cli.terminal import output

    subject = settings.subject_of(name)
    async with open_registry(settings) as registry:
        for schema in schemas:
            note = await _check(registry, schema, settings)
            added = await registry.register(subject, schema)
            output().print(f"{added.subject} version {added.version}, id {added.schema_id}, {schema.schema_type}{note}")


async def _plan(settings: Settings, name: str, schemas: list[Schema]) -> None:
    """What `_add` would do; a registry may have rules of its own on top."""
    from inlake.cli.comparison import same_text
    from inlake.cli.deployment import open_registry
    from inlake.cli.terminal import output
    from inlake.errors import SchemaNotFound

    subject = settings.subject_of(name)
    async with open_registry(settings) as registry:
        try:
            numbers = await registry.versions(subject)
        except SchemaNotFound:
            numbers = []
        known = {number: (await registry.find(subject, number)).schema for number in numbers}
        for schema in schemas:
            note = await _check(registry, schema, settings)
            there = next((number for number, one in known.items() if same_text(one, schema)), None)
            number = there or max(known, default=0) + 1
            known[number] = schema
            word = "is there already" if there else "would be added"
            output().print(f"{subject} version {number} {word}, {schema.schema_type}{note}")


async def _check(registry: Registry, schema: Schema, settings: Settings) -> str:
    """Compile the schema as the gateway will; a note where that cannot be done. Raises `InvalidSchema`."""
    from inlake.errors import FormatNotBuilt
    from inlake.formats import compile_codec, has_records

    references = await registry.references(schema)
    try:
        if not has_records(schema, references):
            return " (no message in it: for others to import)"
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
