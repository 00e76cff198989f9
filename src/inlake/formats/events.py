"""Events as they are read: a message of the bus decoded by its schema."""

from __future__ import annotations

import asyncio
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec

from inlake.errors import BadParameter, InlakeError, InvalidSchema
from inlake.formats import compile_codec
from inlake.formats.depth import check_depth
from inlake.memory import Recent, Shared
from inlake.model import Message
from inlake.ports import Codec, Registry
from inlake.settings import Settings

FRAME = 5
"""Bytes before the payload in the Confluent wire format: 0x00 and the schema's id, big-endian."""

MOST_SCHEMAS = 300
"""Schemas that a decoder keeps compiled."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A message of the bus with its record as plain values."""

    message: Message
    headers: dict[str, str]
    schema_id: int | None
    record: Any
    problem: str | None = None
    """Why the record could not be decoded."""

    @property
    def key(self) -> str | None:
        return None if self.message.key is None else self.message.key.decode(errors="replace")

    @property
    def time(self) -> datetime:
        return datetime.fromtimestamp(self.message.timestamp_ms / 1000, UTC)


def undecoded(message: Message) -> Decoded:
    """A message with its headers only."""
    return Decoded(message, {name: value.decode(errors="replace") for name, value in message.headers}, None, None)


class Decoder:
    """Decodes the values of messages; a schema is fetched and compiled once, in a thread."""

    def __init__(self, registry: Registry, settings: Settings) -> None:
        self._registry = registry
        self._settings = settings
        self._compiled: Recent[int, Codec | InvalidSchema | BadParameter] = Recent(MOST_SCHEMAS)
        """By id; what cannot be compiled stays so."""
        self._compiling: Shared[int, Codec | InvalidSchema | BadParameter] = Shared()

    async def decode(self, message: Message) -> Decoded:
        """Never fails for what is in the message: a value that cannot be read comes with its problem."""
        unread = undecoded(message)
        headers, value = unread.headers, message.value
        if value is None:
            return unread
        if value[:1] != b"\x00" or len(value) < FRAME:
            return self._unframed(message, headers, value)
        schema_id = int.from_bytes(value[1:FRAME], "big")
        try:
            codec = self._compiled.recall(schema_id)
            if codec is None:
                codec = await self._compiling.join(schema_id, partial(self._compile, schema_id))
            if isinstance(codec, InlakeError):
                return Decoded(message, headers, schema_id, None, codec.detail)
            return Decoded(message, headers, schema_id, codec.decode(value[FRAME:]))
        except InlakeError as error:
            return Decoded(message, headers, schema_id, None, error.detail)

    async def _compile(self, schema_id: int) -> Codec | InvalidSchema | BadParameter:
        schema, references = await self._registry.find_by_id(schema_id)
        settings = self._settings
        try:
            codec: Codec | InvalidSchema | BadParameter = await asyncio.to_thread(
                compile_codec,
                schema,
                references,
                resource_field=settings.resource_field,
                max_depth=settings.max_depth,
            )
        except (InvalidSchema, BadParameter) as error:
            codec = copy(error)  # the one that was raised keeps its frames
        self._compiled.keep(schema_id, codec)
        return codec

    def _unframed(self, message: Message, headers: dict[str, str], value: bytes) -> Decoded:
        """The debugging routes publish JSON as it came: nobody has looked how deep it is."""
        try:
            check_depth(value, self._settings.max_depth)
            return Decoded(message, headers, None, msgspec.json.decode(value))
        except InlakeError as error:
            return Decoded(message, headers, None, None, error.detail)
        except ValueError:
            return Decoded(message, headers, None, None, "neither the Confluent wire format nor JSON")
