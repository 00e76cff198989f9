"""A schema that a command names: a file, or NAME or NAME:VERSION of the registry; and what differs between two."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import unified_diff
from pathlib import Path
from typing import TYPE_CHECKING

from inlake.cli.failures import Failure

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import Schema, SchemaReference

    from inlake.ports import Codec
    from inlake.settings import Settings

LANGUAGES = {".avsc": "AVRO", ".proto": "PROTOBUF", ".json": "JSON"}
KEYWORDS = frozenset(
    {
        "$defs", "$id", "$ref", "$schema", "additionalProperties", "allOf", "anyOf", "const", "definitions", "enum",
        "format", "id", "items", "not", "oneOf", "pattern", "properties", "required", "type",
    }
)  # fmt: skip
"""Keywords of JSON Schema: a schema that has none of them takes everything, which nobody means."""


@dataclass(frozen=True, slots=True)
class Source:
    """A schema with all it refers to."""

    label: str
    """The file, or subject and version."""
    schema: Schema
    references: list[tuple[str, Schema]]
    """(name, schema), the deepest first."""


def find_source(text: str, settings: Settings, *, references: Sequence[str] = (), in_registry: bool = False) -> Source:
    """The file `text` with references `REFNAME=FILE`; a name of the registry if there is no such file.

    `in_registry`: it is a name, whatever files there are. `Failure` when there is no such schema.
    """
    path = Path(text)
    if not in_registry and path.is_file():
        return Source(text, read_schema(path), [_reference_file(reference) for reference in references])
    if not in_registry and ("/" in text or path.suffix in LANGUAGES):
        raise Failure(f"{text}: there is no such file; a name of the registry that looks like one needs --registry.")
    if references:
        raise Failure(f"--reference goes with a schema file; the registry knows what {text} refers to.")
    return _find_registered(text, settings)


def compile_source(source: Source, settings: Settings, *, message: str | None = None) -> Codec:
    """The codec that the gateway would use. `Failure` names what is wrong with the schema."""
    from inlake.errors import InlakeError
    from inlake.formats import compile_codec

    try:
        return compile_codec(
            source.schema,
            source.references,
            message=message,
            resource_field=settings.resource_field,
            max_depth=settings.max_depth,
            max_errors=settings.max_errors,
        )
    except InlakeError as error:
        raise Failure(f"{source.label}: {error.detail}") from None


def read_schema(file: Path, references: Sequence[SchemaReference] = ()) -> Schema:
    """A schema in the language that the name of the file tells."""
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
    if language == "JSON":
        _doubt_data(file, text)
    return Schema(text, language, list(references))


def without_user(address: str) -> str:
    """An address without the name and password that it may hold."""
    return re.sub(r"(?<=//)[^/@\s]*@", "", address)


def same_text(a: Schema, b: Schema) -> bool:
    """Whether a registry would take both for one schema."""
    references = [[reference.to_dict() for reference in schema.references or []] for schema in (a, b)]
    kinds = [schema.schema_type or "AVRO" for schema in (a, b)]
    return kinds[0] == kinds[1] and references[0] == references[1] and _lines(a) == _lines(b)


def difference(old: Schema, new: Schema, labels: tuple[str, str]) -> str:
    """A unified diff of the texts, without what is only white space; empty when nothing differs."""
    return "".join(unified_diff(_lines(old), _lines(new), *labels))


def require_name(name: str) -> None:
    """`Failure` unless a schema may be called so."""
    from inlake.model import SCHEMA_NAME

    if not re.fullmatch(SCHEMA_NAME, name):
        raise Failure(f"{name!r} is no name of a schema: 1 to 200 of the characters A-Z a-z 0-9 . _ -")


def _doubt_data(file: Path, text: str) -> None:
    """`Failure` for a record, or a file of them, in the place of a schema."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return  # the registry says what is wrong
    if isinstance(document, list) or (isinstance(document, dict) and document and not KEYWORDS & document.keys()):
        raise Failure(f'{file}: no keyword of JSON Schema is in it; this looks like data. A schema has "$schema".')


def _lines(schema: Schema) -> list[str]:
    text = schema.schema_str or ""
    if schema.schema_type != "PROTOBUF":
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return [line.rstrip() + "\n" for line in text.splitlines() if line.strip()]


def _reference_file(text: str) -> tuple[str, Schema]:
    name, equals, file = text.partition("=")
    if not (name and equals and file):
        raise Failure(f"--reference {text}: write REFNAME=FILE, for one rights.proto=schemas/rights.proto")
    return name, read_schema(Path(file))


def _find_registered(text: str, settings: Settings) -> Source:
    from inlake.errors import InlakeError

    name, colon, version = text.rpartition(":")
    if not colon:
        name, version = text, ""
    require_name(name)
    if colon and not version.isdecimal():
        raise Failure(f"{text}: write NAME or NAME:VERSION, for one tate.artwork:1")
    import asyncio

    try:
        return asyncio.run(_fetch(name, int(version) if version else None, settings))
    except InlakeError as error:
        if error.retryable:
            raise
        raise Failure(error.detail) from None


async def _fetch(name: str, version: int | None, settings: Settings) -> Source:
    from inlake.cli.deployment import open_registry

    async with open_registry(settings) as registry:
        found = await registry.find(settings.subject_of(name), version)
        references = await registry.references(found.schema)
    return Source(f"{found.subject} version {found.version}", found.schema, references)
