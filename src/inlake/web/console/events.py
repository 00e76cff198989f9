"""Events: the newest in a list that grows while one looks, and each of them decoded, with its binary beside it."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlencode

from msgspec import structs

from inlake.errors import InlakeError, RouteNotFound
from inlake.model import Position
from inlake.web.console.binary import binary_of
from inlake.web.console.page import show
from inlake.web.console.row import row
from inlake.web.console.seen import Filter, find, one, rows, viewer
from inlake.web.request.exchange import Exchange
from inlake.web.request.query import query
from inlake.web.routes.schemas import list_all
from inlake.wiring import Deployment

SHOWN = 100
MOST = 20_000
"""Events that are looked through for one page."""
PARTITIONS = 2**31
"""Kafka numbers them in 32 bits."""


async def events(x: Exchange, d: Deployment) -> None:
    """The newest events that the person may see, and of older ones a page at a time."""
    wanted = query(x, Filter)
    found = await find(d, viewer(x, d), wanted, shown=SHOWN, most=MOST)
    asked = {name: value for name, value in structs.asdict(wanted).items() if value and name != "before"}
    await show(
        x,
        "events.html",
        title="Events",
        rows=await rows(x, found.messages),
        found=found,
        wanted=wanted,
        asked=asked,
        schemas=await _schemas(x, d),
        is_live=wanted == Filter(),
        today=datetime.now(UTC).date().isoformat(),
        newest=f"?{urlencode(asked)}",
        older=f"?{urlencode({**asked, 'before': found.older})}",
        most=SHOWN,
    )


async def _schemas(x: Exchange, d: Deployment) -> list[str]:
    """Names for the filter; none while the registry cannot be asked, since events are there without it."""
    try:
        return [entry.name for entry in await list_all(x, d)]
    except InlakeError:
        return []


async def event(x: Exchange, d: Deployment) -> None:
    """One event: its record decoded, its headers, its binary."""
    sees = viewer(x, d)
    topic, numbers = x.path_parameter("topic"), (x.path_parameter("partition"), x.path_parameter("offset"))
    if not all(number.isascii() and number.isdecimal() and len(number) < 19 for number in numbers):
        raise RouteNotFound("There is no such event.")
    partition, offset = map(int, numbers)
    decoded = await one(x, d, sees, Position(topic, partition, offset)) if partition < PARTITIONS else None
    if decoded is None:
        raise RouteNotFound("There is no such event, or it is another principal's, or it is gone.")
    binary = await binary_of(x, d, decoded)
    line = row(decoded)
    await show(
        x, "event.html", title=line.title, model=bool(binary and binary.way == "gltf"),
        record=decoded.record, event=decoded, row=line, binary=binary,
    )  # fmt: skip
