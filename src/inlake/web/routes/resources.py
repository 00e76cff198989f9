"""`GET /resources/{puuid}`: the bytes of an object, for the principal that sent them."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from inlake.errors import DirectUploadNotAvailable, PromiseExpired, PromiseNotFound, RangeNotSatisfiable
from inlake.model import StoredObject
from inlake.promises.places import promise_named
from inlake.promises.promise import read
from inlake.web.openapi import problems
from inlake.web.request.digests import digest_field
from inlake.wiring import Deployment

_BYTES = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The object.", "content": _BYTES},
    206: {"description": "The range of bytes that the header `Range` asks for.", "content": _BYTES},
    304: {"description": "The object that `If-None-Match` names."},
    307: {"description": "With `INLAKE_RESOURCE_REDIRECT`: where the store itself sends it, for a minute."},
    **problems(401, 403, 404, 410, 416, 503),
}
SIGNED_SECONDS = 60
"""A client follows a redirect at once; what it reads then may take longer."""
FILENAME_LENGTH = 200
"""Characters: each has up to 12 in the header, and up to 20 in a signed URL; clients and S3 read 8 KiB."""
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


def resource_routes(d: Deployment) -> APIRouter:
    """The route, for GET and HEAD."""
    router = APIRouter()

    @router.get("/resources/{puuid}", tags=["resources"], response_class=Response, responses=RESPONSES)
    @router.head("/resources/{puuid}", include_in_schema=False)
    async def resource(puuid: str, request: Request) -> Response:
        """The object of a promise, whole or one range of bytes; always as a download, never to run in a browser."""
        stored, key = await _find(d, puuid, request.scope["principal"])
        # a URL is signed for one method: HEAD is answered here
        if d.settings.resource_redirect and request.method == "GET" and (url := await _signed(d, stored, key)):
            return Response(status_code=307, headers={"location": url, "cache-control": "no-store"})
        etag, digest = f'"{stored.sha256}"', digest_field(stored.sha256)
        headers = {
            "content-type": stored.content_type,  # and no charset that the client did not give
            "etag": etag,
            "repr-digest": digest,
            "accept-ranges": "bytes",
            "content-disposition": _disposition(stored),
            # an uploaded HTML or SVG must not run on our origin
            "x-content-type-options": "nosniff",
            "content-security-policy": "sandbox; default-src 'none'",
            "cache-control": "private",
        }
        if _is_known(request.headers.get("if-none-match", ""), etag):
            return Response(status_code=304, headers=headers)
        status, start, end = 200, 0, stored.size
        if request.headers.get("if-range", etag) == etag and (wanted := request.headers.get("range")):
            status, start, end = _range(wanted, stored.size)
        headers["content-length"] = str(end - start)
        if status == 206:
            headers["content-range"] = f"bytes {start}-{end - 1}/{stored.size}"
        else:
            headers["content-digest"] = digest
        if request.method == "HEAD" or start == end:
            return Response(status_code=status, headers=headers)
        body = d.store.read(key, start, end)
        first = await anext(body)  # a store that is away is 503, and not an answer that breaks off
        return _Bounded(_chain(first, body), status, headers, seconds=d.settings.body_idle_seconds)

    return router


class _Bounded(StreamingResponse):
    """A stream whose reader is cut off when it takes nothing for a while."""

    def __init__(self, body: AsyncIterator[bytes], status: int, headers: dict[str, str], *, seconds: float) -> None:
        super().__init__(body, status, headers)
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        cut = False

        async def bounded(message: Message) -> None:
            nonlocal cut
            try:
                async with asyncio.timeout(self._seconds):
                    await send(message)
            except TimeoutError:
                cut = True
                raise

        try:
            await super().__call__(scope, receive, bounded)
        except Exception:
            if not cut:
                raise


def _disposition(stored: StoredObject) -> str:
    name = stored.filename[-FILENAME_LENGTH:] or "binary"
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"


async def _signed(d: Deployment, stored: StoredObject, key: str) -> str | None:
    """A URL with which the client reads the object from the store itself; None where there is no such thing."""
    if d.store.direct is None:
        return None
    try:
        signed = await d.store.direct.sign_get(
            key,
            content_type=stored.content_type,
            disposition=_disposition(stored),
            expires=time.time() + SIGNED_SECONDS,
        )
    except DirectUploadNotAvailable:
        return None
    return signed.url


async def _find(d: Deployment, puuid: str, principal: str) -> tuple[StoredObject, str]:
    """The object and its key in the store."""
    promise = await read(d.store, puuid) if promise_named(puuid) == puuid else None
    if promise is None or promise.principal != principal:
        raise PromiseNotFound("There is no such object, or it is another principal's.")
    if promise.end is not None:
        raise PromiseExpired("The object was given up.")
    if promise.stored is None:
        raise PromiseNotFound(f"The object is not complete yet: GET /promises/{puuid} tells how far it is.")
    return promise.stored, promise.key


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


def _is_known(tags: str, etag: str) -> bool:
    """Whether `If-None-Match` names the object (RFC 9110, 13.1.2); a proxy may have made the tag a weak one."""
    return tags.strip() == "*" or etag in {tag.strip().removeprefix("W/") for tag in tags.split(",")}


def _range(text: str, size: int) -> tuple[int, int, int]:
    """Status, start and end of a `Range` (RFC 9110, 14.1.2). What is not one range of bytes is ignored, as it says."""
    match = _RANGE.fullmatch(text.strip())
    if not match or not (match[1] or match[2]):
        return 200, 0, size
    if match[1]:
        start, end = int(match[1]), min(int(match[2]) + 1 if match[2] else size, size)
        if match[2] and int(match[2]) < start:
            return 200, 0, size
    else:
        start, end = max(size - int(match[2]), 0), size
    if start >= end:
        raise RangeNotSatisfiable(f"The object has {size:,} bytes.", content_range=f"bytes */{size}")
    return 206, start, end
