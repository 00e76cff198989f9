"""The lines of a stream: records cut from a body, receipts written for the answer."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import NamedTuple

import msgspec
from msgspec import Struct

from inlake.errors import EmptyBody, InlakeError, InternalError
from inlake.model import Receipt, SchemaVersion, StoredObject
from inlake.web.openapi import ndjson
from inlake.web.request import address
from inlake.web.request.envelope import ENVELOPE_BYTES, line_too_long
from inlake.web.request.exchange import Exchange
from inlake.web.request.problems import Code, LineNumber, LineReject, Text
from inlake.web.request.route import fault

log = logging.getLogger("inlake.web")
GROWTH = 4
"""Bytes that the records of a bounded body may come to for each byte of their text: an array of `0,` is four times as
long in doubles. Only defaults make more of them."""
Line = tuple[int, bytes | InlakeError]
"""A line's number from 1, and its text, or why it has none."""
_encode_lines = msgspec.json.Encoder().encode_lines


class Faults:
    """Lines of one request that failed where nobody expected it.

    The log has the first with its cause, and at the end how many there were: a million of them must not fill the disk.
    """

    def __init__(self, instance: str) -> None:
        """`instance`: the name of the request."""
        self._instance = instance
        self._count = 0

    def told(self, n: int, error: InlakeError) -> InlakeError:
        """The error of a line as the client is told it: where to find a fault in the log, else the error itself."""
        if not isinstance(error, InternalError):
            return error
        if not self._count:
            log.error("request %s, line %d failed", self._instance, n, exc_info=error.__cause__ or error)
        self._count += 1
        return fault(self._instance)

    def end(self) -> None:
        if self._count > 1:
            log.error("request %s: %d lines failed", self._instance, self._count)


class Lines:
    """Cuts a stream of bytes into numbered lines; a line that is too long is an error and never held in memory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest = bytearray()
        self._skipping = False
        self._number = 0

    def feed(self, chunk: bytes) -> list[Line]:
        """The lines that end in this chunk, with their numbers from 1; blank ones are counted and left out."""
        first, *others = chunk.split(b"\n")
        if not others:
            self._add(first)
            return []
        rest = others.pop()
        lines = [self._line(first)]  # it ends what the chunks before began
        if len(chunk) > self._limit:
            lines += map(self._line, others)
        lines = [(n, line) for n, line in lines if line]
        if len(chunk) <= self._limit:  # none can be too long: a quarter of a million blank lines must hold up nobody
            lines += [(n, line) for n, text in enumerate(others, self._number + 1) if (line := text.strip(b" \t\r"))]
            self._number += len(others)
        self._add(rest)
        return lines

    def end(self) -> list[Line]:
        """The last line, if it has no newline behind it."""
        n, line = self._line(b"")
        return [(n, line)] if line else []

    def _add(self, piece: bytes) -> None:
        if self._skipping or len(self._rest) + len(piece) > self._limit:
            self._skipping, self._rest = True, bytearray()
        else:
            self._rest += piece

    def _line(self, piece: bytes) -> Line:
        self._number += 1
        if self._rest or self._skipping or len(piece) > self._limit:
            self._add(piece)
            piece, self._rest = bytes(self._rest), bytearray()
        if self._skipping:
            self._skipping = False
            return self._number, line_too_long(self._limit)
        if self._number == 1:
            piece = piece.removeprefix(address.BOM)
        return self._number, piece.strip(b" \t\r")


class Limits(NamedTuple):
    """How much a body of lines may have that is read whole."""

    bytes: str
    """Name of the setting, in lower case; inflated."""
    lines: str
    """Name of the setting."""
    error: type[InlakeError]
    advice: str


async def read_lines(x: Exchange, limits: Limits) -> list[Line]:
    """The lines of the whole body. Raises the error of the limits, `EmptyBody`."""
    size, most = getattr(x.settings, limits.bytes), getattr(x.settings, limits.lines)
    lines: list[Line] = []
    cutter, received = Lines(x.settings.max_record_bytes + ENVELOPE_BYTES), 0
    while chunk := await x.next_chunk():
        received += len(chunk)
        if received > size:
            name = f"INLAKE_{limits.bytes.upper()}"
            raise limits.error(f"The body is larger than {size:,} bytes ({name}): {limits.advice}")
        lines += cutter.feed(chunk)
        if len(lines) > most:
            break
    lines += cutter.end()
    if len(lines) > most:
        raise limits.error(f"The body has more than {most:,} records (INLAKE_{limits.lines.upper()}): {limits.advice}")
    if not lines:
        raise EmptyBody("The body holds no record: send one a line.")
    return lines


class LineReceipt(Struct, gc=False):
    """A line of the answer to a stream: the receipt of a line of the request."""

    line: LineNumber
    status: int
    id: str
    key: str
    topic: str
    partition: int | None
    offset: int | None
    schema: SchemaVersion | None
    resource: StoredObject | None


class LinePending(Struct):
    """A line of the answer to a stream: a line of the request that waits for its binary."""

    line: LineNumber
    status: int
    id: str
    key: str
    promise: str
    state: str
    schema: SchemaVersion | None
    expires_at: str


class LineValid(Struct):
    """A line of the answer to a stream: a line of the request that fits its schema."""

    line: LineNumber
    status: int
    valid: bool
    schema: SchemaVersion | None


class Counts(Struct):
    """Lines by result."""

    accepted: int = 0
    pending: int = 0
    rejected: int = 0
    failed: int = 0


class Summary(Struct, omit_defaults=True):
    """The last line of the answer to a stream; a stream without it was cut."""

    summary: Counts
    complete: bool
    receipts_left_out: int = 0
    code: Code = ""
    detail: Text = ""


STREAM = ndjson(
    "One JSON object a line: a `LineReceipt`, `LinePending`, `LineValid` or `LineReject` for each record, then a "
    "`Summary`.",
    [LineReceipt, LinePending, LineValid, LineReject, Summary],
    '{"line":1,"status":201,"id":"..."}\n{"line":2,"status":422,"code":"record_rejected","errors":[...]}\n'
    '{"summary":{"accepted":1,"pending":0,"rejected":1,"failed":0},"complete":true}\n',
)


def receipt_lines(receipts: Iterable[tuple[int, Receipt]]) -> bytes:
    """Receipts with the numbers of their lines, each a line of JSON."""
    return _encode_lines(
        [
            LineReceipt(n, r.status, r.id, r.key, r.topic, r.partition, r.offset, r.schema, r.resource)
            for n, r in receipts
        ]
    )
