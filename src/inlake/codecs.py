"""The name a client gives leads to the compiled schema: found in the registry, compiled once, kept while it is used."""

from __future__ import annotations

import asyncio
from copy import copy
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from inlake.errors import BadParameter, InvalidSchema, SchemaChanged
from inlake.formats import compile_codec
from inlake.formats.texts import Texts, is_another
from inlake.formats.unchecked import UncheckedCodec
from inlake.memory import Recent, Shared
from inlake.model import SchemaVersion
from inlake.ports import Codec, Schemas
from inlake.settings import Settings

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import RegisteredSchema, Schema

CACHED = 1_000
"""Compiled schemas kept; the one used least recently goes first. Refusals are kept apart, as many: a client can make
up any number of messages that a schema does not have."""
LOOK_AGAIN = 1.0
"""Seconds after which the references of a schema are looked at again; the registry remembers them on its own."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A schema ready for use: all of an event that does not depend on the record."""

    codec: Codec
    schema: SchemaVersion | None
    """The schema; None where nothing is checked."""
    topic: str
    prefix: bytes
    """Confluent wire format: 0x00 and the schema's id in four bytes, big-endian."""
    headers: tuple[tuple[str, bytes], ...]
    """The event's headers that are the same for every record of this schema."""
    partition_by: str = "key"
    """`INLAKE_PARTITION_BY`."""


Outcome = Compiled | InvalidSchema | BadParameter
Key = tuple[str, int, int, str | None]
"""Name, version and id of a schema, and the message."""


@dataclass(frozen=True, slots=True)
class _Kept:
    outcome: Outcome
    texts: Texts
    found: RegisteredSchema
    """The registry's answer: it gives another object when it has looked again."""
    until: float | None
    """The time when the schema's references are looked at again, monotonic; None where there are none."""


class Finder(Protocol):
    """Finds the codecs of the path."""

    async def find(self, name: str, version: int | None = None, message: str | None = None) -> Compiled: ...


class Codecs:
    """Compiled schemas by name, version and message.

    What was compiled is used as long as the registry says the same text, and the same texts of all references. An id
    that meant another text before is refused: one of the two kinds of events under it could not be read.
    """

    def __init__(self, registry: Schemas, settings: Settings, *, cached: int = CACHED) -> None:
        self.registry = registry
        self._settings = settings
        self._compiled: Recent[Key, _Kept] = Recent(cached)
        self._refused: Recent[Key, _Kept] = Recent(cached)
        self._meant: Recent[int, Texts] = Recent()
        self._looking: Shared[Key, Outcome] = Shared()

    async def find(self, name: str, version: int | None = None, message: str | None = None) -> Compiled:
        """The schema by its name (latest version: None), compiled.

        Raises what the registry raises, `InvalidSchema`, `SchemaChanged`.
        """
        found = await self.registry.find(self._settings.subject_of(name), version)
        if found.schema.schema_type != "PROTOBUF":
            message = None  # it means nothing there, and must not fill the cache
        key = (name, found.version or 0, found.schema_id or 0, message)
        kept = self._compiled.recall(key) or self._refused.recall(key)
        if kept is not None and kept.found is found and (kept.until is None or monotonic() < kept.until):
            outcome = kept.outcome
        else:
            outcome = await self._looking.join(key, partial(self._look, key, found))
        if isinstance(outcome, Compiled):
            return outcome
        # a broken schema stays broken; the remembered error would keep the frames of all who raise it
        raise copy(outcome)

    async def _look(self, key: Key, found: RegisteredSchema) -> Outcome:
        """The codec as it was if the registry still says the same of schema and references; else a new one."""
        name, _, schema_id, message = key
        references = await self.registry.references(found.schema)
        until = monotonic() + LOOK_AGAIN if references else None
        texts = (found.schema, references)
        if is_another(texts, self._meant.recall(schema_id)):
            raise SchemaChanged(
                f"The id {schema_id} of the schema {name!r} had another text before: events under it could not be read "
                "with this one. Restore the registry, or restart the gateway to go on with what the registry says now."
            )
        kept = self._compiled.get(key) or self._refused.get(key)
        same = kept is not None and not is_another(texts, kept.texts)
        outcome = kept.outcome if kept and same else await self._compile(name, found, references, message)
        self._meant.keep(schema_id, texts)
        memory = self._compiled if isinstance(outcome, Compiled) else self._refused
        memory.keep(key, _Kept(outcome, texts, found, until))
        return outcome

    async def _compile(
        self, name: str, found: RegisteredSchema, references: list[tuple[str, Schema]], message: str | None
    ) -> Outcome:
        """The schema compiled, or why it cannot be: that never changes."""
        settings = self._settings
        try:
            codec = await asyncio.to_thread(
                compile_codec,
                found.schema,
                references,
                message=message,
                resource_field=settings.resource_field,
                max_depth=settings.max_depth,
                max_errors=settings.max_errors,
                max_bytes=settings.max_record_bytes,
            )
        except (InvalidSchema, BadParameter) as error:
            return copy(error)
        schema_id = found.schema_id or 0
        return Compiled(
            codec=codec,
            schema=SchemaVersion(found.subject or settings.subject_of(name), found.version or 0, schema_id),
            topic=settings.topic_of(name),
            prefix=b"\x00" + schema_id.to_bytes(4, "big"),
            headers=_headers(name, settings.source, codec.content_type),
            partition_by=settings.partition_by,
        )


class Unchecked:
    """The finder of the unsecured routes: every name has the codec that checks nothing."""

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.unsecured_topic
        self._source = settings.source
        self._codec = UncheckedCodec()

    async def find(self, name: str, version: int | None = None, message: str | None = None) -> Compiled:  # noqa: ARG002
        """Never fails; version and message mean nothing here."""
        return Compiled(self._codec, None, self._topic, b"", _headers(name, self._source, self._codec.content_type))


def _headers(name: str, source: str, content_type: str) -> tuple[tuple[str, bytes], ...]:
    return (
        ("ce_specversion", b"1.0"),
        ("ce_source", source.encode()),
        ("ce_type", name.encode()),
        ("content-type", content_type.encode()),
    )
