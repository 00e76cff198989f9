"""`/uploads`: resumable uploads by tus 1.0.0 (https://tus.io/protocols/resumable-upload), on promises.

Core, creation, creation-with-upload, creation-defer-length, termination, checksum (sha256, sha1) and expiration. The
id of an upload is its puuid: a record names it in its resource path, before or after the last byte has come.
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

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
from inlake.gateway import Gateway
from inlake.model import PART
from inlake.promises import entries
from inlake.promises.entries import Announced
from inlake.promises.promise import Promise
from inlake.web.openapi import problems
from inlake.web.request.admission import PIECE
from inlake.web.request.exchange import Exchange
from inlake.web.request.form import content_type
from inlake.wiring import Deployment

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,creation-defer-length,termination,checksum,expiration"
ALGORITHMS = ("sha256", "sha1")
FOLDER, UPLOAD = "/uploads", "/uploads/{puuid}"
Handler = Callable[[Exchange], Awaitable[None]]


class Tus:
    """The protocol: headers in, headers out. What an upload is and where its bytes go, `Uploads` knows."""

    def __init__(self, d: Deployment) -> None:
        self._uploads, self._promises = d.uploads, d.gateway.promises
        self._most = d.settings.max_binary_bytes
        self._to_folder: dict[str, Handler] = {"POST": self._create, "OPTIONS": self._tell}
        self._to_upload: dict[str, Handler] = {
            "HEAD": self._offset,
            "PATCH": self._append,
            "DELETE": self._terminate,
            "OPTIONS": self._tell,
        }

    async def handle(self, x: Exchange, _: Gateway) -> None:
        """Any request to `/uploads` or below it. Every answer says the version, also a refusal."""
        x.always([(b"tus-resumable", VERSION.encode())])
        method = x.header(b"x-http-method-override").upper() or x.scope["method"]
        handlers = self._to_upload if "puuid" in x.scope["path_params"] else self._to_folder
        if method not in handlers:
            allow = ", ".join(handlers)
            raise MethodNotAllowed(f"{method[:20]} is not allowed here; {allow} is.", allow=allow)
        if method != "OPTIONS" and x.header(b"tus-resumable") != VERSION:
            raise TusVersionRefused(f"The header Tus-Resumable must say {VERSION}.", tus_version=VERSION)
        await handlers[method](x)

    async def _tell(self, x: Exchange) -> None:
        about = {
            "tus-version": VERSION,
            "tus-extension": EXTENSIONS,
            "tus-max-size": str(self._most),
            "tus-checksum-algorithm": ",".join(ALGORITHMS),
        }
        await _answer(x, 204, about)

    async def _create(self, x: Exchange) -> None:
        """Creation, with or without the first bytes."""
        size = self._announced_size(x)
        with_bytes = x.header(b"content-type") == PIECE
        checksum = _checksum(x) if with_bytes else None
        metadata, filename, kind = _metadata(x.header(b"upload-metadata"))
        promise = self._promises.new(Announced(filename, kind, entries.Tus(metadata), size), x.principal)
        promise = await self._uploads.create(promise, at_most=self._most)
        offset = 0
        if with_bytes:
            promise, offset = await self._take(x, promise, 0, checksum)
        # relative to the address that the client has used, so that it holds behind any proxy
        folder = "" if x.scope["path"].endswith("/") else "uploads/"
        location = {"location": folder + promise.puuid}
        await _answer(x, 201, location | ({"upload-offset": str(offset)} if with_bytes else {}) | _expires(promise))

    async def _offset(self, x: Exchange) -> None:
        promise = await self._find(x)
        answer = {"upload-offset": str(await self._uploads.offset(promise)), "cache-control": "no-store"}
        answer |= {"upload-defer-length": "1"} if promise.size is None else {"upload-length": str(promise.size)}
        way = promise.announced.way
        if isinstance(way, entries.Tus) and way.metadata:
            answer["upload-metadata"] = way.metadata
        await _answer(x, 200, answer | _expires(promise))

    async def _append(self, x: Exchange) -> None:
        if x.header(b"content-type") != PIECE:
            raise UnsupportedMediaType(f"The Content-Type of a PATCH must be {PIECE}.")
        offset = _number(x, b"upload-offset")
        if offset is None:
            raise MissingParameter("The header Upload-Offset is missing: it says where the bytes belong.")
        checksum = _checksum(x)
        promise = await self._find(x)
        size = _number(x, b"upload-length")
        if size is not None:
            self._check_size(size)
            promise = await self._uploads.announce(promise, size)
        promise, offset = await self._take(x, promise, offset, checksum)
        await _answer(x, 204, {"upload-offset": str(offset)} | _expires(promise))

    async def _terminate(self, x: Exchange) -> None:
        await self._uploads.cancel(await self._find(x))
        await _answer(x, 204, {})

    async def _find(self, x: Exchange) -> Promise:
        return await self._uploads.find(x.scope["path_params"]["puuid"], x.principal)

    async def _take(self, x: Exchange, promise: Promise, offset: int, checksum: Checksum | None) -> tuple[Promise, int]:
        """Add the body of the request."""
        whole = self._most if promise.size is None else promise.size
        room = whole - offset
        if room < 0:
            raise OffsetConflict(f"The upload has {whole:,} bytes in all, or fewer.")
        if (x.content_length or 0) > room:
            raise BinaryTooLarge(f"The body is longer than the {room:,} bytes that the upload has left.")
        bytes_coming = _pieces(x, room) if checksum is None else checksum.checked(x, room)
        return await self._uploads.append(promise, offset, bytes_coming)

    def _announced_size(self, x: Exchange) -> int | None:
        """Of a new upload; None when it comes later."""
        deferred, size = x.header(b"upload-defer-length"), _number(x, b"upload-length")
        if deferred not in {"", "1"} or bool(deferred) == (size is not None):
            raise BadParameter("Give Upload-Length, the number of bytes, or Upload-Defer-Length: 1.")
        self._check_size(size or 0)
        return size

    def _check_size(self, size: int) -> None:
        if size > self._most:
            raise BinaryTooLarge(f"The upload may have {self._most:,} bytes (INLAKE_MAX_BINARY_BYTES).")


@dataclass(frozen=True, slots=True)
class Checksum:
    """`Upload-Checksum` of a request."""

    algorithm: str
    digest: bytes

    async def checked(self, x: Exchange, room: int) -> AsyncIterator[bytes]:
        """The body, held back until all of it has come and is right: a wrong byte must not change the upload."""
        pieces, size = [], 0
        async for piece in _pieces(x, room):
            size += len(piece)
            if size > PART:
                raise CheckedBodyTooLarge(f"A body with Upload-Checksum may have {PART:,} bytes.", limit=PART)
            pieces.append(piece)
        body = b"".join(pieces)
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


async def _pieces(x: Exchange, room: int) -> AsyncIterator[bytes]:
    """The body as it comes, up to `room` bytes; what comes beyond them is an error, and they are kept."""
    while piece := await x.next_chunk():
        x.site.binary_bytes.value += len(piece)
        if len(piece) > room:
            if room:
                yield piece[:room]
            raise BinaryTooLarge("The body is longer than what the upload has left; that much of it was taken.")
        room -= len(piece)
        yield piece


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
    length = {} if status == 204 else {"content-length": "0"}
    await x.start(status, [(name.encode(), value.encode()) for name, value in (headers | length).items()])
    await x.write(b"", more=False)


def _parameters(*names: str) -> list[dict[str, Any]]:
    """Headers of a request, each with what it holds."""
    return [
        {
            "name": name,
            "in": "header",
            "required": name == "Tus-Resumable",
            "description": HEADERS[name],
            "schema": {"type": "string", "enum": [VERSION]} if name == "Tus-Resumable" else {"type": "string"},
            **({"example": EXAMPLES[name]} if name in EXAMPLES else {}),
        }
        for name in names
    ]


def _operation(
    summary: str, status: int, answered: tuple[str, ...], asked: tuple[str, ...], *refusals: int, body: bool = False
) -> dict[str, Any]:
    headers = {name: {"description": HEADERS[name], "schema": {"type": "string"}} for name in answered}
    content = {"content": {PIECE: {"schema": {"type": "string", "format": "binary"}}}}
    return {
        "description": f"{summary}.\n\ntus 1.0.0: https://tus.io/protocols/resumable-upload",
        "tags": ["uploads"],
        "parameters": _parameters(*asked),
        **({"requestBody": content} if body else {}),
        "responses": {str(status): {"description": "Done.", "headers": headers}, **problems(*refusals)},
    }


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
OPERATIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", FOLDER): _operation(
        "Begin an upload", 201, ("Location", "Upload-Offset", "Upload-Expires"), _ASKED, *_REFUSED, body=True
    ),
    ("OPTIONS", FOLDER): _operation("What the gateway can do", 204, _TOLD, (), 401, 403, 503),
    ("HEAD", UPLOAD): _operation(
        "How far an upload is",
        200,
        ("Upload-Offset", "Upload-Length", "Upload-Defer-Length", "Upload-Metadata", "Upload-Expires"),
        ("Tus-Resumable",),
        *(401, 403, 404, 410, 412, 423, 503),
    ),
    ("PATCH", UPLOAD): _operation(
        "Add bytes to an upload",
        204,
        ("Upload-Offset", "Upload-Expires"),
        ("Tus-Resumable", "Upload-Offset", "Upload-Length", "Upload-Checksum"),
        *_REFUSED,
        body=True,
    ),
    ("DELETE", UPLOAD): _operation("Give an upload up", 204, (), ("Tus-Resumable",), 401, 403, 404, 409, 410, 412, 503),
    ("OPTIONS", UPLOAD): _operation("What the gateway can do", 204, _TOLD, (), 401, 403, 503),
    ("POST", UPLOAD): _operation(
        "Any of these, for clients that cannot send other methods than POST",
        204,
        ("Upload-Offset", "Upload-Expires"),
        ("Tus-Resumable", "X-HTTP-Method-Override", "Upload-Offset", "Upload-Length", "Upload-Checksum"),
        *(405, *_REFUSED),
        body=True,
    ),
}
