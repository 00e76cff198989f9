"""An event as a person or a program reads it: decoded by its schema, with the headers that matter."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.text import Text

from inlake.cli.terminal import as_json, output, printable
from inlake.errors import InlakeError
from inlake.formats import compile_codec
from inlake.model import ANONYMOUS, Message
from inlake.ports import Codec, Registry
from inlake.settings import Settings

FRAME = 5
"""Bytes before the payload in the Confluent wire format: 0x00 and the schema's id, big-endian."""


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


class Decoder:
    """Decodes the values of messages; a schema is fetched and compiled once."""

    def __init__(self, registry: Registry, settings: Settings) -> None:
        self._registry = registry
        self._settings = settings
        self._codecs: dict[int, Codec] = {}

    async def decode(self, message: Message) -> Decoded:
        """Never fails for what is in the message: a value that cannot be read comes with its problem."""
        headers = {name: value.decode(errors="replace") for name, value in message.headers}
        value = message.value
        if value is None:
            return Decoded(message, headers, None, None)
        if value[:1] != b"\x00" or len(value) < FRAME:
            return _unframed(message, headers, value)
        schema_id = int.from_bytes(value[1:FRAME], "big")
        try:
            codec = self._codecs.get(schema_id) or await self._compile(schema_id)
            return Decoded(message, headers, schema_id, codec.decode(value[FRAME:]))
        except InlakeError as error:
            return Decoded(message, headers, schema_id, None, error.detail)

    async def _compile(self, schema_id: int) -> Codec:
        schema, references = await self._registry.find_by_id(schema_id)
        codec = compile_codec(schema, references, resource_field=self._settings.resource_field)
        self._codecs[schema_id] = codec
        return codec


def _unframed(message: Message, headers: dict[str, str], value: bytes) -> Decoded:
    """The debugging routes publish JSON as it came."""
    try:
        return Decoded(message, headers, None, json.loads(value))
    except ValueError:
        return Decoded(message, headers, None, None, "neither the Confluent wire format nor JSON")


def print_line(event: Decoded) -> None:
    """One JSON object a line."""
    position = event.message.position
    line = {
        "topic": position.topic,
        "partition": position.partition,
        "offset": position.offset,
        "key": event.key,
        "timestamp": event.time.isoformat(timespec="milliseconds"),
        "headers": event.headers,
        "record": event.record,
    }
    if event.problem:
        line |= {"problem": event.problem, "value": event.message.value}
    sys.stdout.write(as_json(line) + "\n")
    sys.stdout.flush()


def print_event(event: Decoded) -> None:
    """A head line, the record, and the resource where there is one."""
    console = output()
    position, headers = event.message.position, event.headers
    time = event.time.astimezone().isoformat(sep=" ", timespec="seconds")
    console.print(Text(printable(event.key or "(no key)"), style="bold"), Text(time, style="dim"))
    place = f"{position.topic} {position.partition}/{position.offset}"
    schema = "" if event.schema_id is None else f"  schema id {event.schema_id}"
    console.print(
        Text(printable(f"  {place}{schema}  event {headers.get('ce_id', '-')}{_principal(headers)}"), style="dim")
    )
    if event.problem:
        console.print(Text(f"  not decoded: {printable(event.problem)}", style="red"))
    else:
        console.print(Text(_indented(as_json(event.record, indent=2))))
    if "inlake_resource_uri" in headers:
        console.print(Text(printable(_resource(headers)), style="green"))
    console.print()


def _principal(headers: dict[str, str]) -> str:
    principal = headers.get("inlake_principal", ANONYMOUS)
    return "" if principal == ANONYMOUS else f"  by {principal}"


def _resource(headers: dict[str, str]) -> str:
    size, kind = headers.get("inlake_resource_size", "?"), headers.get("inlake_resource_type", "?")
    sha256 = headers.get("inlake_resource_sha256", "?")
    return f"  resource {headers['inlake_resource_uri']}\n           {size} bytes, {kind}, sha256 {sha256}"


def _indented(text: str) -> str:
    return "\n".join("  " + line for line in text.splitlines())
