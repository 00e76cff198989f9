"""`GET /resources/{puuid}`: the bytes of an object, for the principal that sent them."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Literal
from urllib.parse import quote

from msgspec import Struct

from inlake.errors import (
    DirectUploadNotAvailable,
    ObjectChanged,
    PreconditionFailed,
    PromiseExpired,
    PromiseNotFound,
    RangeNotSatisfiable,
)
from inlake.model import StoredObject
from inlake.ports import Store
from inlake.promises.places import promise_named
from inlake.promises.promise import read
from inlake.promises.shipments.entries import is_of_shipment
from inlake.web.openapi import answer, content, operation, parameters, problems
from inlake.web.request.digests import digest_field
from inlake.web.request.exchange import ClientGoneError, Exchange
from inlake.web.request.query import query
from inlake.wiring import Deployment

BYTES = {"type": "string", "format": "binary"}
RESOURCE = operation(
    "resources",
    {
        200: answer("The object.", content("*/*", BYTES)),
        206: answer("The range of bytes that the header `Range` asks for.", content("*/*", BYTES)),
        304: answer("The object that `If-None-Match` names."),
        307: answer("With `INLAKE_RESOURCE_REDIRECT`: where the store itself sends it, for a minute."),
    },
    problems(401, 403, 404, 409, 410, 412, 416, 503),
)


class Sized(Struct):
    """The query for a preview."""

    size: Literal["small", "large"] = "large"
    """At most 160 or 1,200 pixels wide and high."""


PREVIEW = operation(
    "resources",
    {
        200: answer("A JPEG of the object: the picture, or the first page of the PDF.", content("image/jpeg", BYTES)),
        304: answer("The preview that `If-None-Match` names."),
    },
    problems(400, 401, 403, 404, 409, 410, 503),
    asks=parameters(Sized),
)
SIGNED_SECONDS = 60
"""A client follows a redirect at once; what it reads then may take longer."""
FILENAME_LENGTH = 200
"""Characters: each has up to 12 in the header, and up to 20 in a signed URL; clients and S3 read 8 KiB."""
SECURED = {"x-content-type-options": "nosniff", "content-security-policy": "sandbox; default-src 'none'"}
"""An uploaded HTML or SVG must not run on our origin."""
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.IGNORECASE)


async def resource(x: Exchange, d: Deployment) -> None:
    """The object of a promise, whole or one range of bytes; always as a download, never to run in a browser."""
    stored, store, key = await open_object(d, x.path_parameter("puuid"), x.principal)
    # a URL is signed for one method: HEAD is answered here
    is_get = x.scope["method"] == "GET"
    if d.settings.resource_redirect and is_get and (url := await _signed(store, stored, key)):
        await x.reply_without_body(307, [(b"location", url.encode()), (b"cache-control", b"no-store")])
        return
    headers = _headers(stored)
    if x.has(b"if-match") and not _is_known(x.all(b"if-match"), headers["etag"], weakly=False):
        raise PreconditionFailed("The object is another than the one that If-Match names.")
    if _is_known(x.all(b"if-none-match"), headers["etag"]):
        await x.reply_without_body(304, _encoded(headers))
        return
    status, start, end = 200, 0, stored.size
    wanted = x.header(b"range")
    if is_get and wanted and (x.header(b"if-range") or headers["etag"]) == headers["etag"]:
        status, start, end = _range(wanted, stored.size)
    headers["content-length"] = str(end - start)
    if status == 206:
        headers["content-range"] = f"bytes {start}-{end - 1}/{stored.size}"
    else:
        headers["content-digest"] = headers["repr-digest"]
    if not is_get or start == end:
        await x.start(status, _encoded(headers))
        await x.write(b"", more=False)
        return
    body = store.read(key, start, end)
    first = await anext(body)  # a store that is away is 503, and not an answer that breaks off
    await x.start(status, _encoded(headers))
    await _send(x, first, body)


async def preview(x: Exchange, d: Deployment) -> None:
    """A picture of the object, for a page: `size=large`, or `small`, for a list. Rights are those of the object."""
    size = query(x, Sized).size
    stored, store, key = await open_object(d, x.path_parameter("puuid"), x.principal)
    etag = f'"preview-{size}-{stored.sha256[:32]}"'
    headers = {"etag": etag, **SECURED, "cache-control": "private, max-age=3600"}
    if _is_known(x.all(b"if-none-match"), etag):
        await x.reply_without_body(304, _encoded(headers))
        return
    found = await d.previews.find(stored, store, key)
    await x.reply(200, found.large if size == "large" else found.small, b"image/jpeg", _encoded(headers))


async def _send(x: Exchange, first: bytes, rest: AsyncIterator[bytes]) -> None:
    """The bytes. A client that takes nothing for a while is cut off: `ClientGoneError`."""
    try:
        async with asyncio.timeout(x.settings.body_idle_seconds):
            await x.write(first, more=True)
        async for chunk in rest:
            async with asyncio.timeout(x.settings.body_idle_seconds):
                await x.write(chunk, more=True)
    except TimeoutError:
        raise ClientGoneError from None
    await x.write(b"", more=False)


def _headers(stored: StoredObject) -> dict[str, str]:
    return {
        "content-type": stored.content_type,  # and no charset that the client did not give
        "etag": f'"{stored.sha256}"',
        "repr-digest": digest_field(stored.sha256),
        "accept-ranges": "bytes",
        "content-disposition": _disposition(stored),
        **SECURED,
        "cache-control": "private",
    }


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


def _disposition(stored: StoredObject) -> str:
    name = stored.filename[-FILENAME_LENGTH:] or "binary"
    plain = re.sub(r"[^ !#-$&-\[\]-~]", "_", name)  # a % would be taken for a code
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


async def _signed(store: Store, stored: StoredObject, key: str) -> str | None:
    """A URL with which the client reads the object from the store itself; None where there is no such thing."""
    if store.direct is None:
        return None
    try:
        signed = await store.direct.sign_get(
            key,
            content_type=stored.content_type,
            disposition=_disposition(stored),
            expires=time.time() + SIGNED_SECONDS,
        )
    except DirectUploadNotAvailable:
        return None
    return signed.url


async def open_object(d: Deployment, puuid: str, principal: str) -> tuple[StoredObject, Store, str]:
    """The object, the store that has it, and its key there."""
    if is_of_shipment(puuid) and (found := await d.shipments.find_line(puuid, principal)):
        shipment, file = found
        state, key = shipment.state_of(file.line), file.key
        if state in {"failed", "expired"}:
            raise PromiseExpired("The object was given up.")
        stored = file.stored(d.store.uri("-").removesuffix("-"))
        if file.in_place:
            if not await d.shipments.in_place.is_same(file.in_place.uri, file.in_place.etag):
                raise ObjectChanged(f"What stands at {file.in_place.uri} is not what the event names, or is gone.")
            return stored, *d.shipments.in_place.reader(file.in_place.uri)
        if await d.store.head(key) != file.size:
            raise PromiseNotFound(f"The object is not complete yet: GET /promises/{puuid} tells how far it is.")
        return stored, d.store, key
    promise = await read(d.store, puuid) if promise_named(puuid) == puuid else None
    if promise is None or promise.principal != principal:
        raise PromiseNotFound("There is no such object, or it is another principal's.")
    if promise.end is not None:
        raise PromiseExpired("The object was given up.")
    if promise.stored is None:
        raise PromiseNotFound(f"The object is not complete yet: GET /promises/{puuid} tells how far it is.")
    return promise.stored, d.store, promise.key


def _is_known(tags: str, etag: str, *, weakly: bool = True) -> bool:
    """Whether a list of tags has the object's (RFC 9110, 13.1); a proxy may have made a tag in it a weak one."""
    named = {tag.strip().removeprefix("W/" if weakly else "") for tag in tags.split(",")}
    return tags.strip() == "*" or etag in named


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
