"""From the name a client gives to the compiled schema: found in the registry, compiled once, kept while it is used."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from inlake.errors import BadParameter, InlakeError, InvalidSchema
from inlake.formats import compile_codec
from inlake.formats.shape import Shape
from inlake.model import SchemaVersion
from inlake.ports import Codec, Registry
from inlake.settings import Settings

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import RegisteredSchema

CACHED = 1_000
"""Compiled schemas kept; the one used least recently goes first. Refusals are kept apart, as many: a client can make
up any number of messages that a schema does not have."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A schema ready for use: all of an event that does not depend on the record."""

    codec: Codec
    schema: SchemaVersion | None
    """None where nothing is checked."""
    topic: str
    prefix: bytes
    """Confluent wire format: 0x00 and the schema's id in four bytes, big-endian."""
    headers: tuple[tuple[str, bytes], ...]
    """Those of the event's headers that are the same for every record of this schema."""
    partition_by: str = "key"
    """`INLAKE_PARTITION_BY`."""


Outcome = Compiled | InvalidSchema | BadParameter
Key = tuple[str, int, int, str | None]
"""Name, version and id of a schema, and the message."""


class Finder(Protocol):
    """Where the path gets its codecs."""

    async def find(self, name: str, version: int | None = None, message: str | None = None) -> Compiled: ...


class Codecs:
    """Compiled schemas by name, version and message."""

    def __init__(self, registry: Registry, settings: Settings, *, cached: int = CACHED) -> None:
        self.registry = registry
        self._settings = settings
        self._cached = cached
        self._compiled: OrderedDict[Key, Compiled] = OrderedDict()
        self._refused: OrderedDict[Key, InvalidSchema | BadParameter] = OrderedDict()
        self._running: dict[Key, asyncio.Task[Outcome]] = {}

    async def find(self, name: str, version: int | None = None, message: str | None = None) -> Compiled:
        """The schema by its name (latest version: None), compiled. Raises what the registry raises, `InvalidSchema`."""
        found = await self.registry.find(self._settings.subject_of(name), version)
        if found.schema.schema_type != "PROTOBUF":
            message = None  # it means nothing there, and must not fill the cache
        key = (name, found.version or 0, found.schema_id or 0, message)
        compiled = self._compiled.get(key)
        if compiled is not None:
            self._compiled.move_to_end(key)
            return compiled
        outcome = self._refused.get(key) or await self._join(key, found)
        if isinstance(outcome, InlakeError):
            # a broken schema stays broken; the remembered error would keep the frames of all who raise it
            raise copy(outcome)
        return outcome

    async def _join(self, key: Key, found: RegisteredSchema) -> Outcome:
        """The outcome of compiling it once, for all who want it meanwhile."""
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._compile(key[0], found, key[3]))
            task.add_done_callback(partial(self._keep, key))
        # waited for, not awaited: others may wait for it too when this request is cancelled
        await asyncio.wait([task])
        if error := task.exception():
            raise copy(error)
        return task.result()

    def _keep(self, key: Key, task: asyncio.Task[Outcome]) -> None:
        """Remember the outcome; nothing where it failed: a registry that was away may be back, a reference be there."""
        del self._running[key]
        if task.cancelled() or task.exception():
            return
        outcome = task.result()
        if isinstance(outcome, Compiled):
            self._compiled[key] = outcome
        else:
            self._refused[key] = outcome
        for entries in (self._compiled, self._refused):
            if len(entries) > self._cached:
                entries.popitem(last=False)

    async def _compile(self, name: str, found: RegisteredSchema, message: str | None) -> Outcome:
        """The schema compiled, or why it cannot be: that never changes."""
        settings = self._settings
        references = await self.registry.references(found.schema)
        try:
            codec = await asyncio.to_thread(
                compile_codec,
                found.schema,
                references,
                message=message,
                resource_field=settings.resource_field,
                max_depth=settings.max_depth,
                max_errors=settings.max_errors,
            )
        except (InvalidSchema, BadParameter) as error:
            return copy(error)
        schema_id = found.schema_id or 0
        return Compiled(
            codec=codec,
            schema=SchemaVersion(found.subject or settings.subject_of(name), found.version or 0, schema_id),
            topic=settings.topic_of(name),
            prefix=b"\x00" + schema_id.to_bytes(4, "big"),
            headers=(
                ("ce_specversion", b"1.0"),
                ("ce_source", settings.source.encode()),
                ("ce_type", name.encode()),
                ("content-type", codec.content_type.encode()),
            ),
            partition_by=settings.partition_by,
        )


class Unchecked:
    """For the unsecured routes: every name has the one codec that checks nothing and passes bytes on as they came."""

    content_type = "application/json"
    has_resource_field = True

    def __init__(self, settings: Settings) -> None:
        self._topic = settings.unsecured_topic
        self._source = settings.source.encode()

    async def find(self, name: str, version: int | None = None, message: str | None = None) -> Compiled:  # noqa: ARG002
        """Never fails; version and message mean nothing here."""
        content_type = ("content-type", self.content_type.encode())
        headers = (("ce_specversion", b"1.0"), ("ce_source", self._source), ("ce_type", name.encode()), content_type)
        return Compiled(self, None, self._topic, b"", headers)

    def encode_plain(self, record: bytes) -> bytes:
        """The bytes as they came."""
        return record

    def read(self, record: bytes, *, tagged: bool = False) -> Any:  # noqa: ARG002
        """A draft without a resource: the object's URI goes into the headers only."""
        return _Bytes(record)

    def encode(self, draft: Any, resource: str | None = None) -> bytes:  # noqa: ARG002
        """The bytes as they came."""
        return bytes(draft.record)

    def decode(self, payload: bytes) -> Any:
        """The text as it came."""
        return payload.decode(errors="replace")

    def shape(self) -> Any:
        """Anything goes."""
        return Shape(type="any")

    def example(self) -> Any:
        """Anything goes."""
        return {}


@dataclass(frozen=True, slots=True)
class _Bytes:
    record: bytes
    resource: None = None
