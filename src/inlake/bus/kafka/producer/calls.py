"""The calls of `Producer.publish` that wait: the events of each, and what became of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from confluent_kafka.cimpl import murmur2
from msgspec import Struct

from inlake.bus.kafka.producer.batch import OVERHEAD
from inlake.errors import InlakeError, OutcomeUnknown
from inlake.model import Event, Position

Result = Position | InlakeError | None


class Call:
    """One call of `publish`: its events, and what became of each."""

    __slots__ = ("deadline", "done", "events", "missing", "order", "results")

    def __init__(self, events: Sequence[Event], done: asyncio.Future[None]) -> None:
        self.events = events
        self.results: list[Result] = [None] * len(events)
        self.order: Sequence[int] = ()
        """The index that each event had when it was given; empty where they stand as they were given."""
        self.done = done
        self.missing = len(events)
        """Events without a result."""
        self.deadline = 0.0
        """The time when the call ends in any case, by the event loop's clock."""

    def sort(self, order: Sequence[int]) -> None:
        """Puts the events into another order. `order`: the indexes that they have now."""
        self.order, self.events = order, [self.events[index] for index in order]

    def outcome(self) -> list[Result]:
        """The result of each event, in the order in which they were given."""
        if not self.order:
            return self.results
        results: list[Result] = [None] * len(self.results)
        for index, result in zip(self.order, self.results, strict=True):
            results[index] = result
        return results

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


def runs(call: Call, partitions: Mapping[str, int]) -> list[tuple[str, int, Run]]:
    """The events by topic and partition. Those of one partition keep their order, and are made neighbours in the call.

    `partitions`: how many each topic has. Where each event chooses its partition by its own id, a run for each would
    cost three times as much.
    """
    events = call.events
    if not events:
        return []
    first = events[0]
    topic, key, by = first.topic, first.key, first.partition_by
    size = 0
    for event in events:
        if event.partition_by != by or event.key != key or event.topic != topic:
            return _sorted_runs(call, partitions)
        size += len(event.value) + OVERHEAD
    return [(topic, murmur2(key if by is None else by, partitions[topic]), Run(call, 0, len(events), size))]


def _sorted_runs(call: Call, partitions: Mapping[str, int]) -> list[tuple[str, int, Run]]:
    by_place: dict[tuple[str, int], list[int]] = {}
    sizes: dict[tuple[str, int], int] = {}
    for index, event in enumerate(call.events):
        topic, by = event.topic, event.partition_by
        place = topic, murmur2(event.key if by is None else by, partitions[topic])
        if place in by_place:
            by_place[place].append(index)
            sizes[place] += len(event.value) + OVERHEAD
        else:
            by_place[place], sizes[place] = [index], len(event.value) + OVERHEAD
    call.sort([index for indexes in by_place.values() for index in indexes])
    found, start = [], 0
    for (topic, partition), indexes in by_place.items():
        found.append((topic, partition, Run(call, start, len(indexes), sizes[topic, partition])))
        start += len(indexes)
    return found
