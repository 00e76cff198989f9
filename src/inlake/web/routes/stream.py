"""A stream of records, one a line: read in windows, published in groups, receipts streamed back in order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable

import msgspec

from inlake.errors import (
    BodyTooLarge,
    EmptyBody,
    InlakeError,
    InternalError,
    MalformedEncoding,
    RequestTimeout,
)
from inlake.group import Group, Result
from inlake.model import Label, Pending, Receipt, SchemaVersion, Submission
from inlake.settings import Settings
from inlake.web.request import address
from inlake.web.request.envelope import ENVELOPE_BYTES
from inlake.web.request.exchange import ClientGoneError, Exchange
from inlake.web.request.problems import line_problem
from inlake.web.request.quota import admit_some
from inlake.web.request.refusals import Refusals
from inlake.web.request.spool import IN_MEMORY, REJECTS_RESERVE, Spool
from inlake.web.request.trace import trace_of
from inlake.web.routes.lines import (
    Counts,
    Faults,
    Line,
    LinePending,
    Lines,
    LineValid,
    Summary,
    receipt_lines,
)

log = logging.getLogger("inlake.web")
CONTENT_TYPE = b"application/x-ndjson"
GROUP_LINES = 250
"""Lines that go to the bus in one call: all that is made of so many, over several streams, stays in a processor's
cache, where a window of 1,000 takes a sixth more time for the same work."""
GROUPS_AT_ONCE = 4
"""Groups on their way while the next one is encoded; fewer of long lines: a stream has about a window on its way, so
that the bus has room for what all streams that are admitted have, also while it stands still."""
ANSWER_BYTES = 32 << 20
"""Receipts of a request with an `Idempotency-Key`, which are held in memory and kept as one object: 300 bytes for each
of 100,000 lines. One refused line may have a hundred reasons."""
_encode = msgspec.json.Encoder().encode


def may_hold(settings: Settings) -> int:
    """Bytes of a window as events and as receipts, of the next one as text and as events, and of the spool."""
    return 6 * settings.window_bytes + 2 * settings.max_record_bytes + IN_MEMORY + REJECTS_RESERVE // 8


class Stream:
    """One NDJSON request. Reading never waits for writing: receipts that a client does not take go to the spool.

    A window goes to the bus in groups, in their order; while some are on their way, the next one is read and encoded.
    """

    def __init__(
        self,
        x: Exchange,
        new_group: Callable[[], Group],
        to: address.Address,
        *,
        counted: bool = True,
        refusals: Refusals | None = None,
    ) -> None:
        """`new_group`: takes the lines of one group the data path; `counted`: in /metrics; `refusals`: keep what was
        refused."""
        self._counted = counted
        self._refusals = refusals
        self._x = x
        self._new_group = new_group
        self._windows = 0
        self._publishing: deque[asyncio.Task[None]] = deque()
        """The groups that are being published, in their order."""
        self._publishing_bytes: deque[int] = deque()
        """Bytes of their lines, or of what became of them, if that is more."""
        self._to = to
        self._trace = trace_of(x)
        self._lines = Lines(x.settings.max_record_bytes + ENVELOPE_BYTES)
        self._waiting: list[Line] = []
        self._ended = False
        self._spool = Spool(x.site.spool)
        self._writer: asyncio.Task[None] | None = None
        self._counts: Counter[str] = Counter(dict.fromkeys(("accepted", "pending", "rejected", "failed"), 0))
        self._statuses: set[int] = set()
        self._retry_after = 0
        """Seconds; the longest that a failed line asks for."""
        self._left_out = 0
        self._faults = Faults(x.instance)
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
            for task in self._publishing:
                task.cancel()
            raise
        finally:
            try:
                await self._all_ended()
            finally:
                self._faults.end()
                for name, count in self._counts.items() if self._counted else ():
                    self._x.site.records[name].value += count
                if self._writer is not None:
                    self._writer.cancel()
                self._spool.close()

    async def _read_all(self) -> InlakeError | None:
        """Window by window to the end of the body; what cut it short is returned."""
        try:
            while window := await self._window():
                self._windows += 1
                for start in range(0, len(window), GROUP_LINES):
                    await self._begin(window[start : start + GROUP_LINES], last=start + GROUP_LINES >= len(window))
            await self._wait_for_all()
        except (RequestTimeout, MalformedEncoding, BodyTooLarge) as error:
            await self._wait_for_all()
            return error
        return None

    async def _begin(self, lines: list[Line], *, last: bool) -> None:
        """Encode lines, and hand them to the bus behind those before once there is room; `last` of their window.

        They are one group, or several where defaults make more than a window of them.
        """
        lines = self._within_quota(lines)
        while lines:
            group, submissions = self._new_group(), self._submissions(lines)
            group.room = self._x.settings.window_bytes
            taken = await group.encode(submissions)
            if self._refusals is not None:
                for i in group.rejected:
                    self._keep_reject(lines[i], submissions[i], group.results[i])
            size = max(group.size, sum([len(line) for _, line in lines[:taken] if isinstance(line, bytes)]))
            await self._publish_soon([n for n, _ in lines[:taken]], group, size, last=last and taken == len(lines))
            lines = lines[taken:]

    async def _publish_soon(self, numbers: list[int], group: Group, size: int, *, last: bool) -> None:
        """Hand a group to the bus once there is room for so many bytes."""
        while len(self._publishing) >= GROUPS_AT_ONCE or sum(self._publishing_bytes) >= self._x.settings.window_bytes:
            await self._wait_for_first()
        before = self._publishing[-1] if self._publishing else None
        self._publishing.append(asyncio.create_task(self._publish(numbers, group, before, last=last)))
        self._publishing_bytes.append(size)

    def _within_quota(self, lines: list[Line]) -> list[Line]:
        """The lines; those beyond what the principal may send are refused."""
        fit, exceeded = admit_some(self._x, len(lines))
        return lines if exceeded is None else [*lines[:fit], *((n, exceeded.without_frames()) for n, _ in lines[fit:])]

    async def _wait_for_first(self) -> None:
        """Waits until the first of the groups is published, and its receipts are written."""
        self._publishing_bytes.popleft()
        await self._publishing.popleft()

    async def _wait_for_all(self) -> None:
        """Waits until every group is published, and its receipts are written."""
        while self._publishing:
            await self._wait_for_first()

    async def _all_ended(self) -> None:
        """No group is on its way any more: those of a client that went away, too, are counted."""
        for failure in await asyncio.gather(*self._publishing, return_exceptions=True):
            if isinstance(failure, Exception):  # the first one ended the request, and is told at the edge
                log.error("request %s failed", self._x.instance, exc_info=failure)

    async def _window(self) -> list[Line]:
        """Lines until the window is full, its first line is some time old, or the body ends; none at the body's end."""
        settings, size = self._x.settings, 0
        closes: float | None = None
        while not self._ended and (
            not self._waiting or (len(self._waiting) < settings.window_records and size < settings.window_bytes)
        ):
            if not self._waiting:
                chunk = await self._x.next_chunk()
            else:
                now = time.monotonic()
                closes = closes or now + settings.window_ms / 1000
                if closes <= now:
                    break
                try:
                    chunk = await self._x.receive(closes - now)
                except TimeoutError:
                    break
            size += len(chunk)
            self._waiting += self._lines.feed(chunk)
            self._ended = self._x.at_end
            if self._ended:
                self._waiting += self._lines.end()
        window, self._waiting = self._waiting[: settings.window_records], self._waiting[settings.window_records :]
        return window

    async def _publish(
        self,
        numbers: list[int],
        group: Group,
        before: asyncio.Task[None] | None,
        *,
        last: bool,
    ) -> None:
        """Publish a group, and write its receipts behind those of the group before."""
        results = await group.publish()
        if before is not None and not before.done():
            await asyncio.wait([before])
        receipts: list[bytes] = []
        rejects: list[bytes] = []
        self._write_receipts(list(zip(numbers, results, strict=True)), receipts, rejects)
        wanted, count = receipts, len(numbers)
        if self._to.receipts != "all":
            wanted = rejects if self._to.receipts == "rejects" else []
            count = len(wanted)
        if self._x.attempt is not None and not self._is_kept(wanted):
            self._left_out += count
        elif not self._spool.put(b"".join(wanted)):
            kept = len(rejects) if self._spool.put(b"".join(rejects), reserve=REJECTS_RESERVE) else 0
            self._left_out += count - kept
        if last and (self._windows > 1 or self._waiting or not self._ended):
            self._answer(207)

    def _write_receipts(self, results: list[tuple[int, Result]], receipts: list[bytes], rejects: list[bytes]) -> None:
        """Add the lines of all, if these are wanted, and once more those of the refused, and count."""
        wanted = self._to.receipts == "all"
        published = [(n, result) for n, result in results if isinstance(result, Receipt)]
        if published:
            waiting = sum([result.offset is None for _, result in published])
            self._counts["accepted"] += len(published) - waiting
            self._counts["pending"] += waiting
            self._statuses |= {result.status for _, result in published} if waiting else {201}
        if len(published) == len(results):
            if wanted:
                receipts.append(receipt_lines(published))
            return
        for n, result in results:
            if isinstance(result, Receipt):
                if wanted:
                    receipts.append(receipt_lines([(n, result)]))
            else:
                receipts.append(line := self._receipt(n, result))
                if isinstance(result, InlakeError):
                    rejects.append(line)

    def _is_kept(self, receipts: list[bytes]) -> bool:
        """Whether they have room in the answer."""
        self._held += sum(map(len, receipts))
        return self._held <= ANSWER_BYTES

    def _submissions(self, lines: list[Line]) -> list[Submission | InlakeError]:
        """The submission of each line. Without envelopes only the record is its own."""
        x, to, limit = self._x, self._to, self._x.settings.max_record_bytes
        if to.schema is None:
            return [self._submission(n, line) for n, line in lines]
        attempt = x.attempt
        label = Label(to.schema, to.destination, to.version, to.message, x.principal, False, self._trace)
        try:
            x.caller.check("ingest", to.schema, to.destination)  # the rights may have changed since the stream began
            label = label if attempt is None else attempt.label(label)
        except InlakeError:
            return [self._submission(n, line) for n, line in lines]
        if attempt is None:
            return [
                Submission(label, line) if line.__class__ is bytes and len(line) <= limit else self._submission(n, line)
                for n, line in lines
            ]
        at, ids = attempt.accepted_ms, attempt.event_ids([n for n, _ in lines])
        return [
            Submission(label, line, None, event_id, at)
            if line.__class__ is bytes and len(line) <= limit
            else self._submission(n, line)
            for (n, line), event_id in zip(lines, ids, strict=True)
        ]

    def _submission(self, n: int, line: bytes | InlakeError) -> Submission | InlakeError:
        if isinstance(line, InlakeError):
            return line
        try:
            s = address.submission(self._to, line, caller=self._x.caller, tagged=False, trace=self._trace)
            address.check_size(s.record, self._x.settings.max_record_bytes)
            return s if self._x.attempt is None else self._x.attempt.bind(s, n)
        except InlakeError as error:
            return error.without_frames()
        except Exception as unexpected:  # noqa: BLE001 - a bad line never sinks the others
            return InternalError.of_record(unexpected)

    def _keep_reject(self, numbered: Line, s: Submission | InlakeError, error: Result) -> None:
        """Keep a line that was refused; one that was too long is not there any more."""
        n, line = numbered
        if self._refusals is not None and isinstance(error, InlakeError) and isinstance(line, bytes):
            self._refusals.keep(error, line if isinstance(s, InlakeError) else s, n)

    def _receipt(self, n: int, result: SchemaVersion | Pending | InlakeError | None) -> bytes:
        """The line of what is not plainly published."""
        if isinstance(result, InlakeError):
            self._statuses.add(result.status)
            self._retry_after = max(self._retry_after, result.retry_after or 0)
            self._counts["failed" if result.is_failure else "rejected"] += 1
            return line_problem(self._faults.told(n, result), n)
        if isinstance(result, Pending):
            self._statuses.add(202)
            self._counts["pending"] += 1
            p = result
            return _encode(LinePending(n, 202, p.id, p.key, p.promise, p.state, p.schema, p.expires_at)) + b"\n"
        self._counts["accepted"] += 1
        self._statuses.add(200)
        return _encode(LineValid(n, 200, True, result)) + b"\n"

    def _sum_up(self, cut: InlakeError | None) -> None:
        """The last line; a stream without it, or with `complete` false, was cut."""
        last = Summary(Counts(**self._counts), cut is None, self._left_out, *([cut.code, cut.detail] if cut else []))
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
