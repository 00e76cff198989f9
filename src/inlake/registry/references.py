"""All references of a schema, also indirect ones, in the order in which a parser needs them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from confluent_kafka.schema_registry import RegisteredSchema, Schema, SchemaReference

from inlake.errors import BadName, InvalidSchema, SchemaNotFound

MAX_REFERENCES = 1_000
MAX_DEPTH = 100

Find = Callable[[str, int | None], Awaitable[RegisteredSchema]]


async def find_references(schema: Schema, find: Find) -> list[tuple[str, Schema]]:
    """(name, schema) of all references of `schema`, each name once, the deepest first.

    Where two branches name different versions of one name, the first stands, as in Confluent's own clients.
    `InvalidSchema` for a missing one, a cycle, more than 1,000 of them or nesting deeper than 100.
    """
    found: dict[str, Schema] = {}
    await _visit(schema.references or [], [], found, find)
    return list(found.items())


async def _visit(references: Sequence[SchemaReference], path: list[str], found: dict[str, Schema], find: Find) -> None:
    for reference in references:
        name = reference.name or ""
        if name in found:
            continue
        if name in path:
            raise InvalidSchema(f"The references of the schema go in a circle: {' -> '.join([*path, name])}.")
        if len(path) >= MAX_DEPTH or len(found) + len(path) >= MAX_REFERENCES:
            raise InvalidSchema(
                f"The schema has more than {MAX_REFERENCES:,} references or nests them deeper than {MAX_DEPTH}; "
                f"the first too many is {name!r}."
            )
        target = await _follow(reference, find)
        await _visit(target.references or [], [*path, name], found, find)
        found[name] = target


async def _follow(reference: SchemaReference, find: Find) -> Schema:
    if not reference.name or not reference.subject:
        raise InvalidSchema("A reference needs a name, a subject and a version.")
    version = reference.version if (reference.version or -1) > 0 else None  # -1 is Confluent's word for the latest
    try:
        return (await find(reference.subject, version)).schema
    except (SchemaNotFound, BadName):
        wanted = f"{reference.subject!r} version {'latest' if version is None else version}"
        raise InvalidSchema(
            f"The schema refers to {reference.name!r}, which is {wanted}; that is not in the registry, add it first."
        ) from None
