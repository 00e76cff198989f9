"""`POST /promises` and what follows: a client sends its binary to the object store itself, and the gateway checks."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as BadBase64
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from msgspec import Meta

from inlake.errors import BadParameter, BinaryTooLarge, BodyTooLarge, UnsupportedMediaType
from inlake.formats.json_text import malformed_json
from inlake.gateway import Gateway
from inlake.model import SignedRequest
from inlake.promises.direct import LARGEST_PUT, MAX_PARTS, ONE_PUT, SMALLEST_PART, Offer, Plan, default_part_size
from inlake.web.components import ref
from inlake.web.openapi import LOCATION, PROMISE, problems
from inlake.web.request import address as parse
from inlake.web.request.exchange import Exchange
from inlake.web.request.route import Endpoint
from inlake.web.routes.promises import describe
from inlake.wiring import Deployment

ANNOUNCEMENT_BYTES = 1 << 20
"""Room for 10,000 checksums."""
PUUID = {"name": "puuid", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}
ANNOUNCED = {
    **PROMISE,
    "state": "reserved",
    "way": "direct",
    "received": 0,
    "sha256": None,
    "put": {
        "method": "PUT",
        "url": "https://s3.example.org/bucket/objects/0f3c0d3a-4a0e-4d9f-8f43-2a3c7b1de0aa/spot.obj?X-Amz-Signature=...",
        "headers": {"content-type": "model/obj", "if-none-match": "*"},
    },
}
ANNOUNCE: dict[str, Any] = {
    "tags": ["promises"],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": ref("Announcement"),
                "example": {"filename": "spot.obj", "size": 330624, "content_type": "model/obj"},
            }
        },
    },
    "responses": {
        "201": {
            "description": "The promise, and where to send its binary.",
            "headers": LOCATION,
            "content": {"application/json": {"schema": ref("DirectUpload"), "example": ANNOUNCED}},
        },
        **problems(400, 401, 403, 408, 413, 415, 501, 503, 507),
    },
}
COMPLETE: dict[str, Any] = {
    "tags": ["promises"],
    "parameters": [PUUID],
    "responses": {
        "200": {
            "description": "The binary is in the store, and is what was announced.",
            "content": {"application/json": {"schema": ref("Promise"), "example": {**PROMISE, "way": "direct"}}},
        },
        **problems(401, 403, 404, 408, 409, 410, 413, 422, 501, 503, 507),
    },
}
PARTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The promise, and URLs for what is to be sent.",
        "content": {"application/json": {"schema": ref("DirectUpload"), "example": ANNOUNCED}},
    },
    **problems(400, 401, 403, 404, 409, 410, 501, 503),
}
_HEX = re.compile(r"[0-9a-fA-F]{64}")


class Announcement(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /promises`."""

    size: Annotated[int, Meta(ge=0, le=1 << 50)]
    filename: Annotated[str, Meta(max_length=1_000)] = ""
    content_type: Annotated[str, Meta(max_length=255)] = "application/octet-stream"
    sha256: str | None = None
    parts: bool | list[str] | None = None
    part_size: Annotated[int, Meta(ge=SMALLEST_PART, le=LARGEST_PUT)] | None = None


_decode = msgspec.json.Decoder(Announcement).decode


def direct_endpoints(d: Deployment) -> list[tuple[str, Endpoint, dict[str, Any]]]:
    """Path, endpoint and documentation of the two POST routes."""
    direct, promises = d.direct, d.gateway.promises

    async def announce(x: Exchange, _: Gateway) -> None:
        """Announce a binary that you will send to the object store yourself: the answer has the URLs for it.

        One URL up to 64 MiB, else (or with `parts`) one for each part. They are good until the promise expires, let
        through what was announced and nothing else, and need no other credentials.
        """
        a = _announcement(x, await x.body(ANNOUNCEMENT_BYTES, BodyTooLarge))
        if a.size > x.settings.max_binary_bytes:
            raise BinaryTooLarge(
                f"The binary is larger than {x.settings.max_binary_bytes:,} bytes (INLAKE_MAX_BINARY_BYTES)."
            )
        plan, sha256 = _plan(a), None if a.sha256 is None else _hex("sha256", a.sha256)
        offer = await direct.announce(a.filename, _printable(a.content_type), x.principal, plan, sha256)
        told = msgspec.json.encode({**describe(offer.promise), **_offered(offer)})
        await x.reply(201, told, headers=[(b"location", f"/promises/{offer.promise.puuid}".encode())])

    async def complete(x: Exchange, _: Gateway) -> None:
        """Say that all is sent: the gateway checks what is in the store, and only then does the promise count.

        Size and SHA-256 are those of the bytes in the store. Parts that are missing are named, and the promise stays
        open; a binary that is not what was announced is deleted. To complete again changes nothing.
        """
        await x.body(ANNOUNCEMENT_BYTES, BodyTooLarge)
        promise = await promises.find(x.scope["path_params"]["puuid"], x.principal)
        await x.reply(200, msgspec.json.encode(describe(await direct.complete(promise))))

    return [("/promises", announce, ANNOUNCE), ("/promises/{puuid}/complete", complete, COMPLETE)]


def direct_routes(d: Deployment) -> APIRouter:
    """`GET /promises/{puuid}/parts`."""
    direct, promises = d.direct, d.gateway.promises
    router = APIRouter()

    @router.get("/promises/{puuid}/parts", tags=["promises"], responses=PARTS)
    async def parts(
        puuid: str, request: Request, first: Annotated[int, Query(alias="from", ge=1, le=MAX_PARTS)] = 1
    ) -> Response:
        """Fresh URLs for what is not complete yet, from part `from` on. Parts that came since move the expiry on."""
        promise = await promises.find(puuid, request.scope["principal"])
        offer = await direct.offer(await direct.renew(promise), first)
        shown = {**describe(offer.promise), **_offered(offer)}
        return Response(
            msgspec.json.encode(shown), media_type="application/json", headers={"cache-control": "no-store"}
        )

    return router


def _announcement(x: Exchange, body: bytes) -> Announcement:
    kind = x.header(b"content-type")
    if not parse.is_json(parse.media_type(kind)):
        raise UnsupportedMediaType(f"The announcement of a binary is JSON, not {kind[:100]}.")
    try:
        return _decode(body.removeprefix(parse.BOM))
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
    checksums = tuple(_hex("parts", text) for text in a.parts) if isinstance(a.parts, list) else ()
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


def _hex(name: str, text: str) -> str:
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


def _printable(content_type: str) -> str:
    text = content_type.strip()
    if not text or not text.isascii() or not text.isprintable():
        raise BadParameter("The content_type must be a media type in printable ASCII, such as image/jpeg.")
    return text


def _offered(offer: Offer) -> dict[str, Any]:
    if offer.put:
        return {"put": _request(offer.put)}
    return {
        "part_size": offer.plan.part_size,
        "part_count": offer.plan.count,
        "parts": [{"number": n, "size": blob.size, **_request(signed)} for n, blob, signed in offer.parts],
        "next": offer.next and f"/promises/{offer.promise.puuid}/parts?from={offer.next}",
    }


def _request(signed: SignedRequest) -> dict[str, Any]:
    return {"method": signed.method, "url": signed.url, "headers": signed.headers}
