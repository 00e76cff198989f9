"""The schemas of a job: fetched once on the driver, the same in every executor whatever becomes of the registry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from inlake.errors import SchemaNotFound
from inlake.ports import Registry

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import RegisteredSchema, Schema


class Snapshot:
    """What the registry said when the job began; see `inlake.codecs.Schemas`."""

    def __init__(self, found: dict[tuple[str, int | None], tuple[RegisteredSchema, list[tuple[str, Schema]]]]) -> None:
        """`found`: by subject and version as they are asked for, with all references."""
        self._found = found
        self._references = {
            registered.schema.schema_str: references for registered, references in found.values() if references
        }

    @classmethod
    async def take(cls, registry: Registry, wanted: Iterable[tuple[str, int | None]]) -> Snapshot:
        """Asks for each subject and version (None: the latest). Raises what the registry raises."""
        found = {}
        for subject, version in wanted:
            registered = await registry.find(subject, version)
            found[subject, version] = (registered, await registry.references(registered.schema))
        return cls(found)

    async def find(self, subject: str, version: int | None = None) -> RegisteredSchema:
        if (subject, version) not in self._found:
            raise SchemaNotFound(f"The subject {subject} was not among the schemas of the job when it began.")
        return self._found[subject, version][0]

    async def references(self, schema: Schema) -> list[tuple[str, Schema]]:
        return self._references.get(schema.schema_str, [])
