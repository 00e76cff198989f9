"""`GET /in-place`: what is in a store already and may be named by its URI."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from inlake.errors import ObjectNotFound
from inlake.web.openapi import answer, ndjson, operation, parameters, problems
from inlake.web.request.exchange import Exchange
from inlake.web.request.query import query
from inlake.web.routes.stream import CONTENT_TYPE
from inlake.wiring import Deployment

LINES = 500
"""Lines that are written at once."""
_encode = msgspec.json.Encoder().encode


class Below(Struct):
    """The query."""

    uri: Annotated[
        str,
        Meta(max_length=4_000, description="A prefix of `INLAKE_IN_PLACE`, or below one; all of them if not given."),
    ] = ""


class ObjectInPlace(Struct):
    """An object that a line of a shipment can name."""

    uri: str
    size: int
    modified: Annotated[float, Meta(description="Seconds since 1970.")]


class ListingEnd(Struct):
    """The last line; an answer without it was cut."""

    objects: int
    complete: bool = True


LISTED = operation(
    "shipments",
    {
        200: answer(
            "The objects, in no set order.",
            ndjson(
                "One JSON object a line: an `ObjectInPlace` for each, then a `ListingEnd`.",
                [ObjectInPlace, ListingEnd],
                '{"uri":"s3://museum/scans/spot.obj","size":330624,"modified":1795000000.0}\n'
                '{"objects":1,"complete":true}\n',
            ),
        )
    },
    problems(400, 401, 403, 404, 503),
    asks=parameters(Below),
)


async def listed(x: Exchange, d: Deployment) -> None:
    """Objects that others have put into the store, below a URI: a line of a shipment can name each of them.

    What begins with a dot is left out, and what the gateway has stored itself.
    """
    below, count, started = query(x, Below).uri, 0, False
    lines: list[bytes] = []
    async for uri, found in d.shipments.in_place.list(below):
        lines.append(_encode(ObjectInPlace(uri, found.size, found.modified)) + b"\n")
        count += 1
        if len(lines) == LINES:
            if not started:
                await x.start(200, [(b"content-type", CONTENT_TYPE)])
            started = True
            await x.write(b"".join(lines), more=True)
            lines.clear()
    if below and not count:
        raise ObjectNotFound(f"There is no object below {below[:500]!r}.")
    lines.append(_encode(ListingEnd(count)) + b"\n")
    if not started:
        await x.start(200, [(b"content-type", CONTENT_TYPE)])
    await x.write(b"".join(lines), more=False)
