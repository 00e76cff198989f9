"""An event in a list: what it is called, whose it is, and a small picture of its binary."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, unquote

from msgspec import Struct

from inlake.formats.events import Decoded
from inlake.model import Message
from inlake.previews.keeper import can_be_drawn
from inlake.web.console.title import title_of

PICTURES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/svg+xml")
"""Media types that a browser shows itself."""
SMALL = 30_000
"""Bytes of a picture that is its own thumbnail."""


class Row(Struct):
    """An event in a list."""

    where: str
    """Path of its page, below the gateway's."""
    at: int
    """Milliseconds since 1970."""
    title: str
    schema: str
    destination: str
    principal: str
    id: str
    file: str
    """Name of its binary; empty if it has none."""
    kind: str
    """Media type of that."""
    size: int
    thumbnail: str
    """Path of a picture, below the gateway's; empty if there is none."""

    @property
    def extension(self) -> str:
        """The extension in the place of a thumbnail: that of the file's name, or the main type."""
        _, dot, ending = self.file.rpartition(".")
        return ending.upper() if dot and len(ending) <= 4 else self.kind.partition("/")[0][:5]


def row(event: Decoded) -> Row:
    """The line of an event."""
    message, headers = event.message, event.headers
    at, (schema, destination) = message.position, key_of(message)
    kind, name = headers.get("inlake_resource_type", ""), file_of(headers)
    size, puuid = size_of(headers.get("inlake_resource_size", "")), headers.get("inlake_puuid", "")
    return Row(
        where=f"/console/events/{quote(at.topic, safe='')}/{at.partition}/{at.offset}",
        at=message.timestamp_ms,
        title=title_of(event.record) or name or f"{schema} without a title",
        schema=schema,
        destination=destination,
        principal=principal_of(message),
        id=headers.get("ce_id", ""),
        file=name,
        kind=kind,
        size=size,
        thumbnail=_thumbnail(kind, name, size, puuid),
    )


def _thumbnail(kind: str, name: str, size: int, puuid: str) -> str:
    """A small picture is its own thumbnail; of others, and what no browser shows, one is drawn when a page asks."""
    path = f"/resources/{quote(puuid, safe='')}"
    if puuid and size <= SMALL and kind.partition(";")[0].strip().lower() in PICTURES:
        return path
    return f"{path}/preview?size=small" if puuid and can_be_drawn(kind, name) else ""


def key_of(message: Message) -> tuple[str, str]:
    """Schema and destination of a message; the latter is empty if it has none."""
    schema, _, destination = (message.key or b"").decode(errors="replace").partition("/")
    return schema, destination


def principal_of(message: Message) -> str:
    """Who sent it."""
    value = dict(message.headers).get("inlake_principal", b"anonymous")
    return unquote(value.decode(errors="replace"))


def file_of(headers: Mapping[str, str]) -> str:
    """The name of an event's binary: the file's own, or else the end of the object's URI; empty without a binary."""
    uri = headers.get("inlake_resource_uri", "")
    return (unquote(headers.get("inlake_resource_filename", "")) or uri.rpartition("/")[2]) if uri else ""


def size_of(header: str) -> int:
    """The number of bytes that an event says its binary has; 0 if it says none."""
    return int(header) if header.isascii() and header.isdecimal() and len(header) < 19 else 0
