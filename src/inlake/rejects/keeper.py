"""Takes rejects from requests and has them written behind their backs: no answer waits for it, or depends on it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from inlake.errors import Busy, InlakeError
from inlake.metrics import Metrics
from inlake.rejects.reject import Cause, Cursor, Mark, Reject, Wanted

log = logging.getLogger("inlake.rejects")
PENDING_BYTES = 32 << 20
"""Text of rejects that may wait to be written; what comes beyond is not kept, and counted."""
BATCH = 1_000
"""Rejects that are written in one call."""
QUESTIONS = 20
"""Pages and lists of causes that are made or waited for at a time: one after the other."""
BESIDE = 1_000
"""Bytes of memory that a reject takes beside its text."""


class RejectLog(Protocol):
    """Where rejects are kept. Each method raises `InlakeError` when it cannot be done."""

    def begin(self) -> None:
        """Begin to read what is to be read before the first question can be answered, if anything is; never fails."""
        ...

    @property
    def dropped(self) -> int:
        """How many went so far, for lack of room, that nobody had mended."""
        ...

    async def add(self, rejects: Sequence[Reject]) -> Sequence[Reject]:
        """Keep as many as can be, and return those; one whose id is there already stays as it is."""
        ...

    async def mend(self, mark: Mark) -> None:
        """Mark a reject as mended; the first mark stays."""
        ...

    async def find(self, reject_id: str) -> Reject | None: ...

    async def page(self, wanted: Wanted, limit: int, after: Cursor | None) -> Sequence[Reject]:
        """The newest first, from behind `after` on: so many, or fewer when their texts fill a page (`is_full`)."""
        ...

    async def causes(self, wanted: Wanted) -> Sequence[Cause]:
        """The cause with the most rejects first, at most 1,000."""
        ...

    async def close(self) -> None: ...


class Keeper:
    """The rejects of a gateway."""

    def __init__(self, kept_in: RejectLog) -> None:
        self._log = kept_in
        self._waiting: list[Reject] = []
        self._waiting_bytes = 0
        self._taken = self._settled = 0
        """Rejects that were to be kept so far, and those of them that are written, or lost."""
        self._batch_ended = asyncio.Condition()
        self._writing: asyncio.Task[None] | None = None
        self._metrics = Metrics()
        self._lost = self._metrics.counter("inlake_rejects_lost_total", "")
        self._told_lost = False
        self._questions = 0

    def count_in(self, metrics: Metrics) -> None:
        """Show from now on in these metrics what is kept, by cause, and what is not."""
        self._metrics = metrics
        self._lost = metrics.counter(
            "inlake_rejects_lost_total", "Refused records that could not be kept, or went unmended for lack of room."
        )

    def begin(self) -> None:
        """See `RejectLog.begin`."""
        self._log.begin()

    def keep(self, reject: Reject) -> None:
        """Have it written soon. Never fails: what cannot be kept is counted."""
        size = len(reject.text) + BESIDE
        if self._waiting_bytes + size > PENDING_BYTES:
            self._lose(1, "they come faster than they can be written")
            return
        self._waiting.append(reject)
        self._waiting_bytes += size
        self._taken += 1
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write())

    async def written(self) -> None:
        """Wait until all that was kept before is written, or lost; what comes meanwhile is not waited for."""
        taken = self._taken
        async with self._batch_ended:
            await self._batch_ended.wait_for(lambda: self._settled >= taken)

    async def find(self, reject_id: str) -> Reject | None:
        """See `RejectLog.find`; what was refused before this call is found."""
        await self.written()
        return await self._log.find(reject_id)

    async def page(self, wanted: Wanted, limit: int, after: Cursor | None = None) -> Sequence[Reject]:
        """See `RejectLog.page`. Raises `Busy`."""
        with self._question():
            await self.written()
            return await self._log.page(wanted, limit, after)

    async def causes(self, wanted: Wanted) -> Sequence[Cause]:
        """See `RejectLog.causes`. Raises `Busy`."""
        with self._question():
            await self.written()
            return await self._log.causes(wanted)

    async def mend(self, mark: Mark) -> None:
        """See `RejectLog.mend`."""
        await self._log.mend(mark)

    async def close(self) -> None:
        """Write what waits, then let go."""
        await self.written()
        await self._log.close()

    @contextmanager
    def _question(self) -> Iterator[None]:
        """A question for many rejects. Raises `Busy` when there are too many."""
        if self._questions >= QUESTIONS:
            raise Busy(f"{QUESTIONS} others look for rejects already: try again in a moment.")
        self._questions += 1
        try:
            yield
        finally:
            self._questions -= 1

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            dropped = self._log.dropped
            try:
                kept = await self._log.add(batch)
            except InlakeError as error:
                self._lose(len(batch), error.detail)
            except Exception:
                log.exception("rejects could not be kept")
                self._lose(len(batch), "of a fault")
            else:
                self._count(kept)
                if len(kept) < len(batch):
                    self._lose(len(batch) - len(kept), "some of them were not taken")
                elif gone := self._log.dropped - dropped:
                    self._lose(gone, "there is no room for all (INLAKE_REJECTS_BYTES), so the oldest go")
                elif not self._waiting:
                    self._told_lost = False  # all is well again: the next time is told again
            self._waiting_bytes -= sum(len(reject.text) + BESIDE for reject in batch)
            self._settled += len(batch)
            async with self._batch_ended:
                self._batch_ended.notify_all()

    def _count(self, batch: Sequence[Reject]) -> None:
        """Codes are few and ours; a pointer or a schema is what clients make up, and stands in no label."""
        for reject in batch:
            for code in {reason.code for reason in reject.reasons}:
                about = "Refused records that were kept, by the code of each of their reasons."
                self._metrics.counter("inlake_rejects_kept_total", about, (("code", code),)).value += 1

    def _lose(self, count: int, why: str) -> None:
        self._lost.value += count
        if not self._told_lost:
            self._told_lost = True  # once each time: a disk that is full stays so
            log.warning("refused records are not kept: %s; inlake_rejects_lost_total counts them", why)
