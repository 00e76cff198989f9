"""`/promises`: how a binary and its record, sent apart, are getting on; and giving them up."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from inlake.errors import Forbidden, PromiseExpired
from inlake.model import ANONYMOUS, Receipt
from inlake.model import Part as StoredPart
from inlake.promises import promise as log
from inlake.promises.entries import Tus
from inlake.promises.promise import marker_key, read
from inlake.promises.shipments.entries import File, Shipment, is_of_shipment
from inlake.web.openapi import answer, json, operation, parameters, problems
from inlake.web.request.exchange import Exchange
from inlake.web.request.query import query
from inlake.wiring import Deployment

AT_ONCE = 16
"""Logs that are read at the same time for one list."""
Bytes = Annotated[int, Meta(ge=0, description="Bytes.")]


class PartDone(Struct):
    """A part that the store holds."""

    number: Annotated[int, Meta(ge=1, description="From 1.")]
    size: Bytes
    etag: str
    checksum_sha256: Annotated[str | None, Meta(description="Base64, if it was announced.")]


class Promise(Struct, omit_defaults=True):
    """A binary announced or stored, that a record may name."""

    puuid: Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    state: Annotated[str, Meta(examples=["reserved", "uploading", "stored", "claimed", "published", "failed"])]
    way: Annotated[str, Meta(description="How the binary comes.", examples=["request", "tus", "direct", "shipment"])]
    received: Bytes
    size: Annotated[int | None, Meta(description="Bytes, as stored, before as announced.")]
    sha256: Annotated[str | None, Meta(description="Hexadecimal, as stored, before as announced.")]
    content_type: str
    filename: Annotated[str, Meta(description="As the client sent it.")]
    expires_at: Annotated[
        str | None, Meta(description="Without progress until then it is given up; null once it cannot be.")
    ]
    reason: Annotated[str | None, Meta(description="Why it failed: a code of a problem.")]
    receipt: Receipt | None
    parts_done: Annotated[list[PartDone], Meta(description="Of a direct upload: the parts that the store holds.")] = []


class PromiseList(Struct):
    """One's own promises that wait for their binary or their record."""

    promises: list[Promise]
    next: Annotated[str | None, Meta(description="`after` of the next page; null at the end.")]


class Page(Struct):
    """The query of a list."""

    limit: Annotated[int, Meta(ge=1, le=1_000, description="Most promises in one answer.")] = 100
    after: Annotated[str, Meta(max_length=36, description="`next` of the answer before.")] = ""


PROMISE = Promise(
    puuid="0f3c0d3a-4a0e-4d9f-8f43-2a3c7b1de0aa",
    state="stored",
    way="request",
    received=330624,
    size=330624,
    sha256="07383815b560ed74e5e8c7aad0afb4b74f6cbf7a08ac7e40b2c24a9775000000",
    content_type="model/obj",
    filename="spot.obj",
    expires_at="2026-11-23T20:15:00Z",
    reason=None,
    receipt=None,
)
LISTED = operation(
    "promises",
    {200: answer("As they stand now.", json(PromiseList([PROMISE], None)))},
    problems(400, 401, 403, 503),
    asks=parameters(Page),
)
FOUND = operation("promises", {200: answer("As it stands now.", json(PROMISE))}, problems(401, 403, 404, 410, 503))
CANCELLED = operation("promises", {204: answer("Given up.")}, problems(401, 403, 404, 409, 503))


async def own(x: Exchange, d: Deployment) -> None:
    """One's own promises that wait for their binary or their record, a page at a time."""
    await x.reply(200, msgspec.json.encode(await list_own(x, d, query(x, Page))))


async def list_own(x: Exchange, d: Deployment, page: Page) -> PromiseList:
    """A page of the client's own open promises. Raises `Forbidden`."""
    if x.principal == ANONYMOUS and d.settings.allow_anonymous:
        raise Forbidden(
            "Anonymous clients are not told apart, so nobody has a list: keep the puuid, or use an API key."
        )
    return await _page(d, x.principal, page)


async def promise(x: Exchange, d: Deployment) -> None:
    """One promise: its state, the bytes received, and the receipt once its event is published."""
    puuid = x.path_parameter("puuid")
    if is_of_shipment(puuid) and (line := await d.shipments.find_line(puuid, x.principal)):
        await x.reply(200, msgspec.json.encode(await _of_shipment(d, *line)))
        return
    found = await d.gateway.promises.find(puuid, x.principal)
    if found.state == "expired":
        raise PromiseExpired(f"The promise {found} has expired: {found.reason}.", puuid=found.puuid, state="expired")
    done = await d.direct.parts_done(found)
    told = describe(found, sum(part.size for part in done) or await received(d, found), done)
    await x.reply(200, msgspec.json.encode(told))


async def cancel(x: Exchange, d: Deployment) -> None:
    """Give a promise up: its object goes. Not once a record has claimed it and it is stored."""
    found = await d.gateway.promises.find(x.path_parameter("puuid"), x.principal)
    by_tus = isinstance(found.announced.way, Tus)  # then its writer is stopped too
    await (d.uploads if by_tus else d.gateway.promises).cancel(found)
    await x.reply_without_body(204)


def describe(p: log.Promise, received: int | None = None, done: list[StoredPart] = []) -> Promise:  # noqa: B006
    """A promise as its client sees it; `received`: bytes, where the store knows better than the log."""
    stored, announced = p.stored, p.announced
    waits = p.end is None and not (stored and p.claim)
    return Promise(
        puuid=p.puuid,
        state=p.state,
        way=announced.way.name,
        received=stored.size if stored else max(received or 0, p.received),
        size=stored.size if stored else announced.size,
        sha256=stored.sha256 if stored else announced.sha256,
        content_type=announced.content_type,
        filename=announced.filename,
        expires_at=p.expires_at if waits else None,
        reason=p.reason or None,
        receipt=p.receipt,
        parts_done=[PartDone(*part) for part in done],
    )


async def _of_shipment(d: Deployment, shipment: Shipment, file: File) -> Promise:
    """A line of a shipment as if it were a promise of its own. Raises `PromiseExpired`."""
    state = shipment.state_of(file.line)
    if state == "expired":
        raise PromiseExpired(f"The shipment {shipment} has expired: {shipment.end and shipment.end.reason}.")
    refused = shipment.refused.get(file.line)
    there = file.size if state == "published" or file.in_place else await d.store.head(file.key) or 0
    return Promise(
        puuid=file.puuid,
        state=state if state != "announced" else "stored" if there == file.size else "reserved",
        way="shipment",
        received=there,
        size=file.size,
        sha256=file.sha256,
        content_type=file.content_type,
        filename=file.filename,
        expires_at=shipment.expires_at if state == "announced" else None,
        reason=refused.code if refused else None,
        receipt=await d.shipments.receipt(shipment, file),
    )


async def received(d: Deployment, p: log.Promise) -> int | None:
    """Bytes that the store holds of a binary, where it knows better than the log."""
    if p.stored:
        return p.stored.size
    if not isinstance(p.announced.way, Tus) or p.upload is None or p.stored or p.end:
        return None
    return await d.store.pieces.received(p.key, p.upload)


async def _page(d: Deployment, principal: str, page: Page) -> PromiseList:
    """Open promises by puuid, beginning behind `after`, and where the next page begins."""
    puuids = await d.store.page(marker_key(principal, ""), page.after, page.limit + 1)
    room = asyncio.Semaphore(AT_ONCE)

    async def one(puuid: str) -> Promise | None:
        async with room:
            found = await read(d.store, puuid)
            # not kept: with the checksums of its parts, or the record that waits, a promise has up to two megabytes
            return describe(found, await received(d, found)) if found and _is_open(found) else None

    shown = [each for each in await asyncio.gather(*map(one, puuids[: page.limit])) if each]
    return PromiseList(shown, puuids[page.limit - 1] if len(puuids) > page.limit else None)


def _is_open(p: log.Promise) -> bool:
    """Whether its client has something left to do or to wait for; not while the request that brings it runs."""
    if p.published or p.end is not None:
        return False
    return not p.owner or p.claim is not None
