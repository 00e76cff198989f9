"""The calls of `Producer.publish` that wait: the events of each, and what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from msgspec import Struct

from inlake.bus.kafka.producer.batch import OVERHEAD
from inlake.errors import InlakeError, OutcomeUnknown
from inlake.model import Event, Position

Result = Position | InlakeError | None


class Call:
    """One call of `publish`: its events, and what became of each."""

    __slots__ = ("deadline", "done", "events", "missing", "results")

    def __init__(self, events: Sequence[Event], done: asyncio.Future[None]) -> None:
        self.events = events
        self.results: list[Result] = [None] * len(events)
        self.done = done
        self.missing = len(events)
        """Events without a result."""
        self.deadline = 0.0
        """The time when the call ends in any case, by the event loop's clock."""

    def settle(self, count: int) -> None:
        """So many more events have a result; with the last one the publisher wakes, if it is not gone."""
        self.missing -= count
        if self.missing <= 0 and not self.done.done():
            self.done.set_result(None)

    def abandon(self) -> None:
        """Leaves out what is not on its way yet: the publisher is gone."""
        gone = OutcomeUnknown("Nobody waits for the event any more.")
        self.results[:] = [result or gone for result in self.results]


class Run(Struct, frozen=True, gc=False):
    """Neighbours of one call that go to one partition: all of them have a result, or none has."""

    call: Call
    start: int
    """The index of its first event."""
    count: int
    """Number of events."""
    size: int
    """Bytes in a batch, or some more."""

    @property
    def stop(self) -> int:
        """The index behind its last event."""
        return self.start + self.count

    def events(self) -> Sequence[Event]:
        return self.call.events[self.start : self.stop]

    def cut(self, at: int) -> tuple[Run, Run]:
        """The part before that index, and the rest; one of them may be empty."""
        count = at - self.start
        size = sum([len(event.value) for event in self.call.events[self.start : at]]) + count * OVERHEAD
        rest = Run(self.call, at, self.count - count, self.size - size)
        return Run(self.call, self.start, count, size), rest

    def is_open(self) -> bool:
        """Whether somebody waits for what becomes of it."""
        return self.call.results[self.start] is None

    def fail(self, outcome: Callable[[], InlakeError]) -> None:
        """Gives each event an error of its own, if somebody waits for one."""
        if self.is_open():
            self.call.results[self.start : self.stop] = [outcome() for _ in range(self.count)]
            self.call.settle(self.count)

    def succeed(self, positions: list[Position]) -> None:
        """Tells the call where its events are in the log."""
        if self.is_open():
            self.call.results[self.start : self.stop] = positions
            self.call.settle(len(positions))


def runs(call: Call) -> list[Run]:
    """Neighbours with one topic and one key, or whatever the partition is chosen by."""
    events = call.events
    if len(events) == 1:
        return [Run(call, 0, 1, len(events[0].value) + OVERHEAD)]
    found: list[Run] = []
    start = size = 0
    first: Event | None = None
    for index, event in enumerate(events):
        if first is None:
            first = event
        elif event.key != first.key or event.topic != first.topic or event.partition_by != first.partition_by:
            found.append(Run(call, start, index - start, size))
            first, start, size = event, index, 0
        size += len(event.value) + OVERHEAD
    if first is not None:
        found.append(Run(call, start, len(events) - start, size))
    return found
