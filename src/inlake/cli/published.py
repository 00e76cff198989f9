"""Events looked up on the bus of the settings, for `verify --events` and for `get` with the id of an event."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from inlake.cli.failures import REFUSED, Failure

if TYPE_CHECKING:
    from inlake.client.receipts import Receipt
    from inlake.model import Message

HEADERS = {
    "puuid": "inlake_puuid",
    "uri": "inlake_resource_uri",
    "size": "inlake_resource_size",
    "sha256": "inlake_resource_sha256",
}
"""Members of a receipt, and the headers of the event that say the same."""
UNKNOWN = (None, "", -1, "-1")
"""Offsets that receipts have where nobody knew them: of the gateway's outbox, as JSON and CSV write it, and Kafka's."""


def find_events(ids: Collection[str], topics: Sequence[str] | None = None) -> dict[str, list[Message]]:
    """The events with these ids, each as often as it was published; topics (None: all of events) are read through."""
    return asyncio.run(_find(ids, topics))


def puuid_of(event: str) -> str:
    """The puuid of the object that an event names. `Failure` when there is no such event, or it names none."""
    for message in find_events([event]).get(event, ()):
        puuid = dict(message.headers).get("inlake_puuid")
        if puuid:
            return puuid.decode()
        raise Failure(f"The event {event} names no object.", REFUSED)
    raise Failure(f"There is no event {event} on the bus of the settings (INLAKE_BUS).", REFUSED)


def differences(receipt: Receipt, events: Mapping[str, Sequence[Message]]) -> Iterator[str]:
    """Sentences about how the events themselves differ from a receipt."""
    found = events.get(str(receipt["id"]))
    if not found:
        yield f"There is no event {receipt['id']} in {receipt['topic']}."
        return
    places = [tuple(map(str, message.position)) for message in found]
    told = tuple(str(receipt[name]) for name in ("topic", "partition", "offset"))
    if told not in places and receipt["offset"] not in UNKNOWN:
        yield f"The event is at {', '.join('/'.join(place) for place in places)}, and was at {'/'.join(told)}."
    for message in found:
        headers = dict(message.headers)
        for name, header in HEADERS.items():
            value = headers.get(header, b"").decode()
            if value != str(receipt.get(name) or ""):
                yield f"The event says {header}: {value or 'nothing'}, and the receipt {receipt.get(name)}."


async def _find(ids: Collection[str], topics: Sequence[str] | None) -> dict[str, list[Message]]:
    from inlake.cli.deployment import load_settings, open_bus

    settings, environment = load_settings()
    wanted = set(ids)
    found: dict[str, list[Message]] = {}
    async with open_bus(settings, environment) as bus:
        async for message in bus.read(topics):
            event = dict(message.headers).get("ce_id", b"").decode()
            if event in wanted:
                found.setdefault(event, []).append(message)
    return found
