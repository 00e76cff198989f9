"""`POST /ingress/record-json`: one record, or a stream of them a line each."""

from __future__ import annotations

import msgspec

from inlake.errors import BadParameter, EmptyBody, RecordRejected, RecordTooLarge, UnsupportedMediaType
from inlake.gateway import Gateway
from inlake.model import ANONYMOUS, Submission
from inlake.web import parse
from inlake.web.exchange import Exchange
from inlake.web.ndjson import ENVELOPE_BYTES, Stream

_encode = msgspec.json.Encoder().encode


async def record_json(x: Exchange, gateway: Gateway) -> None:
    """Check one record against its schema and publish it as an event.

    With `Content-Type: application/x-ndjson` the body is a stream of records, one a line, of any length: receipts come
    back one a line, and a bad line never sinks the others.
    """
    parse.refuse_idempotency(x.header(b"idempotency-key"))
    to = parse.address(x.scope["query_string"])
    if to.content is not None:
        raise BadParameter("content goes beside a file, to /ingress/record-json-and-binary.")
    kind = parse.media_type(x.header(b"content-type"))
    if kind in parse.NDJSON:
        await Stream(x, gateway, to).run()
        return
    if not parse.is_json(kind):
        raise UnsupportedMediaType(
            f"The body is {kind[:100]}: send one record as Content-Type: application/json, or one a line as "
            "application/x-ndjson."
        )
    body = await x.body(x.settings.max_record_bytes + ENVELOPE_BYTES, RecordTooLarge)
    receipt = await _ingest(gateway, make_submission(x, to, body, kind))
    await x.reply(201, _encode(receipt))


def make_submission(x: Exchange, to: parse.Address, body: bytes, kind: str) -> Submission:
    """The one record of a body. Raises `EmptyBody`, `RecordTooLarge`, and what `parse.submission` raises."""
    record = body.removeprefix(parse.BOM)
    if not record.strip():
        raise EmptyBody("The body is empty: it must hold one record.")
    s = parse.submission(
        to,
        record,
        principal=ANONYMOUS,
        tagged=kind == parse.TAGGED,
        traceparent=parse.traceparent(x.header(b"traceparent")),
    )
    parse.check_size(s.record, x.settings.max_record_bytes)
    return s


async def _ingest(gateway: Gateway, s: Submission) -> object:
    """The receipt; an array sent for a record gets the advice that it needs."""
    try:
        return await gateway.ingest(s)
    except RecordRejected as error:
        if s.record.lstrip()[:1] == b"[" and error.errors[0].pointer == "":
            error.detail += ". Send one record a line as application/x-ndjson, not an array."
        raise
