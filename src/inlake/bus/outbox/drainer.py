"""One process of a gateway publishes what waits in the outbox, the oldest of each topic first."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Coroutine, Sequence
from typing import Any

from msgspec import structs

from inlake.bus.outbox.table import Refused, Row, State, Table
from inlake.disk import lock
from inlake.errors import InlakeError
from inlake.metrics import Counter, Metrics
from inlake.model import Event
from inlake.ports import Bus

log = logging.getLogger("inlake.bus")
EVENTS, BYTES = 1_000, 4 << 20
"""How much goes to the bus in one call, of all topics together."""
IDLE, OTHER_DRAINS, TROUBLE = 0.1, 0.5, 1.0
"""Seconds until the next look: when nothing waits, when another process does this work, and after the bus refused."""
STOP_SECONDS = 3.0
"""How long a gateway that stops waits for what it just publishes."""
HEADER = ("inlake_outbox", b"true")
"""The header of an event that came by the disk."""


class Drainer:
    """The work of the one process that holds the lock; others try to get it, and find it when that one is gone."""

    def __init__(self, bus: Bus, table: Table, lock_file: int) -> None:
        """`lock_file`: descriptor of a file of its own, which is closed in the end."""
        self._bus = bus
        self._table = table
        self._lock_file = lock_file
        self._is_locked = False
        self._works: set[str] = set()
        """Topics of which the bus took all, the last time."""
        self._later: dict[str, float] = {}
        """Topics of which the bus did not take all, and when they are tried again."""
        self._to_remove: tuple[list[Row], list[Refused]] | None = None
        """Events that the bus has taken, or refused for good, while the disk does not let go of them."""
        self._state = State()
        """The file as it was at the last look; empty where another process drains."""
        self._told: set[str] = set()
        """Troubles that the log has, since something waits."""
        self._published = Counter()

    def count_in(self, metrics: Metrics) -> None:
        """Show from now on in these metrics what waits: who drains tells it, the others say 0."""
        about = "Events that waited and are on the bus now."
        self._published = metrics.counter("inlake_outbox_published_total", about)
        metrics.gauge("inlake_outbox_events", "Events that wait for the bus.", lambda: self._state.events)
        metrics.gauge("inlake_outbox_bytes", "Their bytes.", lambda: self._state.bytes)
        metrics.gauge("inlake_outbox_oldest_seconds", "How long the oldest of them has waited.", self._age)
        metrics.gauge("inlake_outbox_refused", "Events that the bus will not take.", lambda: self._state.refused)

    async def run_for_ever(self) -> None:
        """Publish what waits, as long as this process lives."""
        while True:
            try:
                pause = await _whole(self.step())
            except (InlakeError, sqlite3.Error, OSError) as error:
                self._tell(f"The outbox cannot be drained: {error}")
                pause = TROUBLE
            except Exception:
                log.exception("a fault while the outbox was drained")
                pause = 5 * TROUBLE
            await asyncio.sleep(pause)

    async def step(self) -> float:
        """Publish the next events, if this process is to do it; in how many seconds to look again."""
        if not self._is_locked:
            if not lock(self._lock_file):
                return OTHER_DRAINS
            self._is_locked = True
            await asyncio.to_thread(self._table.close_in, ())  # what a process left that died
        if self._to_remove is not None:
            await self._remove(*self._to_remove)
        self._state = await asyncio.to_thread(self._table.state)
        waiting = self._state.waiting
        ready = [b for b in waiting if self._later.get(b.topic, 0.0) <= time.monotonic()]
        if not waiting:
            self._tell_the_end()
            return IDLE
        if not ready:
            return TROUBLE / 4
        share = max(1, EVENTS // len(ready))
        closing = {b.topic for b in ready if b.topic in self._works and b.events <= share}
        if closing != {b.topic for b in waiting if b.closing}:
            await asyncio.to_thread(self._table.close_in, closing)
        rows = await asyncio.to_thread(self._take, [b.topic for b in ready[:EVENTS]], share)
        await self._publish(rows)
        return 0.0

    def close(self) -> None:
        """Let others do it."""
        os.close(self._lock_file)

    def _take(self, topics: Sequence[str], share: int) -> list[Row]:
        return [row for topic in topics for row in self._table.take(topic, share, max(1, BYTES // len(topics)))]

    async def _publish(self, rows: Sequence[Row]) -> None:
        results = await self._bus.publish([_marked(row.event) for row in rows])
        published, refused = [], []
        now, failed = time.monotonic(), set[str]()
        for row, result in zip(rows, results, strict=True):
            if not isinstance(result, InlakeError):
                published.append(row)
            elif result.retryable:
                failed.add(row.event.topic)
                self._tell(result.detail)
            else:
                refused.append(Refused(row, result))
                log.error("event %s is refused, and stays in the outbox: %s", row.event.id, result.detail)
        self._later = {topic: until for topic, until in self._later.items() if until > now}
        self._later |= dict.fromkeys(failed, now + TROUBLE)
        self._works = {row.event.topic for row in published} - failed
        if published or refused:
            self._to_remove = published, refused
            await self._remove(published, refused)

    async def _remove(self, published: list[Row], refused: list[Refused]) -> None:
        await asyncio.to_thread(self._table.remove, published, refused)
        self._to_remove = None
        self._published.value += len(published)

    def _age(self) -> float:
        oldest = self._state.oldest_ms
        return 0.0 if oldest is None else max(0.0, time.time() - oldest / 1000)

    def _tell(self, trouble: str) -> None:
        """Logs what keeps events from the bus, once until nothing waits any more."""
        if trouble not in self._told:
            self._told.add(trouble)
            log.warning("events wait in the outbox: %s", trouble)

    def _tell_the_end(self) -> None:
        if self._told:
            self._told.clear()
            log.info("the outbox is drained")


async def _whole(step: Coroutine[Any, Any, float]) -> float:
    """Gives a step that is cancelled some seconds to come to its end: what is on the bus is to be removed."""
    task = asyncio.ensure_future(step)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=STOP_SECONDS)
        task.cancel()
        raise


def _marked(event: Event) -> Event:
    return structs.replace(event, context=(*event.context, HEADER))
