"""Work that a crash or a lost connection left is finished or removed, judged by the entries of the promises alone."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, get_args

from inlake.errors import InlakeError, NotFound, PromiseExpired
from inlake.logbook import process, reserve
from inlake.logbook.answers import KeptAnswers
from inlake.model import masked
from inlake.ports import Store
from inlake.promises.entries import Failed, Presigned, Removing, Tus
from inlake.promises.promise import OPEN, Promise, read
from inlake.promises.shipments.entries import OPEN as SHIPPING
from inlake.promises.shipments.steps import Shipments
from inlake.promises.steps import Promises
from inlake.promises.uploads import Uploads

log = logging.getLogger("inlake.sweep")
LONGEST_REST = 600.0
"""Seconds in which a promise that waits for its client is not looked at."""
AT_ONCE = 16
"""Promises dealt with side by side: it takes half the time of one after the other."""
BUSY = 0.2
"""The part of the time in which a sweep that goes on beside requests works; in the rest it sleeps."""
LONGEST_PAUSE = 30.0
"""Seconds that it sleeps at a time: a large object may have to be read back, and the next promises do not wait for four
times as long."""
Deal = Callable[[str, bool], Awaitable["Finding | None"]]
What = Literal["finished", "expired", "removed", "waiting", "unreadable"]
WHATS: tuple[What, ...] = get_args(What)


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise with work left that nobody does: what is to be done, and why."""

    what: What
    """`finished`: its event is published; `expired`: given up, its object deleted; `removed`: the last traces of one
    that has ended; `waiting`: it could not be done now; `unreadable`: it cannot be read."""
    marker: str
    """Key of its mark in the store."""
    promise: Promise | None
    why: str

    @property
    def puuid(self) -> str:
        """The puuid's first digits."""
        return _short(self.marker)

    def __str__(self) -> str:
        """One line for a person."""
        return f"{self.what} {self.puuid} {self.why}"


class Sweep:
    """Goes through the promises that have work left. Any number of processes may sweep at once."""

    def __init__(
        self,
        store: Store,
        promises: Promises,
        uploads: Uploads | None = None,
        shipments: Shipments | None = None,
        *,
        bus_timeout: float,
        upload_timeout: float,
    ) -> None:
        """Times in seconds. A clock decides only who tries; the next entry of a log decides who won."""
        self._store = store
        self._promises = promises
        self._uploads = uploads
        self._shipments = shipments
        self._publishing = 2 * bus_timeout
        self._late = 2 * upload_timeout
        self.share = (0, 1)
        """This worker's number, from 0, and how many workers of one server sweep: each begins with its own promises."""
        self._rests: dict[str, float] = {}
        """When a promise needs to be looked at again, by its mark."""

    async def run_for_ever(
        self, pause: float, count: Callable[[str], None] = lambda _: None, answers: KeptAnswers | None = None
    ) -> None:
        """Sweep now and after every pause (seconds), until cancelled. A store that is away is tried again.

        `count` is told of every finding, by its `what`; `answers`: those that are over are removed as well.
        """
        while True:
            done: Counter[str] = Counter()
            try:
                async for finding in self.findings(beside=True):
                    count(finding.what)
                    done[finding.what] += 1
                await reserve.fill(self._store)
                if answers:
                    await answers.look()
            except InlakeError:
                pass  # the store is away
            except Exception:
                log.exception("sweep: it did not get through")
            if done:
                log.info("sweep: %s", ", ".join(f"{n} {what}" for what, n in sorted(done.items())))
            await asyncio.sleep(pause)

    async def run(self) -> Counter[str]:
        """One sweep: how many of what was done."""
        return Counter([finding.what async for finding in self.findings()])

    async def findings(self, *, dry_run: bool = False, beside: bool = False) -> AsyncIterator[Finding]:
        """One sweep: each finding once it is dealt with, or with `dry_run` what would be done. `StoreUnavailable`.

        `beside`: for who sweeps again and again beside requests: those that can wait are left out (`_is_due`), and the
        sweep works only a part of the time.
        """
        before, self._rests = self._rests, {}
        for folder, at_once, deal_with in (
            (OPEN, AT_ONCE, self._deal_with_promise),
            (SHIPPING, 1, self._deal_with_shipment),  # the log of one may be long
        ):
            async for markers in self._batches(folder, at_once, before if beside else None):
                began = time.monotonic()
                for finding in await asyncio.gather(*(self._deal(marker, deal_with, dry_run) for marker in markers)):
                    if finding:
                        yield finding
                if beside:
                    await asyncio.sleep(min((time.monotonic() - began) * (1 / BUSY - 1), LONGEST_PAUSE))

    async def _batches(self, folder: str, at_once: int, before: Mapping[str, float] | None) -> AsyncIterator[list[str]]:
        """The marks of a folder, so many at once. `before`: when they were due; those that are not yet stay out."""
        batch: list[str] = []
        async for marker in self._store.list(folder):
            if before is not None and not self._is_due(marker, before):
                continue
            batch.append(marker)
            if len(batch) == at_once:
                yield batch
                batch = []
        if batch:
            yield batch

    def _is_due(self, marker: str, before: Mapping[str, float]) -> bool:
        """Whether to look at it now, as far as was known `before`; if not, it is noted until when it rests.

        One of another worker's is looked at when that one has had the time to do it, and has not.
        """
        due = before.get(marker)
        if due is None:
            due = 0 if self._is_ours(marker) else time.time() + LONGEST_REST
        if due <= time.time():
            return True
        self._rests[marker] = due
        return False

    def _is_ours(self, marker: str) -> bool:
        number, workers = self.share
        return zlib.crc32(marker.encode()) % workers == number

    async def _deal(self, marker: str, deal_with: Deal, dry_run: bool) -> Finding | None:
        try:
            return await deal_with(marker, dry_run)
        except InlakeError as error:
            log.warning("sweep: %s waits: %s", _short(marker), error.detail)
            return Finding("waiting", marker, None, error.detail)
        except Exception as error:  # what one has wrong must not keep the others waiting
            log.exception("sweep: %s cannot be read", _short(marker))
            return Finding("unreadable", marker, None, repr(error))

    async def _deal_with_promise(self, marker: str, dry_run: bool) -> Finding | None:
        finding = await self._look(marker)
        if finding is None or dry_run:
            return finding
        done = await self._settle(finding)
        return replace(finding, what=done) if done else None

    async def _deal_with_shipment(self, marker: str, dry_run: bool) -> Finding | None:
        if self._shipments is None:
            return None
        due = await self._shipments.look(marker.rpartition("/")[2], marker)
        if due.what is None:
            self._rests[marker] = min(due.at, time.time() + LONGEST_REST)
            return None
        if dry_run or await self._shipments.settle(due, marker):
            return Finding(due.what, marker, None, f"shipment: {due.why}")
        return None

    async def _look(self, marker: str) -> Finding | None:
        """The task behind a mark, if there is one."""
        promise = await read(self._store, marker.rpartition("/")[2])
        now = time.time()
        if promise is None:
            return await self._look_at_unwritten(marker, now)
        dead = process.is_certainly_dead(promise.owner)
        if promise.published:
            if dead or now > promise.at + self._publishing:
                return Finding("removed", marker, promise, "published, and its mark was left")
        elif promise.end is not None:
            if now > self._last_trace(promise) or (dead and isinstance(promise.last, Removing)):
                return Finding("removed", marker, promise, f"{promise.state}: {promise.reason}")
        elif promise.stored and promise.claim:
            if dead or now > promise.at + self._publishing:
                return Finding("finished", marker, promise, "stored and claimed, not published")
        elif self._uploads and (promise.upload or promise.size) and not promise.stored and _has_come(promise):
            if now > promise.at + self._publishing:
                return Finding("finished", marker, promise, "all bytes have come, not stored")
        elif now > promise.expires or (dead and promise.claim is None):
            return Finding(
                "expired", marker, promise, f"{promise.state}, {'its process died' if dead else 'and no more'}"
            )
        self._rests[marker] = self._rest(promise, now)
        return None

    def _rest(self, promise: Promise, now: float) -> float:
        """Says when to look again: a promise may wait for its client a day, and many may.

        One that has ended can only be removed; one that waits can be claimed and left by a crash at any time, so the
        longer it has waited the longer it rests, up to `LONGEST_REST`.
        """
        if promise.end is not None:
            return self._last_trace(promise)
        if promise.owner and not (promise.claim and promise.stored is None):  # a process works on it
            return 0
        return min(now + min((now - promise.at) / 2, LONGEST_REST), promise.expires)

    async def _look_at_unwritten(self, marker: str, now: float) -> Finding | None:
        """A crash between marker and entry 0: nothing else was written, nothing can be promised."""
        made = await self._store.get(marker)
        if made is None or now < json.loads(made)["at"] + self._late:
            return None
        return Finding("removed", marker, None, "a mark without a log")

    def _last_trace(self, promise: Promise) -> float:
        """When nothing can come any more: no slow writer, no repeat of an event, no upload by a signed URL."""
        late = promise.at + (self._publishing if isinstance(promise.end, Failed) else self._late)
        return max(late, promise.expires + self._late) if isinstance(promise.announced.way, Presigned) else late

    async def _settle(self, finding: Finding) -> What | None:
        """Carries out a finding; returns what was done, None when another process was quicker."""
        promise, done = finding.promise, True
        if promise is None:
            await self._store.delete(finding.marker)
        elif promise.published:
            await self._promises.cleanup.forget(promise)
        elif finding.what == "finished" and promise.stored is None and self._uploads:
            try:
                done = await self._uploads.finish(promise)
            except InlakeError as error:
                promise = await read(self._store, promise.puuid) or promise
                if not isinstance(error, NotFound | PromiseExpired):  # what had come of it is there
                    if time.time() < promise.expires:
                        raise
                    log.warning("sweep: %s is given up, its object cannot be made: %s", promise, error.detail)
                return "expired" if await self._promises.expire(promise) else None
        elif finding.what == "finished":
            await self._promises.finish(promise, again=True)
        elif finding.what == "expired":
            done = await self._promises.expire(promise)
        else:
            done = await self._promises.cleanup.remove_again(promise)
        return finding.what if done else None


def _has_come(promise: Promise) -> bool:
    """All bytes of an upload in several requests; one of no bytes may have been reserved, and never begun."""
    return isinstance(promise.announced.way, Tus) and promise.received == promise.size


def _short(marker: str) -> str:
    return masked(marker.rpartition("/")[2])
