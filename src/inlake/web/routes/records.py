"""`POST /ingress/record-json` and `/ingress/validate`: one record, or a stream of them a line each."""

from __future__ import annotations

from functools import partial

import msgspec

from inlake.errors import BadDigest, BadParameter, EmptyBody, InlakeError, RecordTooLarge, UnsupportedMediaType
from inlake.group import CheckedGroup, Group
from inlake.model import Pending, Receipt, SchemaVersion, Submission
from inlake.web.request import address
from inlake.web.request.digests import FIELD_NAMES, check_body
from inlake.web.request.envelope import ENVELOPE_BYTES
from inlake.web.request.exchange import Exchange
from inlake.web.request.quota import admit_records
from inlake.web.request.refusals import Refusals
from inlake.web.request.trace import trace_of
from inlake.web.routes import atomic, stream
from inlake.web.routes.stream import Stream
from inlake.wiring import Deployment

_encode = msgspec.json.Encoder().encode


class Valid(msgspec.Struct):
    """The record fits."""

    valid: bool
    schema: SchemaVersion | None


def may_hold(x: Exchange) -> int:
    """Bytes of a record, or of a stream of them."""
    settings = x.settings
    if address.media_type(x.header(b"content-type")) not in address.NDJSON:
        return x.holds(3 * settings.max_record_bytes)
    return atomic.may_hold(x) if address.of_query(x.scope["query_string"]).atomic else stream.may_hold(settings)


async def record_json(x: Exchange, d: Deployment) -> None:
    """Check one record, or a stream of them, and publish each as an event.

    With `Content-Type: application/x-ndjson` the body is a stream of records, one a line, of any length: receipts come
    back one a line, and a bad line never sinks the others. With `mode=atomic` such a body, of a bounded size, is
    published all or nothing: one bad line refuses it whole.
    """
    to, kind = _address(x)
    if to.atomic:
        if kind not in address.NDJSON:
            raise BadParameter("The mode atomic goes with a body of one record a line: application/x-ndjson.")
        await atomic.record_json_atomic(x, d.gateway, to)
        return
    if kind in address.NDJSON:
        await Stream(x, partial(Group, d.gateway), to, refusals=Refusals(x, d.rejects, to)).run()
        return
    record = await _record(x)
    came: Submission | bytes = record
    try:
        came = _submission(x, to, kind, record)
        receipt = await d.gateway.ingest(came)
    except InlakeError as error:
        x.site.records["failed" if error.is_failure else "rejected"].value += 1
        Refusals(x, d.rejects, to).keep(error, came)
        raise
    await reply_receipt(x, receipt)


async def reply_receipt(x: Exchange, receipt: Receipt | Pending) -> None:
    """201 and the receipt, 202 where its event waits for the bus; 202 and where to ask while a binary is incomplete."""
    if isinstance(receipt, Receipt):
        x.site.records["pending" if receipt.offset is None else "accepted"].value += 1
        await x.reply(receipt.status, _encode(receipt))
    else:
        x.site.records["pending"].value += 1
        location = x.address(f"/promises/{receipt.promise}").encode()
        await x.reply(202, _encode(receipt), headers=[(b"location", location)])


async def validate(x: Exchange, d: Deployment) -> None:
    """Check records as `/ingress/record-json` does, and publish nothing."""
    to, kind = _address(x)
    if to.atomic:
        raise BadParameter("The mode atomic is for publishing: here every line is checked, and nothing is published.")
    if kind in address.NDJSON:
        await Stream(x, partial(CheckedGroup, d.gateway), to, counted=False).run()
        return
    s = _submission(x, to, kind, await _record(x))
    schema = await d.gateway.validate(s)
    await x.reply(200, _encode(Valid(True, schema)))


def _address(x: Exchange) -> tuple[address.Address, str]:
    """Where the records go, and their media type. Raises `BadName`, `BadParameter`, `UnsupportedMediaType`."""
    to = address.of_caller(x.scope["query_string"], x.caller)
    if to.content is not None:
        raise BadParameter("The parameter content goes beside a file, to /ingress/record-json-and-binary.")
    kind = address.media_type(x.header(b"content-type"))
    x.inflate()
    if kind in address.NDJSON and x.has_one_of(FIELD_NAMES):
        raise BadDigest("The digest of a stream is known only when its records are published: send it without.")
    if kind not in address.NDJSON and not address.is_json(kind):
        raise UnsupportedMediaType(
            f"The body is {kind[:100]}: send one record as Content-Type: application/json, or one a line as "
            "application/x-ndjson."
        )
    return to, kind


async def _record(x: Exchange) -> bytes:
    """The body, which is one record. Raises `EmptyBody`, `QuotaExceeded`, `RecordTooLarge`."""
    admit_records(x)
    body = await x.body(x.settings.max_record_bytes + ENVELOPE_BYTES, RecordTooLarge)
    if x.has_one_of(FIELD_NAMES):
        check_body(x, body)
    if not (record := body.removeprefix(address.BOM)).strip():
        raise EmptyBody("The body is empty: it must hold one record.")
    return record


def _submission(x: Exchange, to: address.Address, kind: str, record: bytes) -> Submission:
    """The record, with where it goes. Raises `RecordTooLarge`, and what `address.submission` raises."""
    s = address.submission(to, record, caller=x.caller, tagged=kind == address.TAGGED, trace=trace_of(x))
    address.check_size(s.record, x.settings.max_record_bytes)
    return s if x.attempt is None else x.attempt.bind(s)
