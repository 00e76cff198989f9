"""`/rejects`: refused records, one by one or by their causes, and sending them again."""

from __future__ import annotations

import dataclasses
import time
from typing import Annotated, Literal
from urllib.parse import urlencode

import msgspec
from msgspec import Meta, Struct, structs

from inlake.errors import Forbidden, RecordTooLarge, RejectMended, RejectNeedsFile, RejectNotFound
from inlake.formats.json_pointer import value_at
from inlake.logbook.answers import Answer
from inlake.model import ANONYMOUS
from inlake.rejects.keeper import Keeper
from inlake.rejects.reject import Cause, Cursor, Mark, Reason, Reject, Wanted, is_full
from inlake.web.openapi import answer, json, operation, parameters, problems
from inlake.web.request import address
from inlake.web.request.envelope import ENVELOPE_BYTES
from inlake.web.request.exchange import Exchange
from inlake.web.request.problems import FieldError
from inlake.web.request.query import query
from inlake.web.routes import records
from inlake.web.routes.documents import KEPT, RECEIPT
from inlake.web.routes.repeats import Held, with_body
from inlake.wiring import Deployment

ROUTE = "/ingress/record-json"
PASSED_ON = frozenset({b"host", b"authorization", b"traceparent", b"tracestate"})
"""Headers of the request that its record is sent with."""
KEYED_BY = "rejects"
"""Owner of the keys of what is sent again, no principal. Whoever sends a reject again makes the same event of it."""
LIST_BYTES = 1 << 20
State = Literal["open", "mended", "all"]


class RejectTold(Struct):
    """A record that was refused for its content."""

    id: Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    cause: Annotated[str, Meta(description="Id of the cause that it shares with others.")]
    time: Annotated[str, Meta(description="When it was refused; RFC 3339, UTC.")]
    principal: str
    schema: str
    destination: str | None
    version: Annotated[int | None, Meta(description="As asked for; null: the latest.")]
    message: str | None
    line: Annotated[int, Meta(description="Number of its line, from 1; 0 in a request of one record.")]
    filename: str
    has_file: Annotated[bool, Meta(description="A binary came with it, which was not kept.")]
    status: int
    code: str
    detail: str
    errors: list[FieldError]
    text: Annotated[str, Meta(description="The record as it came.")]
    is_bytes: Annotated[bool, Meta(description="It was not UTF-8: each character of `text` is a byte.")]
    mended: Annotated[str | None, Meta(description="`ce_id` of the event that it became.")]
    mended_at: str | None


class RejectList(Struct):
    """Rejects, the newest first."""

    rejects: list[RejectTold]
    next: Annotated[str | None, Meta(description="`after` of the next page; null at the end.")]


class CauseTold(Struct):
    """Reasons that many rejects have in common."""

    id: str
    schema: str
    reasons: list[Reason]
    count: int
    first: Annotated[str, Meta(description="RFC 3339, UTC.")]
    last: str
    example: Annotated[str, Meta(description="Id of the last reject.")]
    detail: Annotated[str, Meta(description="What its client was told.")]


class CauseList(Struct):
    """The causes of rejects, that with the most first."""

    causes: list[CauseTold]


class Filter(Struct):
    """The query for causes."""

    schema: Annotated[str, Meta(max_length=200)] | None = None
    state: Annotated[State, Meta(description="`mended`: those that were sent again and accepted.")] = "open"


class Page(Filter):
    """The query for rejects."""

    cause: Annotated[str, Meta(max_length=32)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1_000, description="Most rejects in one answer.")] = 100
    after: Annotated[str, Meta(max_length=60, description="`next` of the answer before.")] = ""


_ID, _CAUSE, _AT = "0f3c0d3a-4a0e-4d9f-8f43-2a3c7b1de0aa", "5d41402abc4b2a76", "2026-11-23T20:15:00Z"
_DETAIL = "/dateRange/startYear: A value of type int is expected here."
_REASON = Reason("wrong_type", "/dateRange/startYear")
_ERROR = FieldError(_REASON.pointer, _REASON.code, _DETAIL, "int", 'string "no date"')
_TOLD = RejectTold(
    *(_ID, _CAUSE, _AT, "token:museum", "tate.artwork", None, None, None, 17, "works.ndjson", False),
    *(422, "record_rejected", _DETAIL, [_ERROR], '{"acno": "A00001"}', False, None, None),
)
LISTED = operation(
    "rejects",
    {200: answer("The rejects.", json(RejectList([_TOLD], None)))},
    problems(400, 401, 403, 404, 503),
    asks=parameters(Page),
)
CAUSES = operation(
    "rejects",
    {
        200: answer(
            "The causes.",
            json(CauseList([CauseTold(_CAUSE, "tate.artwork", [_REASON], 8_211, _AT, _AT, _ID, _DETAIL)])),
        )
    },
    problems(400, 401, 403, 404, 503),
    asks=parameters(Filter),
)
FOUND = operation("rejects", {200: answer("The reject.", json(_TOLD))}, problems(401, 403, 404, 503))
RESENT = operation(
    "rejects",
    {
        201: answer("It fits now, and is published: the reject is mended.", json(RECEIPT)),
        202: KEPT,
    },
    problems(400, 401, 403, 404, 409, 413, 422, 503),
    body={
        "required": False,
        "description": "The mended record; without a body the reject as it came.",
        "content": {"application/json": {"schema": {}, "example": {"acno": "A00001"}}},
    },
)


def may_hold_list(_: Exchange) -> int:
    """Bytes that are taken while a list is made. As an answer it counts as it is."""
    return LIST_BYTES


def may_hold(x: Exchange) -> int:
    """Bytes of a record."""
    return 3 * x.settings.max_record_bytes


async def listed(x: Exchange, d: Deployment) -> None:
    """One's own refused records, the newest first, a page at a time; who administers a schema sees those of all.

    A page has `limit` of them, or fewer whose texts together are 8 MiB; `next` says where the one after it begins.
    """
    seen, last = await list_page(x, d, query(x, Page))
    await x.reply(200, msgspec.json.encode(RejectList([told(reject) for reject in seen], last)))


async def list_page(x: Exchange, d: Deployment, page: Page) -> tuple[list[Reject], str | None]:
    """Rejects that the client may see, and where the next page begins. Raises `RejectNotFound`, `Forbidden`."""
    keeper, wanted = reader(x, d, page)
    wanted = structs.replace(wanted, cause=page.cause)
    found = await keeper.page(wanted, page.limit, Cursor.parse(page.after))
    last = str(Cursor(found[-1].at, found[-1].id)) if len(found) == page.limit or is_full(found) else None
    return list(found), last


async def causes(x: Exchange, d: Deployment) -> None:
    """Causes of one's own rejects: those with the same reasons at the same places are one cause."""
    seen = await list_causes(x, d, query(x, Filter))
    await x.reply(200, msgspec.json.encode(CauseList([_cause(cause) for cause in seen])))


async def list_causes(x: Exchange, d: Deployment, asked: Filter) -> list[Cause]:
    """Causes of rejects that the client may see. Raises `RejectNotFound`, `Forbidden`."""
    keeper, wanted = reader(x, d, asked)
    return list(await keeper.causes(wanted))


async def reject(x: Exchange, d: Deployment) -> None:
    """One refused record: its text as it came, and all reasons."""
    await x.reply(200, msgspec.json.encode(told(await find(x, d, x.path_parameter("reject")))))


async def resend(x: Exchange, d: Deployment) -> None:
    """Send a refused record again, mended or as it came; accepted, the reject counts as mended.

    The record is checked first, and what does not fit changes nothing. Then it is sent as to `/ingress/record-json`,
    with the reject's id as `Idempotency-Key`, which is the same for all who may send it.
    """
    found = await find(x, d, x.path_parameter("reject"))
    body = await x.body(x.settings.max_record_bytes + ENVELOPE_BYTES, RecordTooLarge)
    given = await send_again(x, d, found, body)
    headers = [(name.encode(), value.encode("latin-1")) for name, value in given.headers if name != "content-type"]
    await x.reply(given.status, given.body, headers=headers)


async def send_again(x: Exchange, d: Deployment, found: Reject, mended: bytes) -> Answer:
    """Send a reject with this text, or none for its own; what the gateway answers. Raises what refuses it."""
    record = mended.removeprefix(address.BOM) or found.record
    await check_again(x, d, found, record)  # else the key would stand for what is refused again
    held, inner = Held(), x.another(ROUTE, urlencode(_address(found)).encode(), _headers(x, found, record), record)
    inner.keyed_by = KEYED_BY
    await inner.answer_to(held, with_body(records.record_json)(inner, dataclasses.replace(d, rejects=None)))
    given = held.answer
    if given.status in {201, 202} and d.rejects is not None:
        event = msgspec.json.decode(given.body)["id"]
        await d.rejects.mend(Mark(found.id, time.time_ns() // 1_000_000, event))
    return given


async def check_again(x: Exchange, d: Deployment, found: Reject, record: bytes) -> None:
    """Whether a reject would be accepted with this text; nothing is sent. Raises what would refuse it."""
    if found.mended is not None:
        raise RejectMended(f"The reject was sent again before, as the event {found.mended}.", event=found.mended)
    to = address.Address(found.schema or None, found.destination, found.version, found.message)
    s = address.submission(to, record, caller=x.caller, tagged=found.tagged, trace=None)
    address.check_size(s.record, x.settings.max_record_bytes)
    await d.gateway.validate(s)
    if found.has_file and value_at(s.record, (x.settings.resource_field,)) is None:
        raise RejectNeedsFile(
            "The record came with a file, which was not kept: send both again, or send the file to /ingress/binary and "
            f"name its puuid in {x.settings.resource_field}."
        )


def reader(x: Exchange, d: Deployment, asked: Filter) -> tuple[Keeper, Wanted]:
    """The rejects, and which of those that are asked for the client may see: its own, and those of schemas and
    destinations that it administers. Raises `RejectNotFound`, `Forbidden`.
    """
    keeper, own = _kept(x, d)
    administers = x.caller.allowed("administer")
    if own is None and administers is None:
        raise Forbidden("Anonymous clients are not told apart, so nobody sees rejects here without an API key.")
    mended = None if asked.state == "all" else asked.state == "mended"
    return keeper, Wanted(own or "", administers, asked.schema, mended=mended)


def _kept(x: Exchange, d: Deployment) -> tuple[Keeper, str | None]:
    """The rejects, and the principal whose the client's own are; None if it is not told apart from others.

    Raises `RejectNotFound`.
    """
    if d.rejects is None:
        raise RejectNotFound("This gateway keeps no rejects: INLAKE_REJECTS says where they would be.")
    return d.rejects, None if x.principal == ANONYMOUS and d.settings.allow_anonymous else x.principal


async def find(x: Exchange, d: Deployment, reject_id: str) -> Reject:
    """A reject that the client may see. Raises `RejectNotFound`."""
    keeper, own = _kept(x, d)
    found = await keeper.find(reject_id)
    if found is None or (found.principal != own and not x.caller.may("administer", found.schema, found.destination)):
        raise RejectNotFound("There is no such reject, or it is another principal's, or it is gone by its age.")
    return found


def told(r: Reject) -> RejectTold:
    """A reject as clients see it."""
    return RejectTold(
        id=r.id,
        cause=r.cause,
        time=_time(r.at),
        principal=r.principal,
        schema=r.schema,
        destination=r.destination,
        version=r.version,
        message=r.message,
        line=r.line,
        filename=r.filename,
        has_file=r.has_file,
        status=r.status,
        code=r.code,
        detail=r.detail,
        errors=[FieldError(*error) for error in r.errors] or [FieldError("", r.code, r.detail)],
        text=r.text,
        is_bytes=r.is_bytes,
        mended=r.mended,
        mended_at=None if r.mended_at is None else _time(r.mended_at),
    )


def _cause(c: Cause) -> CauseTold:
    return CauseTold(c.id, c.schema, c.reasons, c.count, _time(c.first), _time(c.last), c.example, c.detail)


def _time(ms: int) -> str:
    """RFC 3339, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ms / 1000))


def _address(r: Reject) -> dict[str, str]:
    given = {"schema": r.schema or None, "destination": r.destination, "version": r.version, "message": r.message}
    return {name: str(value) for name, value in given.items() if value is not None}


def _headers(x: Exchange, r: Reject, record: bytes) -> list[tuple[bytes, bytes]]:
    kind = address.TAGGED if r.tagged else "application/json"
    return [
        *((name, value) for name, value in x.scope["headers"] if name in PASSED_ON),
        (b"content-type", kind.encode()),
        (b"content-length", b"%d" % len(record)),
        (b"idempotency-key", f'"{r.id}"'.encode()),
    ]
