"""`POST /ingress/record-json-and-binary`: a record and its binary in one request."""

from __future__ import annotations

import msgspec
from multipart import MultipartSegment

from inlake.errors import BinaryTooLarge, InlakeError, MalformedMultipart, MissingParameter
from inlake.gateway import Gateway
from inlake.model import Binary, Receipt, Submission
from inlake.web import parse
from inlake.web.exchange import Exchange
from inlake.web.form import Form
from inlake.web.ndjson import ENVELOPE_BYTES

FORM_BYTES = 64 << 10
"""What the framing of a form adds to its record and file, with room."""


async def record_json_and_binary(x: Exchange, gateway: Gateway) -> None:
    """Check a record, store its binary, publish one event that names both.

    `multipart/form-data` with the parts `record` (JSON) and `file`. With `record` first a refused record takes not a
    byte of the file; `file` first works too. The file streams to the store whatever its size.
    """
    parse.refuse_idempotency(x.header(b"idempotency-key"))
    to = parse.address(x.scope["query_string"])
    form = Form(x)
    if (x.content_length or 0) > x.settings.max_binary_bytes + x.settings.max_record_bytes + FORM_BYTES:
        raise BinaryTooLarge(
            f"The binary is larger than {x.settings.max_binary_bytes:,} bytes (INLAKE_MAX_BINARY_BYTES)."
        )
    try:
        receipt = await _ingest(x, gateway, to, form)
    except InlakeError as error:
        x.site.records["failed" if error.status >= 500 else "rejected"].value += 1
        raise
    x.site.records["accepted"].value += 1
    await x.reply(201, msgspec.json.encode(receipt))


async def _ingest(x: Exchange, gateway: Gateway, to: parse.Address, form: Form) -> Receipt:
    if to.content is not None:  # the first Inlake's form: the record is in the query, the file is the only part
        head = await _part(form, "file")
        return await gateway.ingest(_submission(x, to, to.content, "", form.file(head, last=True)))
    head = await _part(form, "record", "file")
    if head.name == "record":
        record, kind = await form.text(x.settings.max_record_bytes + ENVELOPE_BYTES), head.content_type
        head = await _part(form, "file")
        return await gateway.ingest(_submission(x, to, record, kind, form.file(head, last=True)))

    async def rest() -> Submission:
        head = await _part(form, "record")
        record = await form.text(x.settings.max_record_bytes + ENVELOPE_BYTES)
        if extra := await form.next():
            raise MalformedMultipart(f"A part {extra.name[:100]!r} follows the record; nothing was stored.")
        return _submission(x, to, record, head.content_type, None)

    return await gateway.ingest_file_first(form.file(head, last=False), x.principal, rest)


async def _part(form: Form, *names: str) -> MultipartSegment:
    """The head of the next part, which must have one of the names."""
    head = await form.next()
    wanted = " or ".join(f"`{name}`" for name in names)
    if head is None:
        raise MissingParameter(f"The part {wanted} is missing. A record without a binary goes to /ingress/record-json.")
    if head.name not in names:
        raise MalformedMultipart(f"The part {head.name[:100]!r} stands where {wanted} should.")
    return head


def _submission(x: Exchange, to: parse.Address, record: bytes, kind: str | None, file: Binary | None) -> Submission:
    media = parse.media_type(kind or "")
    s = parse.submission(
        to,
        record.removeprefix(parse.BOM),
        principal=x.principal,
        tagged=media == parse.TAGGED,
        traceparent=parse.traceparent(x.header(b"traceparent")),
        file=file,
    )
    parse.check_size(s.record, x.settings.max_record_bytes)
    return s
