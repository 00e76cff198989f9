"""The meaning of an id of the registry: the text of a schema, and those of all that it refers to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import Schema

Texts = tuple["Schema", list[tuple[str, "Schema"]]]
"""A schema, and name and schema of all that it refers to."""


def is_another(texts: Texts, before: Texts | None) -> bool:
    """Whether schema or references say something else than before; white space, and their versions, do not count."""
    if before is None or texts == before:
        return False
    (schema, references), (schema_before, references_before) = texts, before
    if [name for name, _ in references] != [name for name, _ in references_before]:
        return True
    pairs = [(schema, schema_before), *zip((s for _, s in references), (s for _, s in references_before), strict=True)]
    return any(_content(a) != _content(b) for a, b in pairs)


def _content(schema: Schema) -> tuple[str | None, str | list[str]]:
    text = schema.schema_str or ""
    try:
        return schema.schema_type, json.dumps(json.loads(text), sort_keys=True)
    except (ValueError, RecursionError):
        return schema.schema_type, text.split()
