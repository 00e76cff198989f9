"""`/uploads`: resumable uploads by tus 1.0.0 (https://tus.io/protocols/resumable-upload), on promises.

Core, creation, creation-with-upload, creation-defer-length, termination, checksum (sha256, sha1) and expiration. The
id of an upload is its puuid: a record names it in its resource path, before or after the last byte has come.
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import formatdate
from functools import wraps

from inlake.errors import (
    BadParameter,
    BinaryTooLarge,
    CheckedBodyTooLarge,
    ChecksumMismatch,
    MethodNotAllowed,
    MissingParameter,
    OffsetConflict,
    TusVersionRefused,
    UnsupportedMediaType,
)
from inlake.model import PART
from inlake.promises.entries import Announced, Tus
from inlake.promises.promise import Promise
from inlake.web.openapi import answer, content, header, problems
from inlake.web.request.exchange import Exchange
from inlake.web.request.form import content_type
from inlake.web.request.route import Document, Handler
from inlake.wiring import Deployment

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,creation-defer-length,termination,checksum,expiration"
ALGORITHMS = ("sha256", "sha1")
CHUNK = "application/offset+octet-stream"
"""Media type of bytes of an upload."""
BYTES = {"type": "string", "format": "binary"}


def may_hold(x: Exchange) -> int:
    """Bytes of a part of a binary; with it comes what was kept of the part before."""
    most, length = 6 * PART, x.content_length
    return most if length is None else min(3 * length + 2 * PART, most)


def tus(handle: Handler) -> Handler:
    """The handler as one of tus: every answer says the version, also a refusal; another version is refused.

    `X-HTTP-Method-Override` names the method that is meant, for clients that cannot send others than POST.
    """

    @wraps(handle)
    async def handle_tus(x: Exchange, d: Deployment) -> None:
        x.always([(b"tus-resumable", VERSION.encode())])
        handlers = TO_UPLOAD if x.scope.get("path_params") else TO_FOLDER
        override = x.header(b"x-http-method-override").upper()
        meant = handlers.get(override) if override else handle
        if meant is None:
            allow = ", ".join(handlers)
            raise MethodNotAllowed(f"{override[:20]} is not allowed here; {allow} is.", allow=allow)
        if meant is not tell and x.header(b"tus-resumable") != VERSION:
            raise TusVersionRefused(f"The header Tus-Resumable must say {VERSION}.", tus_version=VERSION)
        await meant(x, d)

    return handle_tus


async def tell(x: Exchange, _: Deployment) -> None:
    """What the gateway can do."""
    about = {
        "tus-version": VERSION,
        "tus-extension": EXTENSIONS,
        "tus-max-size": str(x.settings.max_binary_bytes),
        "tus-checksum-algorithm": ",".join(ALGORITHMS),
    }
    await _answer(x, 204, about)


async def create(x: Exchange, d: Deployment) -> None:
    """Begin an upload, with its first bytes or without."""
    size = _announced_size(x)
    with_bytes = x.header(b"content-type") == CHUNK
    checksum = _checksum(x) if with_bytes else None
    metadata, filename, kind = _metadata(x.header(b"upload-metadata"))
    promise = d.gateway.promises.new(Announced(filename, kind, Tus(metadata), size), x.principal)
    promise = await d.uploads.create(promise, at_most=x.settings.max_binary_bytes)
    offset = 0
    if with_bytes:
        promise, offset = await _take(x, d, promise, 0, checksum)
    # relative to the address that the client has used, so that it holds behind any proxy
    folder = "" if x.scope["path"].endswith("/") else "uploads/"
    location = {"location": folder + promise.puuid}
    await _answer(x, 201, location | ({"upload-offset": str(offset)} if with_bytes else {}) | _expires(promise))


async def find_offset(x: Exchange, d: Deployment) -> None:
    """How far an upload is."""
    promise = await _find(x, d)
    answered = {"upload-offset": str(await d.uploads.offset(promise)), "cache-control": "no-store"}
    answered |= {"upload-defer-length": "1"} if promise.size is None else {"upload-length": str(promise.size)}
    way = promise.announced.way
    if isinstance(way, Tus) and way.metadata:
        answered["upload-metadata"] = way.metadata
    await _answer(x, 200, answered | _expires(promise))


async def append(x: Exchange, d: Deployment) -> None:
    """Add bytes to an upload."""
    if x.header(b"content-type") != CHUNK:
        raise UnsupportedMediaType(f"The Content-Type of a PATCH must be {CHUNK}.")
    offset = _number(x, b"upload-offset")
    if offset is None:
        raise MissingParameter("The header Upload-Offset is missing: it says where the bytes belong.")
    checksum = _checksum(x)
    promise = await _find(x, d)
    size = _number(x, b"upload-length")
    if size is not None:
        _check_size(x, size)
        promise = await d.uploads.announce(promise, size)
    promise, offset = await _take(x, d, promise, offset, checksum)
    await _answer(x, 204, {"upload-offset": str(offset)} | _expires(promise))


async def terminate(x: Exchange, d: Deployment) -> None:
    """Give an upload up."""
    await d.uploads.cancel(await _find(x, d))
    await _answer(x, 204, {})


async def refuse_post(_: Exchange, __: Deployment) -> None:
    """Any of these, for clients that cannot send other methods than POST."""
    allow = ", ".join(TO_UPLOAD)
    raise MethodNotAllowed(f"POST is not allowed here; {allow} is.", allow=allow)


TO_FOLDER: dict[str, Handler] = {"POST": create, "OPTIONS": tell}
TO_UPLOAD: dict[str, Handler] = {"HEAD": find_offset, "PATCH": append, "DELETE": terminate, "OPTIONS": tell}


async def _find(x: Exchange, d: Deployment) -> Promise:
    return await d.uploads.find(x.path_parameter("puuid"), x.principal)


async def _take(
    x: Exchange, d: Deployment, promise: Promise, offset: int, checksum: Checksum | None
) -> tuple[Promise, int]:
    """Add the body of the request."""
    whole = x.settings.max_binary_bytes if promise.size is None else promise.size
    room = whole - offset
    if room < 0:
        raise OffsetConflict(f"The upload has {whole:,} bytes in all, or fewer.")
    if (x.content_length or 0) > room:
        raise BinaryTooLarge(f"The body is longer than the {room:,} bytes that the upload has left.")
    bytes_coming = _chunks(x, room) if checksum is None else checksum.checked(x, room)
    return await d.uploads.append(promise, offset, bytes_coming)


def _announced_size(x: Exchange) -> int | None:
    """Of a new upload; None when it comes later."""
    deferred, size = x.header(b"upload-defer-length"), _number(x, b"upload-length")
    if deferred not in {"", "1"} or bool(deferred) == (size is not None):
        raise BadParameter("Give Upload-Length, the number of bytes, or Upload-Defer-Length: 1.")
    _check_size(x, size or 0)
    return size


def _check_size(x: Exchange, size: int) -> None:
    if size > x.settings.max_binary_bytes:
        raise BinaryTooLarge(f"The upload may have {x.settings.max_binary_bytes:,} bytes (INLAKE_MAX_BINARY_BYTES).")


@dataclass(frozen=True, slots=True)
class Checksum:
    """`Upload-Checksum` of a request."""

    algorithm: str
    digest: bytes

    async def checked(self, x: Exchange, room: int) -> AsyncIterator[bytes]:
        """The body, held back until all of it has come and is right: a wrong byte must not change the upload."""
        chunks, size = [], 0
        async for chunk in _chunks(x, room):
            size += len(chunk)
            if size > PART:
                raise CheckedBodyTooLarge(f"A body with Upload-Checksum may have {PART:,} bytes.", limit=PART)
            chunks.append(chunk)
        body = b"".join(chunks)
        if hashlib.new(self.algorithm, body, usedforsecurity=False).digest() != self.digest:
            raise ChecksumMismatch(f"The {self.algorithm} of the {size:,} bytes that came is another; send them again.")
        if body:
            yield body


def _checksum(x: Exchange) -> Checksum | None:
    text = x.header(b"upload-checksum")
    if not text:
        return None
    algorithm, _, value = text.partition(" ")
    if algorithm not in ALGORITHMS:
        raise BadParameter(f"The algorithm of Upload-Checksum must be one of {', '.join(ALGORITHMS)}.")
    if (x.content_length or 0) > PART:
        raise CheckedBodyTooLarge(f"A body with Upload-Checksum may have {PART:,} bytes.", limit=PART)
    return Checksum(algorithm, _decoded(value, "Upload-Checksum"))


async def _chunks(x: Exchange, room: int) -> AsyncIterator[bytes]:
    """The body as it comes, up to `room` bytes; what comes beyond them is an error, and they are kept."""
    while chunk := await x.next_chunk():
        x.site.binary_bytes.value += len(chunk)
        if len(chunk) > room:
            if room:
                yield chunk[:room]
            raise BinaryTooLarge("The body is longer than what the upload has left; that much of it was taken.")
        room -= len(chunk)
        yield chunk


def _metadata(text: str) -> tuple[str, str, str]:
    """The metadata as sent, and the filename and the type in it. Raises `BadParameter`."""
    if not (text.isascii() and (text.isprintable() or not text)):
        raise BadParameter("Upload-Metadata must be ASCII: each key, a space, and its value in Base64.")
    values: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        key, _, value = pair.partition(" ")
        if key in values:
            raise BadParameter(f"Upload-Metadata has the key {key[:100]!r} twice.")
        values[key] = _decoded(value, "Upload-Metadata").decode(errors="replace")
    name = values.get("filename") or values.get("name") or ""
    return text, name, content_type(values.get("filetype") or values.get("type"))


def _decoded(value: str, header: str) -> bytes:
    try:
        return b64decode(value.strip(), validate=True)
    except binascii.Error:
        raise BadParameter(f"{header} has a value that is not Base64: {value[:100]!r}.") from None


def _number(x: Exchange, name: bytes) -> int | None:
    """A header that holds a number of bytes; None when it is absent. Raises `BadParameter`."""
    text = x.header(name)
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise BadParameter(f"{name.decode().title()} is {text[:30]!r}, and must be a whole number from 0.")
    return int(text)


def _expires(promise: Promise) -> dict[str, str]:
    """Until when an unfinished upload is kept; RFC 9110, 5.6.7."""
    return {} if promise.stored else {"upload-expires": formatdate(promise.expires, usegmt=True)}


async def _answer(x: Exchange, status: int, headers: dict[str, str]) -> None:
    await x.reply_without_body(status, [(name.encode(), value.encode()) for name, value in headers.items()])


def _operation(
    status: int, answered: tuple[str, ...], asked: tuple[str, ...], *refusals: int, body: bool = False
) -> Document:
    document = {
        "tags": ["uploads"],
        "externalDocs": {"description": "tus 1.0.0", "url": "https://tus.io/protocols/resumable-upload"},
        "parameters": [_header(name) for name in asked],
        "responses": {
            str(status): answer("Done.", headers={name: HEADERS[name] for name in answered}),
            **problems(*refusals),
        },
    }
    return document | ({"requestBody": {"content": content(CHUNK, BYTES)}} if body else {})


def _header(name: str) -> Document:
    asked = header(name, HEADERS[name], required=name == "Tus-Resumable")
    return asked | ({"example": EXAMPLES[name]} if name in EXAMPLES else {})


HEADERS = {
    "Tus-Resumable": "1.0.0",
    "Tus-Version": "1.0.0",
    "Tus-Extension": EXTENSIONS,
    "Tus-Max-Size": "Bytes of the largest upload.",
    "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
    "Upload-Offset": "Bytes that are held.",
    "Upload-Length": "Bytes of the whole.",
    "Upload-Defer-Length": "1 when the length comes later.",
    "Upload-Metadata": "Keys, each with a value in Base64, between commas: `filename` and `filetype` name the object.",
    "Upload-Checksum": "An algorithm, a space, and the checksum of the body in Base64.",
    "Upload-Expires": "Until when an unfinished upload is kept.",
    "X-HTTP-Method-Override": "The method that is meant: HEAD (then the answer is 200), PATCH, DELETE, OPTIONS.",
    "Location": "Where the upload is, relative to the address used here; the last segment is the puuid.",
}
EXAMPLES = {
    "Tus-Resumable": VERSION,
    "Upload-Offset": "0",
    "Upload-Length": "330624",
    "Upload-Metadata": "filename c3BvdC5vYmo=,filetype bW9kZWwvb2Jq",
}
_ASKED = ("Tus-Resumable", "Upload-Length", "Upload-Defer-Length", "Upload-Metadata", "Upload-Checksum")
_TOLD = ("Tus-Version", "Tus-Extension", "Tus-Max-Size", "Tus-Checksum-Algorithm")
_REFUSED = (400, 401, 403, 404, 408, 409, 410, 412, 413, 415, 423, 460, 503, 507)
CREATE = _operation(201, ("Location", "Upload-Offset", "Upload-Expires"), _ASKED, *_REFUSED, body=True)
TELL = _operation(204, _TOLD, (), 401, 403, 503)
FIND = _operation(
    200,
    ("Upload-Offset", "Upload-Length", "Upload-Defer-Length", "Upload-Metadata", "Upload-Expires"),
    ("Tus-Resumable",),
    *(401, 403, 404, 410, 412, 423, 503),
)
APPEND = _operation(
    204,
    ("Upload-Offset", "Upload-Expires"),
    ("Tus-Resumable", "Upload-Offset", "Upload-Length", "Upload-Checksum"),
    *_REFUSED,
    body=True,
)
TERMINATE = _operation(204, (), ("Tus-Resumable",), 401, 403, 404, 409, 410, 412, 503)
OVERRIDDEN = _operation(
    204,
    ("Upload-Offset", "Upload-Expires"),
    ("Tus-Resumable", "X-HTTP-Method-Override", "Upload-Offset", "Upload-Length", "Upload-Checksum"),
    *(405, *_REFUSED),
    body=True,
)
