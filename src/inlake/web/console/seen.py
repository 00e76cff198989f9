"""Events of the bus that a person may see: those that are asked for, a page at a time, the newest first."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from msgspec import Struct

from inlake.errors import BadParameter, Forbidden, TopicMissing
from inlake.formats.events import Decoded, undecoded
from inlake.model import ANONYMOUS, Message, Moment, Position, moment_of
from inlake.web.console.row import Row, key_of, principal_of, row
from inlake.web.request.exchange import Exchange
from inlake.wiring import Deployment

Sees = Callable[[Message], bool]
"""Whether a person may see a message."""
AT_ONCE = 2_000
"""Events that are read in one go."""
SECONDS = 1.0
"""How long events are looked through, or read, for one page."""
DAY_MS = 24 * 3_600_000


class Filter(Struct):
    """The query for events."""

    schema: str = ""
    destination: str = ""
    """The destination, and those below it."""
    principal: str = ""
    since: str = ""
    """A day, YYYY-MM-DD, UTC."""
    until: str = ""
    """The last day, likewise."""
    before: str = ""
    """Where the page before it ended."""

    def between(self) -> tuple[int, Moment | None]:
        """The first millisecond that is asked for, and where the page begins. Raises `BadParameter`."""
        last = _day(self.until)
        until = None if last is None else Moment.end_of(last + DAY_MS - 1)
        return _day(self.since) or 0, _moment(self.before) or until

    def meets(self, message: Message) -> bool:
        """Whether a message is asked for, whatever its time."""
        schema, destination = key_of(message)
        return (
            self.schema in {"", schema}
            and (self.destination in {"", destination} or destination.startswith(f"{self.destination}/"))
            and (not self.principal or self.principal == principal_of(message))
        )


class Found(Struct):
    """A page of events, and how far back they were looked for."""

    messages: list[Message]
    looked_at: int = 0
    back_to: int | None = None
    """The time of the last that was looked at, milliseconds since 1970."""
    older: str = ""
    """`before` of the page of older ones; empty where there is none."""


async def find(d: Deployment, sees: Sees, wanted: Filter, *, shown: int, most: int) -> Found:
    """The newest events that are asked for and that the person may see: at most `shown` of the newest `most`, and
    fewer of those where reading takes long. Raises `BadParameter`."""
    since, before = wanted.between()
    topics = [d.settings.topic_of(wanted.schema)] if wanted.schema else None
    found, end, count = Found([]), time.monotonic() + SECONDS, min(shown + 1, AT_ONCE)
    while batch := await _read(d, count, topics, before):
        for message in batch:
            if len(found.messages) == shown:
                found.older = _text(before)
                return found
            before, found.back_to = moment_of(message), message.timestamp_ms
            if message.timestamp_ms < since:
                return found
            found.looked_at += 1
            if sees(message) and wanted.meets(message):
                found.messages.append(message)
        if found.looked_at >= most or time.monotonic() > end:
            found.older = _text(before)
            break
        count = AT_ONCE
    return found


async def _read(d: Deployment, count: int, topics: list[str] | None, before: Moment | None) -> list[Message]:
    try:
        return await d.bus.recent(count, topics, before=before)
    except TopicMissing:
        return []


def _day(text: str) -> int | None:
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000) if text else None
    except ValueError:
        raise BadParameter(f"{text[:20]!r} is no day: write it as 2026-11-30.") from None


def _text(moment: Moment | None) -> str:
    """A moment in the address of a page."""
    return "" if moment is None else "/".join(map(str, (*moment[:1], *moment[2:], moment.topic)))


def _moment(text: str) -> Moment | None:
    """The moment whose `_text` this is. Raises `BadParameter`."""
    numbers = text.split("/")[:3]
    if not text:
        return None
    if len(numbers) < 3 or not all(n.isascii() and n.isdecimal() and len(n) < 16 for n in numbers):
        raise BadParameter(f"{text[:80]!r} is not where a page of events ended.")
    at, partition, offset = map(int, numbers)
    return Moment(at, text.split("/", 3)[3] if text.count("/") >= 3 else "", partition, offset)


def viewer(x: Exchange, d: Deployment) -> Sees:
    """Says of each message whether the person may see it. Raises `Forbidden`."""
    if not d.settings.has_authentication:
        if d.settings.allow_anonymous and not x.caller.rights:
            raise Forbidden("Anonymous people are not told apart, so this is shown to nobody without an API key.")
        if not x.caller.rights:
            return lambda _: True

    is_told_apart = x.principal != ANONYMOUS or not d.settings.allow_anonymous

    def sees(message: Message) -> bool:
        return (is_told_apart and principal_of(message) == x.principal) or x.caller.may("administer", *key_of(message))

    return sees


async def one(x: Exchange, d: Deployment, sees: Sees, at: Position) -> Decoded | None:
    """An event that the person may see, decoded."""
    if not d.settings.is_topic_of_events(at.topic):
        return None
    message = await d.bus.find(at)
    if message is None or not sees(message):
        return None
    return await decode(x, message)


async def decode(x: Exchange, message: Message) -> Decoded:
    """An event with its record."""
    decoded: Decoded = await x.scope["app"].live.decoder.decode(message)
    return decoded


async def rows(x: Exchange, messages: Sequence[Message]) -> list[Row]:
    """The lines of events. Where the registry is slow the last have no titles: a list is not waited for so long."""
    events = list[Decoded]()
    with suppress(TimeoutError):
        async with asyncio.timeout(SECONDS):
            for message in messages:
                events.append(await decode(x, message))
    return [*map(row, events), *(row(undecoded(message)) for message in messages[len(events) :])]
