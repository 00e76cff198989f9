"""A stream of records, one a line: read in windows, each published in one call, receipts streamed back in order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import msgspec

from inlake.errors import BodyTooLarge, EmptyBody, InlakeError, LineTooLong, MalformedEncoding, RequestTimeout
from inlake.model import Label, Pending, Receipt, SchemaVersion, Submission
from inlake.web import parse
from inlake.web.exchange import ClientGoneError, Exchange
from inlake.web.problems import line_problem
from inlake.web.receipts import ReceiptLines
from inlake.web.spool import Spool

CONTENT_TYPE = b"application/x-ndjson"
IN_ONE_GO = 200
"""Receipts written before others have their turn in the event loop."""
ENVELOPE_BYTES = 2_000
"""What an envelope may add to a record."""
ANSWER_BYTES = 32 << 20
"""Receipts of a request with an `Idempotency-Key`, which are held in memory and kept as one object: 300 bytes for each
of 100,000 lines. One refused line may have a hundred reasons."""
REJECTS_RESERVE = 16 << 20
"""Memory for the rejects of one request whose spool is full."""
Line = tuple[int, bytes | InlakeError]
Result = Receipt | Pending | SchemaVersion | InlakeError | None
Accept = Callable[[Sequence[Submission | InlakeError]], Awaitable[Coroutine[Any, Any, Sequence[Result]]]]
_encode = msgspec.json.Encoder().encode


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
            return self._number, LineTooLong(f"The line is longer than {self._limit:,} bytes.")
        if self._number == 1:
            piece = piece.removeprefix(parse.BOM)
        return self._number, piece.strip(b" \t\r")


class Stream:
    """One NDJSON request. Reading never waits for writing: receipts that a client does not take go to the spool.

    While a window is on its way to the bus, the next one is read and encoded, no more.
    """

    def __init__(self, x: Exchange, accept: Accept, to: parse.Address, *, counted: bool = True) -> None:
        """`accept`: what happens to a window, `Gateway.accept_window` or the like; `counted`: in /metrics."""
        self._counted = counted
        self._x = x
        self._accept = accept
        self._windows = 0
        self._publishing: asyncio.Task[None] | None = None
        """The window that is on its way."""
        self._to = to
        self._traceparent = parse.traceparent(x.header(b"traceparent"))
        self._lines = Lines(x.settings.max_record_bytes + ENVELOPE_BYTES)
        self._waiting: list[Line] = []
        self._ended = False
        self._receipts = ReceiptLines()
        self._spool = Spool(x.site.spool)
        self._writer: asyncio.Task[None] | None = None
        self._counts: Counter[str] = Counter(dict.fromkeys(("accepted", "pending", "rejected", "failed"), 0))
        self._statuses: set[int] = set()
        self._retry_after = 0
        """Seconds; the longest that a failed line asks for."""
        self._left_out = 0
        self._held = 0
        """Bytes of receipts, of a request with an `Idempotency-Key`."""
        self._sent = 0
        """Bytes of the answer that the client has taken."""

    async def run(self) -> None:
        """Read, publish and answer until the body ends. Raises an error only while nothing is answered."""
        try:
            cut = await self._read_all()
            if not self._statuses:
                raise cut or EmptyBody("The body holds no record: send one a line.")
            self._sum_up(cut)
            self._answer(self._statuses.pop() if len(self._statuses) == 1 and not cut else 207)
            self._spool.end()
            await self._written()
        except asyncio.CancelledError:
            if self._publishing is not None:
                self._publishing.cancel()
            raise
        finally:
            if self._publishing is not None:  # of a client that went away, too: it is counted
                await asyncio.wait([self._publishing])
            for name, count in self._counts.items() if self._counted else ():
                self._x.site.records[name].value += count
            if self._writer is not None:
                self._writer.cancel()
            self._spool.close()

    async def _read_all(self) -> InlakeError | None:
        """Window by window to the end of the body; what cut it short is returned."""
        try:
            while window := await self._window():
                await self._begin(window)
            await self._published()
        except (RequestTimeout, MalformedEncoding, BodyTooLarge) as error:
            await self._published()
            return error
        return None

    async def _begin(self, window: list[Line]) -> None:
        """Accept the window, wait for the one before, and send it on its way."""
        self._windows += 1
        publish = await self._accept(self._submissions(window))
        try:
            await self._published()
        except BaseException:
            publish.close()
            raise
        self._publishing = asyncio.create_task(self._publish(window, asyncio.ensure_future(publish)))

    async def _published(self) -> None:
        """The window that was on its way is published, and its receipts are written."""
        publishing, self._publishing = self._publishing, None
        if publishing is not None:
            await publishing

    async def _window(self) -> list[Line]:
        """Lines until the window is full, the body ends, or no byte comes for a while; none at the end of the body."""
        settings, size = self._x.settings, 0
        while not self._ended and (
            not self._waiting or (len(self._waiting) < settings.window_records and size < settings.window_bytes)
        ):
            pause = settings.window_ms / 1000 if self._waiting else settings.body_idle_seconds
            try:
                chunk = await self._x.receive(pause)
            except TimeoutError:
                if self._waiting:
                    break
                raise RequestTimeout(f"No byte of the body came for {pause:g} seconds.") from None
            size += len(chunk)
            self._waiting += self._lines.feed(chunk)
            self._ended = self._x.at_end
            if self._ended:
                self._waiting += self._lines.end()
        window, self._waiting = self._waiting[: settings.window_records], self._waiting[settings.window_records :]
        return window

    async def _publish(self, window: list[Line], published: Awaitable[Sequence[Result]]) -> None:
        results = await published
        receipts, rejects, accepted = [], [], 0
        line_of = self._receipts.line
        for (n, _), result in zip(window, results, strict=True):
            if isinstance(result, Receipt):
                accepted += 1
                receipts.append(line_of(n, result))
            else:
                receipts.append(line := self._receipt(n, result))
                if isinstance(result, InlakeError):
                    rejects.append(line)
            if n % IN_ONE_GO == 0:
                await asyncio.sleep(0)
        if accepted:
            self._counts["accepted"] += accepted
            self._statuses.add(201)
        wanted = {"all": receipts, "rejects": rejects, "none": []}[self._to.receipts]
        if self._x.attempt is not None and not self._is_kept(wanted):
            self._left_out += len(wanted)
        elif not self._spool.put(b"".join(wanted)):
            kept = rejects if self._spool.put(b"".join(rejects), reserve=REJECTS_RESERVE) else []
            self._left_out += len(wanted) - len(kept)
        if self._windows > 1 or self._waiting or not self._ended:
            self._answer(207)

    def _is_kept(self, receipts: list[bytes]) -> bool:
        """Whether they have room in the answer."""
        self._held += sum(map(len, receipts))
        return self._held <= ANSWER_BYTES

    def _submissions(self, window: list[Line]) -> list[Submission | InlakeError]:
        """What each line asks for. Without envelopes only the record is its own."""
        x, to, limit = self._x, self._to, self._x.settings.max_record_bytes
        if to.schema is None or x.attempt is not None:
            return [self._submission(n, line) for n, line in window]
        label = Label(to.schema, to.destination, to.version, to.message, x.principal, False, self._traceparent)
        return [
            Submission(label, line) if line.__class__ is bytes and len(line) <= limit else self._submission(n, line)
            for n, line in window
        ]

    def _submission(self, n: int, line: bytes | InlakeError) -> Submission | InlakeError:
        if isinstance(line, InlakeError):
            return line
        try:
            s = parse.submission(
                self._to, line, principal=self._x.principal, tagged=False, traceparent=self._traceparent
            )
            parse.check_size(s.record, self._x.settings.max_record_bytes)
            return s if self._x.attempt is None else self._x.attempt.bind(s, n)
        except InlakeError as error:
            return error.kept()

    def _receipt(self, n: int, result: SchemaVersion | Pending | InlakeError | None) -> bytes:
        """The line of what is not plainly published."""
        if isinstance(result, InlakeError):
            self._statuses.add(result.status)
            self._retry_after = max(self._retry_after, result.retry_after or 0)
            self._counts["failed" if result.status >= 500 else "rejected"] += 1
            return line_problem(result, n)
        if isinstance(result, Pending):
            self._statuses.add(202)
            self._counts["pending"] += 1
            return b'{"line":%d,"status":202,%b\n' % (n, _encode(result)[1:])
        self._counts["accepted"] += 1
        self._statuses.add(200)
        return b'{"line":%d,"status":200,"valid":true,"schema":%b}\n' % (n, _encode(result))

    def _sum_up(self, cut: InlakeError | None) -> None:
        """The last line; a stream without it, or with `complete` false, was cut."""
        last: dict[str, object] = {"summary": self._counts, "complete": cut is None}
        if self._left_out:
            last["receipts_left_out"] = self._left_out
        if cut:
            last |= {"code": cut.code, "detail": cut.detail}
        self._spool.put(_encode(last) + b"\n", reserve=2 * REJECTS_RESERVE)

    def _answer(self, status: int) -> None:
        """Begin the answer, if it has not begun: from now on receipts flow while the body is read."""
        if self._writer is None:
            self._writer = asyncio.create_task(self._write(status))

    async def _write(self, status: int) -> None:
        headers = [(b"content-type", CONTENT_TYPE)]
        if status != 207 and self._retry_after:  # all lines failed for the time being
            headers.append((b"retry-after", b"%d" % self._retry_after))
        await self._x.start(status, headers)
        while data := await self._spool.take():
            await self._x.write(data, more=True)
            self._sent += len(data)
        await self._x.write(b"", more=False)

    async def _written(self) -> None:
        """The answer is out. A client that has sent all and reads nothing for long is cut off: `ClientGoneError`."""
        assert self._writer is not None
        sent = -1
        while sent != self._sent:
            sent = self._sent
            done, _ = await asyncio.wait([self._writer], timeout=self._x.settings.body_idle_seconds)
            if done:
                return self._writer.result()
        raise ClientGoneError
