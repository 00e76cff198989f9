"""What a person may see of the bus: the newest events, decoded, in rows for a page."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote, unquote

from msgspec import Struct

from inlake.errors import Forbidden
from inlake.formats.events import Decoded, Decoder
from inlake.model import ANONYMOUS, Message, Position
from inlake.web.request.exchange import Exchange
from inlake.wiring import Deployment

Sees = Callable[[Message], bool]
"""Whether a person may see a message."""
LOOKED_AT = 2_000
"""The newest messages that are looked through for those that a person asks for."""


class Row(Struct):
    """An event in a list."""

    where: str
    """Path of its page, below the gateway's."""
    at: int
    """Milliseconds since 1970."""
    schema: str
    destination: str
    principal: str
    id: str
    resource: str
    """Name of its binary; empty if it has none."""
    kind: str
    """Media type of that."""
    size: int


class Filter(Struct):
    """The query for events."""

    schema: str = ""
    destination: str = ""
    principal: str = ""
    since: str = ""
    """A day, YYYY-MM-DD, UTC."""


def row(message: Message) -> Row:
    """The line of a message. Its record is not decoded for that."""
    headers = {name: value.decode(errors="replace") for name, value in message.headers}
    schema, _, destination = (message.key or b"").decode(errors="replace").partition("/")
    at = message.position
    uri = headers.get("inlake_resource_uri", "")
    name = unquote(headers.get("inlake_resource_filename", "")) or uri.rpartition("/")[2]
    return Row(
        where=f"/console/events/{quote(at.topic, safe='')}/{at.partition}/{at.offset}",
        at=message.timestamp_ms,
        schema=schema,
        destination=destination,
        principal=principal_of(message),
        id=headers.get("ce_id", ""),
        resource=name if uri else "",
        kind=headers.get("inlake_resource_type", ""),
        size=size_of(headers.get("inlake_resource_size", "")),
    )


def size_of(header: str) -> int:
    """The number of bytes that an event says its binary has; 0 if it says none."""
    return int(header) if header.isascii() and header.isdecimal() and len(header) < 19 else 0


def principal_of(message: Message) -> str:
    """Who sent it."""
    value = dict(message.headers).get("inlake_principal", b"anonymous")
    return unquote(value.decode(errors="replace"))


def viewer(x: Exchange, d: Deployment) -> Sees:
    """Says of each message whether the person may see it. Raises `Forbidden`."""
    if not d.settings.has_authentication:
        if d.settings.allow_anonymous and not x.caller.rights:
            raise Forbidden("Anonymous people are not told apart, so this is shown to nobody without an API key.")
        if not x.caller.rights:
            return lambda _: True

    is_told_apart = x.principal != ANONYMOUS or not d.settings.allow_anonymous

    def sees(message: Message) -> bool:
        schema = (message.key or b"").decode(errors="replace").partition("/")[0]
        return (is_told_apart and principal_of(message) == x.principal) or x.caller.may("administer", schema)

    return sees


async def newest(d: Deployment, sees: Sees, limit: int = LOOKED_AT) -> list[Message]:
    """The newest messages that the person may see, the newest first."""
    return [message for message in await d.bus.recent(limit) if sees(message)]


async def one(d: Deployment, sees: Sees, at: Position) -> Decoded | None:
    """An event that the person may see, decoded."""
    if not d.settings.is_topic_of_events(at.topic):
        return None
    message = await d.bus.find(at)
    if message is None or not sees(message):
        return None
    return await Decoder(d.registry, d.settings).decode(message)
