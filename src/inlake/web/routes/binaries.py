"""`POST /ingress/record-json-and-binary`: a record and its binary in one request; `POST /ingress/binary`: one alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress

import msgspec
from multipart import MultipartSegment

from inlake.errors import BadParameter, BinaryTooLarge, InlakeError, MalformedMultipart, MissingParameter
from inlake.gateway import Gateway
from inlake.model import PART, Binary, Pending, Receipt, Submission
from inlake.web.request import address
from inlake.web.request.digests import announced, checked, sha256_of
from inlake.web.request.disposition import filename
from inlake.web.request.envelope import ENVELOPE_BYTES
from inlake.web.request.exchange import Exchange
from inlake.web.request.form import Form, content_type, counted, refuse_encoding
from inlake.web.request.quota import admit_records
from inlake.web.request.refusals import Refusals
from inlake.web.request.trace import trace_of
from inlake.web.routes.promises import describe
from inlake.web.routes.records import reply_receipt
from inlake.web.routes.repeats import begin_with_file, learn_record
from inlake.wiring import Deployment

UPLOAD_BYTES = 6 * PART
FORM_BYTES = 64 << 10
"""Bytes that the framing of a form adds to its record and file, with room."""


def may_hold(x: Exchange) -> int:
    """Bytes of a binary on its way: four parts are being sent, one waits, one fills; and of its record."""
    return x.holds(3 * x.settings.max_record_bytes + UPLOAD_BYTES)


async def record_json_and_binary(x: Exchange, d: Deployment) -> None:
    """Check a record, store its binary, publish one event that names both.

    `multipart/form-data` with the parts `record` (JSON) and `file`. With `record` first a refused record takes not a
    byte of the file; `file` first works too. The file streams to the store whatever its size.
    """
    to = address.of_caller(x.scope["query_string"], x.caller)
    if to.atomic:
        raise BadParameter("The mode atomic is for bodies of one record a line, without binaries.")
    admit_records(x)
    form = Form(x)
    _check_length(x, x.settings.max_record_bytes + FORM_BYTES)
    try:
        receipt = await _ingest(x, d.gateway, to, form)
    except InlakeError as error:
        x.site.records["failed" if error.is_failure else "rejected"].value += 1
        _keep(x, d, to, form, error)
        raise
    if x.attempt is not None and isinstance(receipt, Receipt) and receipt.resource is not None:
        x.attempt.file = receipt.resource.sha256
    await reply_receipt(x, receipt)


async def binary(x: Exchange, d: Deployment) -> None:
    """Store a binary now; its record comes in a request of its own and names it by the puuid that is answered.

    The body is the binary, with its `Content-Type`, and its name in `Content-Disposition` or the query; or a form with
    the part `file`. A digest (`Repr-Digest`, `Content-Digest`, `Digest`,
    `Content-MD5`) is checked.
    """
    asked = _filename_asked(x.scope["query_string"])
    if x.header(b"content-type").partition(";")[0].strip().lower() == "multipart/form-data":
        form = Form(x)
        _check_length(x, FORM_BYTES)
        file = form.file(await _part(form, "file"), last=True)
    else:
        refuse_encoding(x)
        _check_length(x, 0)
        file = _raw(x)
    if asked is not None:
        file = msgspec.structs.replace(file, filename=asked)
    file = await begin_with_file(x, d.gateway, file, address.Address(), b"")
    promise = await d.gateway.promises.of_file(file, x.principal)
    promise = await d.gateway.promises.store(promise, file, kept=True)
    if x.attempt is not None and promise.stored is not None:
        x.attempt.file = promise.stored.sha256
    await x.reply(200, msgspec.json.encode(describe(promise)))


def _raw(x: Exchange) -> Binary:
    """The body as it is."""

    async def chunks() -> AsyncIterator[bytes]:
        while chunk := await x.next_chunk():
            yield chunk

    kind = content_type(x.header(b"content-type"))
    if kind == "application/x-www-form-urlencoded":  # what curl says of any body, if it is not told otherwise
        kind = "application/octet-stream"
    name = filename(x.header(b"content-disposition"), may_be_latin_1=True)
    digests = announced(x.headers())
    return Binary(name, kind, checked(digests, counted(x, chunks())), sha256_of(digests))


def _filename_asked(query: bytes) -> str | None:
    pairs = address.pairs(query)
    if [name for name, _ in pairs] not in ([], ["filename"]):
        raise BadParameter("This route takes one query parameter, filename.")
    return pairs[0][1] if pairs else None


def _check_length(x: Exchange, beside: int) -> None:
    """Refuse what says already that it is too large. Raises `BinaryTooLarge`."""
    if (x.content_length or 0) > x.settings.max_binary_bytes + beside:
        raise BinaryTooLarge(
            f"The binary is larger than {x.settings.max_binary_bytes:,} bytes (INLAKE_MAX_BINARY_BYTES)."
        )


async def _ingest(x: Exchange, gateway: Gateway, to: address.Address, form: Form) -> Receipt | Pending:
    if to.content is not None:  # the first Inlake's form: the record is in the query, the file is the only part
        file = form.file(await _part(form, "file"), last=True)
        file = await begin_with_file(x, gateway, file, to, to.content)
        form.record = to.content
        return await gateway.ingest(_submission(x, to, to.content, "", file))
    head = await _part(form, "record", "file")
    if head.name == "record":
        record, kind = await form.text(x.settings.max_record_bytes + ENVELOPE_BYTES), head.content_type
        file = form.file(await _part(form, "file"), last=True)
        file = await begin_with_file(x, gateway, file, to, record, kind)
        return await gateway.ingest(_submission(x, to, record, kind, file))

    async def rest() -> Submission:
        head = await _part(form, "record")
        record = await form.text(x.settings.max_record_bytes + ENVELOPE_BYTES)
        if extra := await form.next():
            raise MalformedMultipart(f"A part {extra.name[:100]!r} follows the record; nothing was stored.")
        await learn_record(x, gateway, to, record, head.content_type)
        return _submission(x, to, record, head.content_type, None)

    file = await begin_with_file(x, gateway, form.file(head, last=False), to)
    if x.attempt is not None and x.attempt.answer is not None:
        await rest()
    return await gateway.ingest_file_first(file, x.principal, rest)


def _keep(x: Exchange, d: Deployment, to: address.Address, form: Form, error: InlakeError) -> None:
    """Keep the record of a form that was refused for it; its file is not kept."""
    if form.record is None or not error.is_of_content:
        return
    tagged = address.media_type(form.record_type) == address.TAGGED
    text = form.record.removeprefix(address.BOM)
    came: Submission | bytes = text
    with suppress(InlakeError):
        came = address.submission(to, text, caller=x.caller, tagged=tagged, trace=None)
    Refusals(x, d.rejects, to, filename=form.filename).keep(error, came)


async def _part(form: Form, *names: str) -> MultipartSegment:
    """The head of the next part, which must have one of the names."""
    head = await form.next()
    wanted = " or ".join(f"`{name}`" for name in names)
    if head is None:
        raise MissingParameter(f"The part {wanted} is missing. A record without a binary goes to /ingress/record-json.")
    if head.name not in names:
        raise MalformedMultipart(f"The part {head.name[:100]!r} stands where {wanted} should.")
    return head


def _submission(x: Exchange, to: address.Address, record: bytes, kind: str | None, file: Binary | None) -> Submission:
    media = address.media_type(kind or "")
    s = address.submission(
        to,
        record.removeprefix(address.BOM),
        caller=x.caller,
        tagged=media == address.TAGGED,
        trace=trace_of(x),
        file=file,
    )
    address.check_size(s.record, x.settings.max_record_bytes)
    return s if x.attempt is None else x.attempt.bind(s)
