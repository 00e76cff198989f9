"""The publish calls that wait for librdkafka's delivery reports."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from inlake.errors import InlakeError
from inlake.model import Event, Position

Result = Position | InlakeError | None


class Call:
    """One call of `publish`. Counting happens in the polling thread alone, so it needs no lock."""

    __slots__ = ("deadline", "done", "events", "expected", "failed", "reported", "results")

    def __init__(self, events: Sequence[Event], done: asyncio.Future[None]) -> None:
        self.events = events
        self.results: list[Result] = [None] * len(events)
        self.done = done
        self.deadline = 0.0
        """The end of its time, by the event loop's clock."""
        self.expected = -1
        """Reports that are to come; -1 until all events are handed over."""
        self.reported = 0
        self.failed = False

    def finish(self) -> None:
        """Wakes the publisher; it may be gone."""
        if not self.done.done():
            self.done.set_result(None)


class Waiting:
    """The calls that wait, and one timer for all, which ends those whose time is over."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: until a call ends in any case."""
        self._seconds = seconds
        self._calls: dict[Call, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, call: Call) -> None:
        """Returns when all of it is reported, or its time is over."""
        call.deadline = call.done.get_loop().time() + self._seconds
        self._calls[call] = None
        if self._timer is None:
            self._set_timer(call)
        try:
            await call.done
        finally:
            del self._calls[call]

    def _set_timer(self, first: Call) -> None:
        self._timer = first.done.get_loop().call_at(first.deadline, self._end_calls)

    def _end_calls(self) -> None:
        self._timer = None
        for call in self._calls:  # the oldest first
            if call.deadline > call.done.get_loop().time():
                self._set_timer(call)
                return
            call.finish()
