"""The first page: what came in today and what was refused, and whether all is well."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from pathlib import Path

from msgspec import Struct

from inlake.errors import InlakeError, Unavailable
from inlake.model import Message
from inlake.rejects.reject import Cause
from inlake.web.console.page import show
from inlake.web.console.row import key_of
from inlake.web.console.seen import Filter, Found, find, rows, viewer
from inlake.web.request.exchange import Exchange
from inlake.web.routes import rejects
from inlake.web.routes.health import check_all
from inlake.wiring import Deployment

HOURS = 24
SHOWN = 8
COUNTED = 2_000
"""The newest events that are counted by schema and hour."""
SCHEMAS = 12


class Chart(Struct):
    """The events of one schema, by the hour."""

    schema: str
    count: int
    bars: list[int]
    """Heights in percent, the oldest hour first."""
    refused: int = 0


class CameIn(Struct):
    """The events and the rejects of a page, as far as the person may see them."""

    found: Found
    causes: list[Cause]
    hidden: str = ""
    """Why nothing of it is shown; empty if it is."""
    unread: str = ""
    """Why the rejects alone cannot be shown; empty if they can."""


async def overview(x: Exchange, d: Deployment) -> None:
    """A page of what came in within a day, what was refused, what is well, and how much room is left."""
    came, checks, room = await asyncio.gather(_came_in(x, d), check_all(d), asyncio.to_thread(_room, d))
    found, causes = came.found, came.causes
    await show(
        x,
        "overview.html",
        title="Overview",
        hidden=came.hidden,
        unread=came.unread,
        charts=_charts(found.messages, causes),
        rows=await rows(x, found.messages[:SHOWN]),
        found=found,
        is_cut=bool(found.older) and (found.back_to or 0) > _begin(),
        refused=sum(cause.count for cause in causes),
        causes=causes[:5],
        checks=checks,
        room=room,
    )


async def _came_in(x: Exchange, d: Deployment) -> CameIn:
    try:
        found, causes = await asyncio.gather(
            find(d, viewer(x, d), Filter(), shown=COUNTED, most=COUNTED), _causes(x, d)
        )
    except InlakeError as error:
        return CameIn(Found([]), [], error.detail)
    return CameIn(found, [], unread=causes) if isinstance(causes, str) else CameIn(found, causes)


async def _causes(x: Exchange, d: Deployment) -> list[Cause] | str:
    """The causes, or why they cannot be read now: events are shown without them."""
    try:
        return await rejects.list_causes(x, d, rejects.Filter()) if d.rejects is not None else []
    except Unavailable as error:
        return error.detail


def _begin() -> int:
    """The first hour that is counted, milliseconds since 1970."""
    return (int(time.time()) // 3600 - HOURS + 1) * 3_600_000


def _charts(messages: list[Message], causes: list[Cause]) -> list[Chart]:
    begin = _begin()
    hours: dict[str, Counter[int]] = {}
    for message in messages:
        if message.timestamp_ms >= begin:
            schema, _ = key_of(message)
            hours.setdefault(schema, Counter())[(message.timestamp_ms - begin) // 3_600_000] += 1
    refused: Counter[str] = Counter()
    for cause in causes:
        refused[cause.schema] += cause.count
    names = sorted({*hours, *refused} - {""}, key=lambda name: -sum(hours.get(name, Counter()).values()))
    charts = []
    for name in names[:SCHEMAS]:
        counts = hours.get(name, Counter())
        most = max(counts.values(), default=1)
        bars = [round(100 * counts[hour] / most) if counts[hour] else 0 for hour in range(HOURS)]
        charts.append(Chart(name, sum(counts.values()), bars, refused[name]))
    return charts


def _room(d: Deployment) -> list[tuple[str, int, int]]:
    """The disks of this machine that the gateway writes to: what stands there, bytes free, bytes in all."""
    disks: dict[int, list[str]] = {}
    usages: dict[int, tuple[int, int]] = {}
    for what, url in (("events", d.settings.bus), ("binaries", d.settings.store)):
        scheme, _, path = url.partition(":")
        if scheme in {"sqlite", "file"}:
            folder = Path(path)
            while not folder.is_dir():
                folder = folder.parent
            disk, usage = folder.stat().st_dev, shutil.disk_usage(folder)
            disks.setdefault(disk, []).append(what)
            usages[disk] = usage.free, usage.total
    return [(" and ".join(whats), *usages[disk]) for disk, whats in disks.items()]
