"""The real records that are sent, and their schemas, from examples/."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from confluent_kafka.schema_registry import Schema, SchemaReference

from inlake.ports import Registry
from inlake.settings import load
from inlake.wiring import connect_registry

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
LANGUAGES = {"avro": "AVRO", "protobuf": "PROTOBUF", "json": "JSON"}


class Shape(NamedTuple):
    """Records of one kind and about one size."""

    schema: str
    data: str
    least: int
    most: int
    """Bytes of a record."""


SHAPES = {
    "flat": Shape("nga.constituent", "nga/constituents.ndjson.gz", 300, 400),
    "nested": Shape("tate.artwork", "tate/artworks.ndjson.gz", 1_400, 1_500),
}
OBJECT = "heritage.digital_object"
"""The schema of records with a binary."""
INDEX: list[dict[str, Any]] = json.loads((EXAMPLES / "index.json").read_text())["schemas"]


def schema_name(shape: str, language: str) -> str:
    """`tate.artwork`, `tate.artwork.protobuf`, `tate.artwork.json`: one name has one language."""
    return SHAPES[shape].schema + ("" if language == "avro" else f".{language}")


@cache
def records(shape: str) -> list[bytes]:
    """All records of this shape that fit their schema in every language, without their newlines."""
    _, data, least, most = SHAPES[shape]
    refused = {
        reject["line"]
        for reject in json.loads((EXAMPLES / "expected-rejects.json").read_text())["rejects"]
        if reject["file"] == data
    }
    lines = gzip.decompress((EXAMPLES / data).read_bytes()).splitlines()
    return [line for n, line in enumerate(lines, 1) if n not in refused and least <= len(line) <= most]


def blocks(shape: str, size: int) -> list[bytes]:
    """NDJSON bodies of `size` records each; together they hold every record at least once."""
    lines = records(shape)
    return [
        b"".join(lines[(start + i) % len(lines)] + b"\n" for i in range(size)) for start in range(0, len(lines), size)
    ]


async def register(registry: Registry, subject: str) -> None:
    """Add the schemas of the shapes in all languages, and that of binaries; `subject` makes subjects of names."""
    wanted = {schema_name(shape, language) for shape in SHAPES for language in LANGUAGES} | {OBJECT}
    needed = {r["subject"] for s in INDEX if s["name"] in wanted for r in s.get("references", [])}
    for schema in INDEX:
        if schema["name"] in wanted | needed:
            references = [
                SchemaReference(r["name"], subject.format(schema=r["subject"]), r["version"])
                for r in schema.get("references", [])
            ]
            text = (EXAMPLES / schema["file"]).read_text()
            await registry.register(subject.format(schema=schema["name"]), Schema(text, schema["language"], references))


async def main() -> None:
    """`python -m benchmarks.records` registers the schemas where the environment's settings say."""
    settings = load(os.environ)
    registry = connect_registry(settings)
    await register(registry, settings.subject)
    await registry.close()


if __name__ == "__main__":
    asyncio.run(main())
