"""Events: the newest in a list that grows while one looks, and each of them decoded, with its binary beside it."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import unquote, urlencode

from msgspec import Struct, structs

from inlake.errors import InlakeError, RouteNotFound
from inlake.formats.events import Decoded
from inlake.model import Position
from inlake.previews.keeper import can_be_drawn
from inlake.web.console.page import show
from inlake.web.console.row import PICTURES, row, size_of
from inlake.web.console.seen import Filter, find, one, rows, viewer
from inlake.web.request.exchange import Exchange
from inlake.web.request.query import query
from inlake.web.routes.resources import open_object
from inlake.web.routes.schemas import list_all
from inlake.wiring import Deployment

SHOWN = 100
MOST = 20_000
"""Events that are looked through for one page."""
PARTITIONS = 2**31
"""Kafka numbers them in 32 bits."""
TEXT_BYTES = 100_000
"""Of a text that is shown."""
PICTURE_BYTES = 1_000_000
"""A larger picture is shown by its preview."""
MODELS = ("model/gltf-binary", "model/gltf+json")


class Binary(Struct):
    """The binary of an event, and how a page shows it."""

    puuid: str
    uri: str
    name: str
    kind: str
    size: int
    sha256: str
    way: str
    """`picture`, `preview`, `model`, `text`, or `none`."""
    text: str = ""
    is_cut: bool = False
    trouble: str = ""
    """Why it cannot be shown."""


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
    binary = await _binary(x, d, decoded)
    line = row(decoded)
    await show(
        x, "event.html", title=line.title, model=bool(binary and binary.way == "model"),
        record=decoded.record, event=decoded, row=line, binary=binary,
    )  # fmt: skip


async def _binary(x: Exchange, d: Deployment, decoded: Decoded) -> Binary | None:
    """The binary of an event; None if it has none."""
    h = decoded.headers
    if "inlake_resource_uri" not in h:
        return None
    kind = h.get("inlake_resource_type", "")
    media = kind.partition(";")[0].strip().lower()
    way = "picture" if media in PICTURES else "model" if media in MODELS else "none"
    name = unquote(h.get("inlake_resource_filename", "")) or h["inlake_resource_uri"].rpartition("/")[2]
    size = size_of(h.get("inlake_resource_size", ""))
    if can_be_drawn(kind, name) and (way != "picture" or size > PICTURE_BYTES):
        way = "preview"
    if media.startswith("text/") or media in {"application/json", "application/xml"}:
        way = "text"
    found = Binary(
        puuid=h.get("inlake_puuid", ""),
        uri=h["inlake_resource_uri"],
        name=name,
        kind=kind,
        size=size,
        sha256=h.get("inlake_resource_sha256", ""),
        way=way,
    )
    try:
        await _fill(x, d, found)
    except InlakeError as error:
        found.way, found.trouble = "none", error.detail
    return found


async def _fill(x: Exchange, d: Deployment, found: Binary) -> None:
    """The text of a text. Raises what says that the object cannot be read."""
    x.caller.check_some(["read"])  # as GET /resources does
    stored, store, key = await open_object(d, found.puuid, x.principal)
    if found.way != "text":
        return
    size = min(stored.size, TEXT_BYTES)
    content = b"".join([chunk async for chunk in store.read(key, 0, size)]) if size else b""
    charset = found.kind.lower().partition("charset=")[2].split(";")[0].strip(' "') or "utf-8"
    try:
        found.text = content.decode(charset, "replace")
    except LookupError:
        found.text = content.decode("utf-8", "replace")
    found.is_cut = stored.size > size
