"""Promises and shipments on their way."""

from __future__ import annotations

from inlake.errors import PromiseNotFound
from inlake.promises.entries import Tus
from inlake.web.console.page import form, go, show
from inlake.web.request.exchange import Exchange
from inlake.web.routes import promises, shipments
from inlake.wiring import Deployment

SHOWN = 100


async def waiting(x: Exchange, d: Deployment) -> None:
    """The person's own binaries that wait for a record, records that wait for a binary, and shipments."""
    listed = await promises.list_own(x, d, promises.Page(limit=SHOWN))
    shipped = await shipments.list_own(x, d, shipments.Page(limit=SHOWN))
    await show(x, "waiting.html", title="On their way", promises=listed, shipments=shipped)


async def give_up(x: Exchange, d: Deployment) -> None:
    """Give a promise up."""
    fields = await form(x)
    if "puuid" not in fields:
        raise PromiseNotFound("The form names no promise.")
    found = await d.gateway.promises.find(fields["puuid"], x.principal)
    await (d.uploads if isinstance(found.announced.way, Tus) else d.gateway.promises).cancel(found)
    await go(x, "/console/waiting")
