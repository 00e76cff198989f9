"""`inlake schemas`: add schemas to the registry and look at them."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inlake.cli.failures import Failure
from inlake.cli.gateway import UNKNOWN_SCHEMA, Token, connect
from inlake.cli.schema import difference, read_schema, require_name, same_text, without_user

SOON = 2.0
"""Seconds in which a gateway answers that runs beside; it is not waited for."""

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import RegisteredSchema, Schema, SchemaReference

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
    """Check schemas and add them to the registry.

    They are added in the order given, each as a version. Where the registry refuses one as incompatible, and with
    --dry-run, the lines that differ from the latest version are printed.
    """
    from inlake.cli.deployment import load_settings

    require_name(name)
    settings, _ = load_settings()
    import asyncio

    references = [_parsed_reference(text) for text in reference or []]
    schemas = [read_schema(file, references) for file in files]
    if dry_run:
        asyncio.run(_plan(settings, name, schemas))
        return
    added = asyncio.run(_add(settings, name, schemas))
    if settings.registry.startswith("dir:"):
        _compare_with_gateway(name, added, Path(settings.registry.removeprefix("dir:")))


def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    url: Annotated[str | None, typer.Option(help="Ask the gateway there, not the registry of the settings.")] = None,
    token: Token = None,
) -> None:
    """List all subjects with their versions.

    With --url, the schemas that a gateway takes.
    """
    import asyncio

    if url:
        _list_of_gateway(url, token, as_json)
        return
    from inlake.cli.deployment import load_settings

    settings, _ = load_settings()
    asyncio.run(_list(settings, as_json))


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name that clients give.")],
    version: Annotated[int | None, typer.Option(help="Version to show; the latest if not given.")] = None,
) -> None:
    """Print a schema as it stands in the registry."""
    import asyncio

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


async def _add(settings: Settings, name: str, schemas: list[Schema]) -> RegisteredSchema:
    """The last one, as it stands in the registry."""
    from inlake.cli.deployment import open_registry
    from inlake.cli.terminal import output
    from inlake.errors import Conflict

    subject = settings.subject_of(name)
    async with open_registry(settings) as registry:
        for schema in schemas:
            note = await _check(registry, schema, settings)
            try:
                added = await registry.register(subject, schema)
            except Conflict:
                _print_difference(await registry.find(subject), schema)
                raise
            said = f"{added.subject} version {added.version}, id {added.schema_id}, {schema.schema_type}{note}"
            output().print(f"{said}, in {without_user(settings.registry)}")
    return added


def _compare_with_gateway(name: str, added: RegisteredSchema, folder: Path) -> None:
    """Say so where a gateway runs that reads another folder: the schema is not there for who sends to it."""
    from inlake.cli.terminal import messages
    from inlake.client import ClientError, Refused

    try:
        client = connect(os.environ.get("INLAKE_URL"), os.environ.get("INLAKE_TOKEN"), retry=0, timeout=SOON)
    except Failure:  # no address of a gateway: the schema is added all the same
        return
    with client:
        try:
            told = client.schema(name, added.version)
        except Refused as refused:
            if refused.code != UNKNOWN_SCHEMA:
                return
        except ClientError:
            return  # no gateway runs here
        else:
            if told.get("schema") == added.schema.schema_str:
                return
        messages().print(
            f"The gateway at {client.url} does not see it: it reads another registry than {folder.absolute()}. "
            "Add it in the folder where that gateway was started, or set INLAKE_REGISTRY to one folder for both."
        )


async def _plan(settings: Settings, name: str, schemas: list[Schema]) -> None:
    """Print what `_add` would do; a registry may have rules of its own on top."""
    from confluent_kafka.schema_registry import RegisteredSchema

    from inlake.cli.deployment import open_registry
    from inlake.cli.terminal import output
    from inlake.errors import SchemaNotFound

    subject = settings.subject_of(name)
    async with open_registry(settings) as registry:
        try:
            numbers = await registry.versions(subject)
        except SchemaNotFound:
            numbers = []
        known = [await registry.find(subject, number) for number in numbers]
        for schema in schemas:
            note = await _check(registry, schema, settings)
            there = next((found.version for found in known if same_text(found.schema, schema)), None)
            number = there or (known[-1].version or 0 if known else 0) + 1
            word = "is there already" if there else "would be added"
            output().print(f"{subject} version {number} {word}, {schema.schema_type}{note}")
            if not there:
                if known:
                    _print_difference(known[-1], schema)
                known.append(
                    RegisteredSchema(subject=subject, version=number, schema_id=None, schema=schema, guid=None)
                )


def _print_difference(latest: RegisteredSchema, schema: Schema) -> None:
    from inlake.cli.terminal import printable

    labels = f"{latest.subject} version {latest.version}", "the new one"
    sys.stdout.write(printable(difference(latest.schema, schema, labels)))
    sys.stdout.flush()


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


def _list_of_gateway(url: str, token: str | None, as_json: bool) -> None:
    from inlake.cli.terminal import as_json as to_json
    from inlake.cli.terminal import output, printable

    with connect(url, token) as client:
        for entry in client.schemas():
            output().print(to_json(entry) if as_json else printable(str(entry.get("name"))))


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
