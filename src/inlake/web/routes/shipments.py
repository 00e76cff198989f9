"""`/shipments`: many binaries with their records, announced, sent and published together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from inlake.codecs import Compiled
from inlake.errors import (
    BadParameter,
    BodyRejected,
    Forbidden,
    IdempotencyKeyReused,
    InlakeError,
    ShipmentNotFound,
    ShipmentTooLarge,
    UnsupportedMediaType,
)
from inlake.group import ShippedGroup
from inlake.model import ANONYMOUS, Blob, Event, Receipt
from inlake.promises.shipments import entries
from inlake.promises.shipments.entries import Accepted, File, Names, marker_key
from inlake.promises.shipments.steps import Result
from inlake.web.openapi import answer, content, json, ndjson, operation, parameters, problems
from inlake.web.request import address
from inlake.web.request.exchange import Exchange
from inlake.web.request.form import counted, refuse_encoding
from inlake.web.request.problems import LineReject, line_problem
from inlake.web.request.query import query
from inlake.web.request.quota import admit_records
from inlake.web.routes import examples
from inlake.web.routes.announcements import Announcements, ShippedEnvelope, ShippedRecord, read_announcements
from inlake.web.routes.binaries import UPLOAD_BYTES
from inlake.web.routes.direct import Put
from inlake.web.routes.documents import ADDRESS_WITH_BINARY, ATOMIC, BYTES, IDEMPOTENCY_KEY, STORED
from inlake.web.routes.lines import GROWTH, Counts, Faults, Limits, LineReceipt, Summary, read_lines, receipt_lines
from inlake.web.routes.stream import CONTENT_TYPE
from inlake.wiring import Deployment

LINE_SHOWN = 4 << 10
"""Bytes of a line with its file's name and a signed URL."""
WHOLE = 3
"""Copies of what was announced: as it is written, as events, and as what goes to the bus."""
LIMITS = Limits("shipment_bytes", "shipment_files", ShipmentTooLarge, "make several shipments of it.")
_encode = msgspec.json.Encoder().encode


class LineAnnounced(Struct, omit_defaults=True):
    """A line of the answer: what was announced is kept, and the binary goes where `put` says; without `put` it is in a
    store already."""

    line: int
    status: int
    id: str
    puuid: str
    put: Put | None = None


class ShipmentSummary(Summary, kw_only=True, omit_defaults=True):
    """The last line of the answer; a stream without it was cut."""

    id: str | None
    state: str
    expires_at: str | None


class LineFound(Struct, omit_defaults=True):
    """A line of a shipment as it stands now."""

    line: int
    state: str
    puuid: str
    filename: str
    size: int
    put: Put | None = None


class Shipment(Struct):
    """A shipment as it stands now."""

    id: str
    state: str
    expires_at: str
    files: int
    published: int


class ShipmentFound(Shipment):
    """A shipment with its lines."""

    lines: list[LineFound]


class ShipmentList(Struct):
    """One's own shipments with work left."""

    shipments: list[Shipment]
    next: Annotated[str | None, Meta(description="`after` of the next page; null at the end.")]


class Wanted(Struct):
    """The query for a shipment."""

    missing: Annotated[bool, Meta(description="Only the files that are to be sent, with fresh URLs.")] = False


class Page(Struct):
    """The query of a list."""

    limit: Annotated[int, Meta(ge=1, le=1_000, description="Most shipments in one answer.")] = 100
    after: Annotated[str, Meta(max_length=36, description="`next` of the answer before.")] = ""


PUUID = "5b2f0c9e-11d4-8a3c-9c41-0a1b2c3d4e5f"
ID = "5b2f0c9e-11d4-8f00-8123-456789abcdef"
UNTIL = "2026-11-23T20:15:00Z"
HEADERS = {"content-type": "model/obj", "if-none-match": "*"}
FOUND_EXAMPLE = ShipmentFound(ID, "open", UNTIL, 1, 0, [LineFound(1, "announced", PUUID, "spot.obj", 330624)])
ANSWERED = ndjson(
    "One JSON object a line: a `LineAnnounced` or `LineReject` for each, then a `ShipmentSummary`.",
    [LineAnnounced, LineReject, ShipmentSummary],
    '{"line":1,"status":202,"id":"...","puuid":"...","put":{"method":"PUT","url":"...","headers":{}}}\n'
    '{"summary":{"accepted":0,"pending":1,"rejected":0,"failed":0},"complete":true,"id":"...","state":"open"}\n',
)
RECEIPTS = ndjson(
    "One JSON object a line: a `LineReceipt` or `LineReject` for each, then a `ShipmentSummary`.",
    [LineReceipt, LineReject, ShipmentSummary],
)
ANNOUNCE = operation(
    "shipments",
    {
        201: answer(
            "Kept: where each file goes.", ANSWERED, headers={"Location": "The shipment: `/shipments/{shipment}`."}
        ),
        207: answer("Every line is refused, for different reasons.", ANSWERED),
    },
    problems(400, 401, 403, 404, 408, 409, 413, 415, 422, 501, 503, 507, beside=ANSWERED),
    asks=[*ADDRESS_WITH_BINARY, ATOMIC, IDEMPOTENCY_KEY],
    body=ndjson("One a line.", [ShippedRecord, ShippedEnvelope], examples.lines(examples.ANNOUNCED)),
)
LISTED = operation(
    "shipments",
    {200: answer("As they stand now.", json(ShipmentList([Shipment(ID, "open", UNTIL, 1, 0)], None)))},
    problems(400, 401, 403, 503),
    asks=parameters(Page),
)
FOUND = operation(
    "shipments",
    {200: answer("As it stands now.", json(FOUND_EXAMPLE))},
    problems(400, 401, 403, 404, 410, 503),
    asks=parameters(Wanted),
)
CANCELLED = operation("shipments", {204: answer("Given up.")}, problems(401, 403, 404, 409, 503, 507))
PUT = operation(
    "shipments",
    {200: answer("Stored.", json(STORED))},
    problems(401, 403, 404, 408, 410, 413, 415, 422, 503, 507),
    body=content("application/octet-stream", BYTES, examples.FILE.decode()),
)
COMPLETE = operation(
    "shipments",
    {
        201: answer("Every line is published: the receipts.", RECEIPTS),
        202: answer("Every line is published once the bus is back, where the gateway has an outbox.", RECEIPTS),
        207: answer("Lines have different statuses.", RECEIPTS),
    },
    problems(401, 403, 404, 409, 410, 413, 422, 503, 507, beside=RECEIPTS),
)


def may_hold(x: Exchange) -> int:
    """Bytes of all lines as text, as events and as they are written down."""
    return x.holds(4 * x.settings.shipment_bytes)


def may_hold_shown(x: Exchange) -> int:
    """Bytes of all lines as they are told; the events of a shipment that is completed are set aside besides."""
    return x.settings.shipment_files * LINE_SHOWN


def may_hold_file(x: Exchange) -> int:
    """Bytes of a binary on its way."""
    return x.holds(UPLOAD_BYTES)


async def announce(x: Exchange, d: Deployment) -> None:
    """Announce binaries with their records, one a line: `{"file": {...}, "record": {...}}`.

    Every record is checked with the URI of its object filled in; from here on its event is fixed. The answer says for
    each line where its file goes. A refused line is not part of the shipment; with `mode=atomic` one refuses all.
    """
    to = address.of_caller(x.scope["query_string"], x.caller)
    if to.content is not None:
        raise BadParameter("The parameter content goes beside a file, to /ingress/record-json-and-binary.")
    kind = address.media_type(x.header(b"content-type"))
    x.inflate()
    if kind not in address.NDJSON:
        raise UnsupportedMediaType(f"The body is {kind[:100]}: announce one file a line as application/x-ndjson.")
    if to.schema is not None:  # what is wrong with the query refuses the body unread
        await d.gateway.codecs.find(to.schema, to.version, to.message)
    names, lines = Names(x.attempt.puuid if x.attempt else None), await read_lines(x, LIMITS)
    admit_records(x, len(lines))
    announcements = await read_announcements(x, d, to, names, lines)
    group = ShippedGroup(d.gateway, announcements.objects)
    group.room = GROWTH * x.settings.shipment_bytes
    await group.encode(announcements.submissions)
    faults = Faults(x.instance)
    results = zip(lines, group.results, strict=True)
    refused = {n: faults.told(n, r) for (n, _), r in results if isinstance(r, InlakeError)}
    faults.end()
    failed = sum(error.status >= 500 for error in refused.values())
    counts = Counts(pending=len(group.encoded), rejected=len(refused) - failed, failed=failed)
    for name in ("pending", "rejected", "failed"):
        x.site.records[name].value += getattr(counts, name)
    if x.attempt and failed:  # another attempt finds all lines as this one decides them
        raise next(error for error in refused.values() if error.status >= 500)
    if refused and to.atomic:
        raise BodyRejected([*refused.items()][: x.settings.max_errors], len(refused))
    told = {n: line_problem(error, n) for n, error in refused.items()}
    if not group.encoded:
        await _answer(x, [*told.values()], _summary(counts), {error.status for error in refused.values()})
        return
    accepted = [_accepted(lines[i][0], i, announcements, event, c) for i, event, c, _ in group.encoded]
    with x.site.admission.set_aside(max(0, group.size - x.settings.shipment_bytes)):
        found = await d.shipments.announce(names, x.principal, accepted)
    if [file.line for file in found.announced.lines] != [each.line for each in accepted]:
        raise IdempotencyKeyReused("This Idempotency-Key announced other lines before: a new request takes a new key.")
    puts = await _puts(x, d, found, found.announced.lines)
    for line in accepted:
        sent = LineAnnounced(line.line, 202, line.event.id, line.puuid, puts.get(line.line))
        told[line.line] = _encode(sent) + b"\n"
    location = [(b"location", x.address(f"/shipments/{found.id}").encode())]
    await _answer(x, [told[n] for n, _ in lines], _summary(counts, found), {201}, location)


async def put(x: Exchange, d: Deployment) -> None:
    """Send the file of a line through the gateway, where the store takes nothing from clients.

    Its size and SHA-256 are those that were announced, or nothing of it stays.
    """
    refuse_encoding(x)
    line = x.path_parameter("line")
    if not (line.isascii() and line.isdecimal() and len(line) < 10):
        raise ShipmentNotFound(f"There is no line {line[:20]!r} of a shipment.")
    file = await d.shipments.put(x.path_parameter("shipment"), int(line), x.principal, counted(x, _chunks(x)))
    await x.reply(200, _encode(file.stored(d.store.uri("-").removesuffix("-"))))


async def complete(x: Exchange, d: Deployment) -> None:
    """Publish the events of all lines whose file is there, in one call; the receipts come back one a line.

    A line whose file is missing is 409 `upload_incomplete`, and the shipment stays open for it: send it, and complete
    again. The lines that are published already have the same receipt again.
    """
    await x.body(1 << 10, ShipmentTooLarge)
    name = x.path_parameter("shipment")
    with x.site.admission.set_aside(WHOLE * await d.shipments.size(name)):
        found, results = await d.shipments.complete(name, x.principal)
    counts = Counts()
    for _, result in results:
        if isinstance(result, Receipt):
            counts.accepted += result.offset is not None
            counts.pending += result.offset is None
        elif result.status >= 500:
            counts.failed += 1
        elif result.code == "upload_incomplete":
            counts.pending += 1
        else:
            counts.rejected += 1
    await _answer(x, [*_outcomes(results)], _summary(counts, found), {result.status for _, result in results})


def _outcomes(results: Sequence[tuple[int, Result]]) -> Iterator[bytes]:
    """A line for each result; receipts that follow one another are written at once."""
    receipts: list[tuple[int, Receipt]] = []
    for n, result in results:
        if isinstance(result, Receipt):
            receipts.append((n, result))
            continue
        yield receipt_lines(receipts)
        receipts.clear()
        yield line_problem(result, n)
    yield receipt_lines(receipts)


async def shipment(x: Exchange, d: Deployment) -> None:
    """One shipment, and the state of each of its lines.

    With `missing=true` only those whose files are to be sent, with new URLs.
    """
    missing = query(x, Wanted).missing
    found = await d.shipments.find(x.path_parameter("shipment"), x.principal)
    left = found.left if found.end is None else []
    stored = await d.shipments.present(left) if left else set()
    lines = found.announced.lines
    puts = dict[int, Put]()
    if missing:
        lines = [file for file in left if file.line not in stored]
        puts = await _puts(x, d, found, lines)
    shown = [
        LineFound(
            file.line,
            "stored" if file.line in stored else found.state_of(file.line),
            file.puuid,
            file.filename,
            file.size,
            puts.get(file.line),
        )
        for file in lines
    ]
    head = _described(found)
    told = ShipmentFound(head.id, head.state, head.expires_at, head.files, head.published, shown)
    await x.reply(200, _encode(told), headers=[(b"cache-control", b"no-store")])


async def cancel(x: Exchange, d: Deployment) -> None:
    """Give up what is not published of a shipment: its files are deleted. What is published stays."""
    await d.shipments.cancel(x.path_parameter("shipment"), x.principal)
    await x.reply_without_body(204)


async def own(x: Exchange, d: Deployment) -> None:
    """One's own shipments with work left, a page at a time."""
    await x.reply(200, _encode(await list_own(x, d, query(x, Page))))


async def list_own(x: Exchange, d: Deployment, page: Page) -> ShipmentList:
    """A page of the client's own shipments with work left. Raises `Forbidden`."""
    if x.principal == ANONYMOUS and d.settings.allow_anonymous:
        raise Forbidden("Anonymous clients are not told apart, so nobody has a list: keep the id, or use an API key.")
    names = await d.store.page(marker_key(x.principal, ""), page.after, page.limit + 1)
    shown = []
    for name in names[: page.limit]:  # not kept: each may have half a megabyte
        found = await d.shipments.read(name)
        if found and found.state in {"open", "completing"}:
            shown.append(_described(found))
    following = names[page.limit - 1] if len(names) > page.limit else None
    return ShipmentList(shown, following)


def _accepted(line: int, i: int, announced: Announcements, event: Event, compiled: Compiled) -> Accepted:
    stored = announced.objects[i]
    assert stored is not None
    blob, standing = Blob(stored.size, stored.sha256), announced.standing.get(i)
    return Accepted(line, stored.puuid, blob, stored.filename, stored.content_type, event, compiled.schema, standing)


async def _puts(x: Exchange, d: Deployment, found: entries.Shipment, files: Sequence[File]) -> dict[int, Put]:
    """Where each file goes that is to be sent, by its line."""
    files = [file for file in files if not file.in_place]
    offered = await d.shipments.offer(found, files, x.address(f"/shipments/{found.id}"))
    return {file.line: Put(*signed) for file, signed in zip(files, offered, strict=True)}


def _summary(counts: Counts, found: entries.Shipment | None = None) -> ShipmentSummary:
    if found is None:
        return ShipmentSummary(counts, complete=True, id=None, state="refused", expires_at=None)
    return ShipmentSummary(counts, complete=True, id=found.id, state=found.state, expires_at=found.expires_at)


def _described(found: entries.Shipment) -> Shipment:
    """A shipment as its client sees it."""
    files = len(found.announced.lines)
    return Shipment(found.id, found.state, found.expires_at, files, len(found.positions))


async def _chunks(x: Exchange) -> AsyncIterator[bytes]:
    while chunk := await x.next_chunk():
        yield chunk


async def _answer(
    x: Exchange,
    lines: Sequence[bytes],
    summary: ShipmentSummary,
    statuses: set[int],
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    status = statuses.pop() if len(statuses) == 1 else 207
    await x.reply(status, b"".join(lines) + _encode(summary) + b"\n", CONTENT_TYPE, headers)
