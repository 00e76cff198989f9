"""`/promises`: how a binary and its record, sent apart, are getting on; and giving them up."""

from __future__ import annotations

import asyncio
import heapq
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from inlake.errors import Forbidden, PromiseExpired
from inlake.model import ANONYMOUS
from inlake.promises.entries import Tus
from inlake.promises.promise import Promise, marker_key, read
from inlake.web.components import ref
from inlake.web.openapi import PROMISE, problems
from inlake.wiring import Deployment

PAGE = {"promises": [PROMISE], "next": None}
AT_ONCE = 16
"""Logs that are read at the same time for one list."""


def promise_routes(d: Deployment) -> APIRouter:
    """`GET /promises`, `GET` and `DELETE /promises/{puuid}`."""
    router = APIRouter(tags=["promises"])
    promises = d.gateway.promises

    @router.get("/promises", responses=_documented("PromiseList", PAGE, 400, 401, 403, 503))
    async def own(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=1_000, description="Most promises in one answer.")] = 100,
        after: Annotated[str, Query(max_length=36, description="`next` of the answer before.")] = "",
    ) -> Response:
        """One's own promises that wait for their binary or their record, a page at a time."""
        principal = request.scope["principal"]
        if principal == ANONYMOUS and d.settings.allow_anonymous:
            raise Forbidden(
                "Anonymous clients are not told apart, so nobody has a list: keep the puuid, or use an API key."
            )
        found, following = await _page(d, principal, after, limit)
        return _json({"promises": found, "next": following})

    @router.get("/promises/{puuid}", responses=_documented("Promise", PROMISE, 401, 403, 404, 410, 503))
    async def promise(puuid: str, request: Request) -> Response:
        """One promise: its state, the bytes received, and the receipt once its event is published."""
        found = await promises.find(puuid, request.scope["principal"])
        if found.state == "expired":
            raise PromiseExpired(f"The promise {found} has expired: {found.reason}.", puuid=puuid, state="expired")
        done = await d.direct.parts_done(found)
        told = describe(found, sum(part.size for part in done) or await _received(d, found))
        return _json({**told, "parts_done": [part._asdict() for part in done]} if done else told)

    @router.delete(
        "/promises/{puuid}",
        status_code=204,
        response_class=Response,
        responses={204: {"description": "Given up."}, **problems(401, 403, 404, 409, 503)},
    )
    async def cancel(puuid: str, request: Request) -> Response:
        """Give a promise up: its object goes. Not once a record has claimed it and it is stored."""
        found = await promises.find(puuid, request.scope["principal"])
        by_tus = isinstance(found.announced.way, Tus)  # then its writer is stopped too
        await (d.uploads if by_tus else promises).cancel(found)
        return Response(status_code=204)

    return router


def describe(promise: Promise, received: int | None = None) -> dict[str, Any]:
    """A promise as its client sees it; `received`: bytes, where the store knows better than the log."""
    stored, announced = promise.stored, promise.announced
    waits = promise.end is None and not (stored and promise.claim)
    return {
        "puuid": promise.puuid,
        "state": promise.state,
        "way": announced.way.name,
        "received": stored.size if stored else max(received or 0, promise.received),
        "size": stored.size if stored else announced.size,
        "sha256": stored.sha256 if stored else announced.sha256,
        "content_type": announced.content_type,
        "filename": announced.filename,
        "expires_at": promise.expires_at if waits else None,
        "reason": promise.reason or None,
        "receipt": promise.receipt,
    }


async def _received(d: Deployment, promise: Promise) -> int | None:
    """Bytes that the store holds of an upload in pieces."""
    if not isinstance(promise.announced.way, Tus) or promise.upload is None or promise.stored or promise.end:
        return None
    return await d.store.pieces.received(promise.key, promise.upload)


async def _page(d: Deployment, principal: str, after: str, limit: int) -> tuple[list[dict[str, Any]], str | None]:
    """Open promises by puuid, beginning behind `after`, and where the next page begins."""
    marks = [key.rpartition("/")[2] async for key in d.store.list(marker_key(principal, ""))]
    puuids = heapq.nsmallest(limit + 1, (puuid for puuid in marks if puuid > after))
    room = asyncio.Semaphore(AT_ONCE)

    async def one(puuid: str) -> dict[str, Any] | None:
        async with room:
            promise = await read(d.store, puuid)
            # not kept: with the checksums of its parts, or the record that waits, a promise has up to two megabytes
            return describe(promise) if promise and _is_open(promise) else None

    found = [promise for promise in await asyncio.gather(*map(one, puuids[:limit])) if promise]
    return found, puuids[limit - 1] if len(puuids) > limit else None


def _is_open(promise: Promise) -> bool:
    """Whether its client has something left to do or to wait for; not while the request that brings it runs."""
    if promise.published or promise.end is not None:
        return False
    return not promise.owner or promise.claim is not None


def _documented(shape: str, example: object, *errors: int) -> dict[int | str, dict[str, Any]]:
    content = {"application/json": {"schema": ref(shape), "example": example}}
    return {200: {"description": "As it stands now.", "content": content}, **problems(*errors)}


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), 200, None, "application/json")
