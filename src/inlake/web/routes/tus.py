"""`/uploads`: resumable uploads by tus 1.0.0 (https://tus.io/protocols/resumable-upload), on promises.

Core, creation, creation-with-upload, creation-defer-length, termination, checksum (sha256, sha1; in a
trailer too), expiration and concatenation. The id of an upload is its puuid: a record names it in its resource path,
before or after the last byte has come.
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import formatdate
from functools import wraps

from msgspec import structs

from inlake.errors import (
    BadParameter,
    BinaryTooLarge,
    CheckedBodyTooLarge,
    ChecksumMismatch,
    Forbidden,
    MethodNotAllowed,
    MissingParameter,
    OffsetConflict,
    TusVersionRefused,
    UnsupportedMediaType,
)
from inlake.model import PART
from inlake.promises.entries import Promised, Tus
from inlake.promises.promise import Promise
from inlake.web.openapi import answer, content, header, problems
from inlake.web.request.exchange import Exchange
from inlake.web.request.form import content_type
from inlake.web.request.route import Document, Handler
from inlake.wiring import Deployment

VERSION = "1.0.0"
EXTENSIONS = (
    "creation,creation-with-upload,creation-defer-length,termination,checksum,checksum-trailer,expiration,concatenation"
)
PARTIALS = 1_000
"""Most uploads that are made one."""
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
        if meant is not handle and x.scope["method"] != "POST":  # it was not admitted as what it means
            raise MethodNotAllowed("A POST may name another method, and no other may.", allow=", ".join(handlers))
        if meant is not tell and x.header(b"tus-resumable") != VERSION:
            raise TusVersionRefused(f"The header Tus-Resumable must say {VERSION}.", tus_version=VERSION)
        await meant(x, d)

    return handle_tus


async def tell(x: Exchange, _: Deployment) -> None:
    """The gateway's version of tus and its extensions."""
    about = {
        "tus-version": VERSION,
        "tus-extension": EXTENSIONS,
        "tus-max-size": str(x.settings.max_binary_bytes),
        "tus-checksum-algorithm": ",".join(ALGORITHMS),
    }
    await _answer(x, 204, about)


async def create(x: Exchange, d: Deployment) -> None:
    """Begin an upload, with its first bytes or without."""
    with_bytes = x.header(b"content-type") == CHUNK
    if x.has_body() and not with_bytes:
        raise UnsupportedMediaType(f"The Content-Type of the first bytes of an upload must be {CHUNK}.")
    metadata, filename, kind = _metadata(x.header(b"upload-metadata"))
    way = Tus(metadata, x.header(b"upload-concat"))
    if way.concat.startswith("final"):
        await _concatenate(x, d, Promised(filename, kind, way))
        return
    if way.concat not in {"", "partial"}:
        raise BadParameter("Upload-Concat must be partial, or final; and the addresses of partial uploads.")
    size = _announced_size(x)
    if with_bytes:
        _checksum(x)  # refused before there is an upload
    promise = d.gateway.promises.new(Promised(filename, kind, way, size), x.principal)
    promise = await d.uploads.create(promise, at_most=x.settings.max_binary_bytes)
    offset = 0
    if with_bytes:
        promise, offset = await _take(x, d, promise, 0)
    told = {"location": x.address(f"/uploads/{promise.puuid}")}
    await _answer(x, 201, told | ({"upload-offset": str(offset)} if with_bytes else {}) | _expires(promise))


async def _concatenate(x: Exchange, d: Deployment, announced: Promised) -> None:
    """Make one upload of complete ones. They stay until they expire: the request may have to be sent again."""
    assert isinstance(announced.way, Tus)
    _, semicolon, addresses = announced.way.concat.partition(";")
    puuids = [address.rpartition("/")[2] for address in addresses.split()]
    if not (semicolon and puuids) or x.has(b"upload-length") or x.has(b"upload-defer-length"):
        raise BadParameter("Give Upload-Concat: final; and the addresses of partial uploads, and no Upload-Length.")
    if len(puuids) > PARTIALS:
        raise BadParameter(f"An upload is made of {PARTIALS:,} partial ones at most.")
    partials = [await d.uploads.find(puuid, x.principal) for puuid in puuids]
    sizes = [partial.stored.size for partial in partials if partial.stored and _concat(partial) == "partial"]
    if len(sizes) < len(partials):
        raise BadParameter("An upload can be made of partial uploads that are complete, and of no others.")
    _check_size(x, sum(sizes))
    announced = structs.replace(announced, size=sum(sizes))
    promise = await d.uploads.concatenate(d.gateway.promises.new(announced, x.principal), partials)
    await _answer(x, 201, {"location": x.address(f"/uploads/{promise.puuid}")} | _expires(promise))


def _concat(promise: Promise) -> str:
    way = promise.announced.way
    return way.concat if isinstance(way, Tus) else ""


async def find_offset(x: Exchange, d: Deployment) -> None:
    """How far an upload is."""
    promise = await _find(x, d)
    answered = {"upload-offset": str(await d.uploads.offset(promise)), "cache-control": "no-store"}
    answered |= {"upload-defer-length": "1"} if promise.size is None else {"upload-length": str(promise.size)}
    way = promise.announced.way
    if isinstance(way, Tus) and way.metadata:
        answered["upload-metadata"] = way.metadata
    if concat := _concat(promise):
        answered["upload-concat"] = concat
    await _answer(x, 200, answered | _expires(promise))


async def append(x: Exchange, d: Deployment) -> None:
    """Add bytes to an upload."""
    if x.header(b"content-type") != CHUNK:
        raise UnsupportedMediaType(f"The Content-Type of a PATCH must be {CHUNK}.")
    offset = _number(x, b"upload-offset")
    if offset is None:
        raise MissingParameter("The header Upload-Offset is missing: it says where the bytes belong.")
    _checksum(x)  # refused before anything is looked up
    promise = await _find(x, d)
    if _concat(promise).startswith("final"):
        raise Forbidden("The upload was made of partial ones, and takes no bytes.")
    size = _number(x, b"upload-length")
    if size is not None:
        _check_size(x, size)
        promise = await d.uploads.announce(promise, size)
    promise, offset = await _take(x, d, promise, offset)
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


async def _take(x: Exchange, d: Deployment, promise: Promise, offset: int) -> tuple[Promise, int]:
    """Add the body of the request."""
    whole = x.settings.max_binary_bytes if promise.size is None else promise.size
    room = whole - offset
    if room < 0:
        raise OffsetConflict(f"The upload has {whole:,} bytes in all, or fewer.")
    if (x.content_length or 0) > room:
        raise BinaryTooLarge(f"The body is longer than the {room:,} bytes that the upload has left.")
    checksum = _checksum(x)
    body = _checked(x, room, checksum) if checksum or _comes_behind(x) else _chunks(x, room)
    try:
        return await d.uploads.append(promise, offset, body)
    except OffsetConflict as error:
        error.members["upload_offset"] = await d.uploads.received(await _find(x, d))
        raise


def _announced_size(x: Exchange) -> int | None:
    """The size of a new upload; None when it comes later."""
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

    @classmethod
    def parse(cls, text: str) -> Checksum:
        """Raises `BadParameter`."""
        algorithm, _, value = text.partition(" ")
        if algorithm not in ALGORITHMS:
            raise BadParameter(f"The algorithm of Upload-Checksum must be one of {', '.join(ALGORITHMS)}.")
        return cls(algorithm, _decoded(value, "Upload-Checksum"))


async def _checked(x: Exchange, room: int, checksum: Checksum | None) -> AsyncIterator[bytes]:
    """The body, held back until all of it has come and is right: a wrong byte must not change the upload.

    `checksum`: None where it comes behind the body, as a trailer.
    """
    chunks, size = [], 0
    async for chunk in _chunks(x, room):
        size += len(chunk)
        if size > PART:
            raise CheckedBodyTooLarge(f"A body with Upload-Checksum may have {PART:,} bytes.", limit=PART)
        chunks.append(chunk)
    body, wanted = b"".join(chunks), checksum or Checksum.parse(x.trailer(b"upload-checksum"))
    if hashlib.new(wanted.algorithm, body, usedforsecurity=False).digest() != wanted.digest:
        raise ChecksumMismatch(f"The {wanted.algorithm} of the {size:,} bytes that came is another; send them again.")
    if body:
        yield body


def _checksum(x: Exchange) -> Checksum | None:
    """The checksum in the headers. Raises `BadParameter`, `CheckedBodyTooLarge`."""
    text = x.header(b"upload-checksum")
    if (text or _comes_behind(x)) and (x.content_length or 0) > PART:
        raise CheckedBodyTooLarge(f"A body with Upload-Checksum may have {PART:,} bytes.", limit=PART)
    return Checksum.parse(text) if text else None


def _comes_behind(x: Exchange) -> bool:
    """Whether the checksum is announced as a trailer."""
    return "upload-checksum" in x.header(b"trailer").lower()


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
    "Location": "Path of the upload; the last segment is the puuid.",
    "Upload-Concat": "`partial`, or `final;` and the addresses of the partial uploads that are made one.",
}
EXAMPLES = {
    "Tus-Resumable": VERSION,
    "Upload-Offset": "0",
    "Upload-Length": "330624",
    "Upload-Metadata": "filename c3BvdC5vYmo=,filetype bW9kZWwvb2Jq",
}
_ASKED = (
    *("Tus-Resumable", "Upload-Length", "Upload-Defer-Length", "Upload-Metadata", "Upload-Concat", "Upload-Checksum"),
)
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
