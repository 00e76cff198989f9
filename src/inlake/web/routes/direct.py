"""`POST /promises` and what follows: a client sends its binary to the object store itself, and the gateway checks."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as BadBase64
from typing import Annotated

import msgspec
from msgspec import Meta, Struct, field

from inlake.errors import BadParameter, BinaryTooLarge, BodyTooLarge, UnsupportedMediaType
from inlake.formats.json_text import malformed_json
from inlake.promises.direct import LARGEST_PUT, MAX_PARTS, ONE_PUT, SMALLEST_PART, Offer, Plan, default_part_size
from inlake.web.openapi import answer, content, json, operation, parameters, problems
from inlake.web.request import address
from inlake.web.request.exchange import Exchange
from inlake.web.request.query import query
from inlake.web.routes.promises import PROMISE, Bytes, Promise, describe
from inlake.wiring import Deployment

ANNOUNCEMENT_BYTES = 1 << 20
"""Room for 10,000 checksums."""
_HEX = re.compile(r"[0-9a-fA-F]{64}")


class Announcement(Struct, forbid_unknown_fields=True):
    """A binary that its client will send to the object store itself."""

    size: Annotated[int, Meta(ge=0, le=1 << 50, description="Bytes.")]
    filename: Annotated[str, Meta(max_length=1_000)] = ""
    content_type: Annotated[str, Meta(max_length=255)] = "application/octet-stream"
    sha256: Annotated[str | None, Meta(description="Of the whole binary, in hexadecimal or base64.")] = None
    parts: Annotated[
        bool | list[str] | None,
        Meta(description="True: parts; false: one PUT; or the SHA-256 of each part. Default: parts beyond 64 MiB."),
    ] = None
    part_size: Annotated[
        Annotated[int, Meta(ge=SMALLEST_PART, le=LARGEST_PUT)] | None,
        Meta(description="Bytes of every part but the last."),
    ] = None


_decode = msgspec.json.Decoder(Announcement).decode


PartNumber = Annotated[int, Meta(ge=1, le=MAX_PARTS, description="From 1.")]


class SignedPart(Struct):
    """A request to the object store for one part, to be sent as it is."""

    number: PartNumber
    size: Bytes
    method: str
    url: str
    headers: dict[str, str]


class Put(Struct):
    """A request to the object store, to be sent as it is."""

    method: str
    url: str
    headers: dict[str, str]


class DirectUpload(Promise, omit_defaults=True, kw_only=True):
    """A promise and where to send its binary: `put`, or `parts` with more of them at `next`."""

    put: Put | None = None
    part_size: Annotated[int, Meta(description="Bytes of every part but the last.")] = 0
    part_count: int = 0
    parts: list[SignedPart] | None = None
    next: str | msgspec.UnsetType | None = msgspec.UNSET
    """Path of the next page of parts; null at the end."""


class PartsWanted(Struct):
    """The query for more parts."""

    first: PartNumber = field(default=1, name="from")


ANNOUNCED = DirectUpload(
    puuid=PROMISE.puuid,
    state="reserved",
    way="direct",
    received=0,
    size=PROMISE.size,
    sha256=None,
    content_type=PROMISE.content_type,
    filename=PROMISE.filename,
    expires_at=PROMISE.expires_at,
    reason=None,
    receipt=None,
    put=Put(
        "PUT",
        f"https://s3.example.org/bucket/objects/{PROMISE.puuid}/spot.obj?X-Amz-Signature=...",
        {"content-type": "model/obj", "if-none-match": "*"},
    ),
)
ANNOUNCE = operation(
    "promises",
    {
        201: answer(
            "The promise, and where to send its binary.",
            json(ANNOUNCED),
            headers={"Location": "Where to ask: `/promises/{puuid}`."},
        )
    },
    problems(400, 401, 403, 408, 413, 415, 501, 503, 507),
    body=content(
        "application/json",
        Announcement,
        {"filename": "spot.obj", "size": 330624, "content_type": "model/obj"},
    ),
)
COMPLETE = operation(
    "promises",
    {200: answer("The binary is in the store, and is what was announced.", json(PROMISE))},
    problems(401, 403, 404, 408, 409, 410, 413, 422, 501, 503, 507),
)
PARTS = operation(
    "promises",
    {200: answer("The promise, and URLs for what is to be sent.", json(ANNOUNCED))},
    problems(400, 401, 403, 404, 409, 410, 501, 503),
    asks=parameters(PartsWanted),
)


def may_hold(x: Exchange) -> int:
    """Bytes of an announcement."""
    return x.holds(3 * ANNOUNCEMENT_BYTES)


async def announce(x: Exchange, d: Deployment) -> None:
    """Announce a binary that you will send to the object store yourself: the answer has the URLs for it.

    One URL up to 64 MiB, else (or with `parts`) one for each part. They are good until the promise expires, let
    through what was announced and nothing else, and need no other credentials.
    """
    a = _announcement(x, await x.body(ANNOUNCEMENT_BYTES, BodyTooLarge))
    if a.size > x.settings.max_binary_bytes:
        raise BinaryTooLarge(
            f"The binary is larger than {x.settings.max_binary_bytes:,} bytes (INLAKE_MAX_BINARY_BYTES)."
        )
    plan, sha256 = _plan(a), None if a.sha256 is None else hex_sha256("sha256", a.sha256)
    offer = await d.direct.announce(a.filename, printable_type(a.content_type), x.principal, plan, sha256)
    location = x.address(f"/promises/{offer.promise.puuid}").encode()
    await x.reply(201, msgspec.json.encode(_offered(x, offer)), headers=[(b"location", location)])


async def complete(x: Exchange, d: Deployment) -> None:
    """Say that all is sent: the gateway checks what is in the store, and only then does the promise count.

    Size and SHA-256 are those of the bytes in the store. Parts that are missing are named, and the promise stays
    open; a binary that is not what was announced is deleted. To complete again changes nothing.
    """
    await x.body(ANNOUNCEMENT_BYTES, BodyTooLarge)
    promise = await d.gateway.promises.find(x.path_parameter("puuid"), x.principal)
    await x.reply(200, msgspec.json.encode(describe(await d.direct.complete(promise))))


async def parts(x: Exchange, d: Deployment) -> None:
    """Fresh URLs for what is not complete yet, from part `from` on. Parts that came since move the expiry on."""
    wanted = query(x, PartsWanted)
    promise = await d.gateway.promises.find(x.path_parameter("puuid"), x.principal)
    told = _offered(x, await d.direct.offer(await d.direct.renew(promise), wanted.first))
    await x.reply(200, msgspec.json.encode(told), headers=[(b"cache-control", b"no-store")])


def _announcement(x: Exchange, body: bytes) -> Announcement:
    kind = x.header(b"content-type")
    if not address.is_json(address.media_type(kind)):
        raise UnsupportedMediaType(f"The announcement of a binary is JSON, not {kind[:100]}.")
    try:
        return _decode(body.removeprefix(address.BOM))
    except msgspec.ValidationError as error:
        raise BadParameter(f"The announcement is not as it should be: {error}.") from None
    except RecursionError:
        raise BadParameter("The announcement is nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise malformed_json(body, error) from None


def _plan(a: Announcement) -> Plan:
    """How the binary is cut. Raises `BadParameter`."""
    wanted = a.parts not in (None, False) or a.part_size is not None or (a.parts is None and a.size > ONE_PUT)
    if not wanted or a.size == 0:
        if a.size > LARGEST_PUT:
            raise BadParameter(f"One PUT takes {LARGEST_PUT:,} bytes at most: leave `parts` out, or set it to true.")
        return Plan(a.size)
    part_size = a.part_size or default_part_size(a.size)
    checksums = tuple(hex_sha256("parts", text) for text in a.parts) if isinstance(a.parts, list) else ()
    plan = Plan(a.size, part_size, checksums)
    if plan.count > MAX_PARTS or part_size > LARGEST_PUT:
        raise BadParameter(
            f"{plan.count:,} parts of {part_size:,} bytes: there may be {MAX_PARTS:,}, so make them larger."
        )
    if checksums and len(checksums) != plan.count:
        raise BadParameter(
            f"`parts` has {len(checksums):,} checksums; {a.size:,} bytes in parts of {part_size:,} are {plan.count:,}."
        )
    return plan


def hex_sha256(name: str, text: str) -> str:
    """A SHA-256 given in hexadecimal or, as S3 has it, in base64. Raises `BadParameter`."""
    if _HEX.fullmatch(text):
        return text.lower()
    try:
        digest = b64decode(text, validate=True)
    except (BadBase64, ValueError):
        digest = b""
    if len(digest) != 32:
        raise BadParameter(f"{name}: {text[:80]!r} is no SHA-256, neither 64 hexadecimal digits nor 44 of base64.")
    return digest.hex()


def printable_type(content_type: str) -> str:
    text = content_type.strip()
    if not text or not text.isascii() or not text.isprintable():
        raise BadParameter("The content_type must be a media type in printable ASCII, such as image/jpeg.")
    return text


def _offered(x: Exchange, offer: Offer) -> DirectUpload:
    told = msgspec.structs.asdict(describe(offer.promise))
    if offer.put:
        return DirectUpload(**told, put=Put(*offer.put))
    return DirectUpload(
        **told,
        part_size=offer.plan.part_size or 0,
        part_count=offer.plan.count,
        parts=[SignedPart(n, blob.size, *signed) for n, blob, signed in offer.parts],
        next=x.address(f"/promises/{offer.promise.puuid}/parts?from={offer.next}") if offer.next else None,
    )
