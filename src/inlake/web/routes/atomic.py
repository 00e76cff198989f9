"""`mode=atomic`: a body of records, one a line, read whole; all of them are published, or none."""

from __future__ import annotations

import asyncio

import msgspec

from inlake.errors import AtomicBodyTooLarge, InlakeError
from inlake.gateway import Gateway
from inlake.group import AtomicGroup, TimeSlice
from inlake.model import Receipt, Submission
from inlake.web.request import address
from inlake.web.request.exchange import ClientGoneError, Exchange
from inlake.web.request.quota import admit_records
from inlake.web.request.spool import REJECTS_RESERVE
from inlake.web.request.trace import trace_of
from inlake.web.routes.lines import GROWTH, Counts, Limits, Line, Summary, read_lines, receipt_lines
from inlake.web.routes.stream import CONTENT_TYPE

ADVICE = "cut it, or send it without mode=atomic, as a stream of any length."
PIECE = 500
"""Receipts that are written in one go."""
_encode = msgspec.json.Encoder().encode


def may_hold(x: Exchange) -> int:
    """Bytes of the whole body as text, as events and as receipts."""
    return x.holds(3 * x.settings.atomic_bytes) + REJECTS_RESERVE


async def record_json_atomic(x: Exchange, gateway: Gateway, to: address.Address) -> None:
    """Publish all records of the body, or none; the answer is that to a stream whose every line was accepted."""
    if to.schema is not None:  # what is wrong with the query refuses the body unread
        await gateway.codecs.find(to.schema, to.version, to.message)
    limits = Limits("atomic_bytes", "atomic_records", AtomicBodyTooLarge, ADVICE)
    lines = await read_lines(x, limits)
    admit_records(x, len(lines))
    numbers = [n for n, _ in lines]
    group = AtomicGroup(gateway, numbers, named=x.settings.max_errors)
    group.room = GROWTH * x.settings.atomic_bytes
    outcome = "failed"
    try:
        await group.encode(await _submissions(x, to, lines))
        with x.site.admission.set_aside(max(0, group.size - x.settings.atomic_bytes)):
            results = await group.publish()
        outcome = "accepted"
    except InlakeError as error:
        outcome = "failed" if error.is_failure else "rejected"
        raise
    finally:
        x.site.records[outcome].value += len(lines)
    receipts = [(n, result) for n, result in zip(numbers, results, strict=True) if isinstance(result, Receipt)]
    await _answer(x, receipts if to.receipts == "all" else [], len(receipts))


async def _submissions(x: Exchange, to: address.Address, lines: list[Line]) -> list[Submission | InlakeError]:
    trace = trace_of(x)
    submissions: list[Submission | InlakeError] = []
    time_slice = TimeSlice()
    for number, line in lines:
        try:
            if isinstance(line, InlakeError):
                raise line
            s = address.submission(to, line, caller=x.caller, tagged=False, trace=trace)
            address.check_size(s.record, x.settings.max_record_bytes)
            submissions.append(s if x.attempt is None else x.attempt.bind(s, number))
        except InlakeError as error:
            submissions.append(error.without_frames())
        await time_slice.yield_if_long()
    return submissions


async def _answer(x: Exchange, receipts: list[tuple[int, Receipt]], accepted: int) -> None:
    """201, receipts and summary. A client that takes nothing for long is cut off: `ClientGoneError`."""
    await x.start(201, [(b"content-type", CONTENT_TYPE)])
    try:
        for start in range(0, len(receipts), PIECE):
            piece = receipt_lines(receipts[start : start + PIECE])
            async with asyncio.timeout(x.settings.body_idle_seconds):
                await x.write(piece, more=True)
            await asyncio.sleep(0)  # others have their turn, too
        async with asyncio.timeout(x.settings.body_idle_seconds):
            await x.write(_encode(Summary(Counts(accepted), complete=True)) + b"\n", more=False)
    except TimeoutError:
        raise ClientGoneError from None
