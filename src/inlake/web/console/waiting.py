"""Promises and shipments on their way."""

from __future__ import annotations

import asyncio
from typing import Annotated

from msgspec import Meta, Struct

from inlake.errors import PromiseNotFound
from inlake.promises.entries import Tus
from inlake.web.console.page import form, go, show
from inlake.web.request.exchange import Exchange
from inlake.web.request.query import query
from inlake.web.routes import promises, shipments
from inlake.wiring import Deployment

SHOWN = 50
"""Rows of each kind on one page."""
After = Annotated[str, Meta(max_length=36)]


class Begin(Struct):
    """The query of the page: behind which promise, and which shipment, its lists begin."""

    promises: After = ""
    shipments: After = ""


async def waiting(x: Exchange, d: Deployment) -> None:
    """The person's own binaries that wait for a record, records that wait for a binary, and shipments."""
    begin = query(x, Begin)
    listed, shipped = await asyncio.gather(
        promises.list_own(x, d, promises.Page(limit=SHOWN, after=begin.promises)),
        shipments.list_own(x, d, shipments.Page(limit=SHOWN, after=begin.shipments)),
    )
    await show(x, "waiting.html", title="On their way", promises=listed, shipments=shipped, begin=begin)


async def give_up(x: Exchange, d: Deployment) -> None:
    """Give a promise up."""
    fields = await form(x)
    if "puuid" not in fields:
        raise PromiseNotFound("The form names no promise.")
    found = await d.gateway.promises.find(fields["puuid"], x.principal)
    await (d.uploads if isinstance(found.announced.way, Tus) else d.gateway.promises).cancel(found)
    await go(x, "/console/waiting")
