"""A partition's queue: the events that wait, the batch that is on its way, and the calls that want to know."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Container, Sequence

from inlake.bus.kafka_batch import OVERHEAD, ProducerId
from inlake.bus.kafka_connection import Connection
from inlake.errors import InlakeError, OutcomeUnknown
from inlake.model import Event, Position

BATCH_EVENTS = 1000
"""Events of a batch, and those that are encoded before others have their turn in the event loop: a millisecond."""
BATCH_BYTES = 950_000
"""Of a batch of more than one event, about: brokers take 1,048,588 by default (max.message.bytes)."""
SEQUENCES = 1 << 31
"""Kafka counts a partition's events in 31 bits, and begins again at 0 (KIP-98)."""
Result = Position | InlakeError | None


class Call:
    """One call of `publish`: its events, and what became of each."""

    __slots__ = ("deadline", "done", "events", "failed", "missing", "results")

    def __init__(self, events: Sequence[Event], results: list[Result], done: asyncio.Future[None]) -> None:
        self.events = events
        self.results = results
        self.done = done
        self.missing = 0
        self.failed = False
        self.deadline = 0.0

    def fail(self, index: int, error: InlakeError) -> None:
        """The outcome of one event, if it has none yet."""
        if self.results[index] is None:
            self.failed = True
            self.results[index] = error
            self.missing -= 1
            self.end()

    def abandon(self) -> None:
        """Its publisher is gone: what is not on its way yet is left out."""
        gone = OutcomeUnknown("Nobody waits for the event any more.")
        self.results[:] = [result or gone for result in self.results]

    def end(self) -> None:
        """Wake the publisher when nothing is missing; it may be gone."""
        if not self.missing and not self.done.done():
            self.done.set_result(None)


Entry = tuple[Call, int]
"""A call, and the index of its event."""


class Flight:
    """A batch on its way."""

    __slots__ = ("connection", "data", "entries", "producer", "sequence", "unknown")

    def __init__(self, entries: list[Entry], data: bytes, producer: ProducerId, sequence: int) -> None:
        self.entries = entries
        self.data = data
        self.producer = producer
        self.sequence = sequence
        self.connection: Connection | None = None
        """That it was sent on, while an answer is due."""
        self.unknown = False
        """It was sent, and no answer says that it is not in the log."""

    def may_be_in_the_log(self) -> bool:
        """Or may get there yet: its sequence numbers must not be given to other events."""
        return self.unknown or self.connection is not None

    def fail(self, outcome: Callable[[], InlakeError]) -> None:
        """All of it, each event with an error of its own."""
        for call, index in self.entries:
            call.fail(index, outcome())

    def succeed(self, topic: str, partition: int, first: int) -> None:
        """All of it is in the log, from the offset `first` on; -1: nobody knows where."""
        call = None
        offset = first
        for entry_call, index in self.entries:
            if entry_call is not call:
                if call is not None:
                    call.end()
                call = entry_call
            if call.results[index] is None:
                call.results[index] = Position(topic, partition, offset)
                call.missing -= 1
            offset += first >= 0
        if call is not None:
            call.end()

    def is_wanted(self) -> bool:
        """Somebody still waits for it."""
        return any(call.results[index] is None for call, index in self.entries)


class Lane:
    """One partition: what is in flight, what waits, and the sequence number of the next event."""

    __slots__ = (
        "error",
        "flight",
        "limit",
        "partition",
        "producer",
        "refused_since",
        "retry",
        "sequence",
        "topic",
        "waiting",
    )

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.waiting: deque[Entry] = deque()
        self.flight: Flight | None = None
        self.producer: ProducerId | None = None
        self.sequence = 0
        self.limit = BATCH_BYTES
        """Of a batch; less than at first once the topic has refused one."""
        self.retry = 0.0
        """When something may be sent again, by the event loop's clock."""
        self.error = 0
        """What a broker last said against a batch; 0 once it has taken one."""
        self.refused_since = 0.0
        """When that began."""

    def take(self) -> list[Entry]:
        """The next entries that go into one batch; those of calls that have ended are left out."""
        taken: list[Entry] = []
        size, waiting = 0, self.waiting
        while waiting and len(taken) < BATCH_EVENTS:
            call, index = entry = waiting[0]
            if call.results[index] is None:
                event = call.events[index]
                size += len(event.value) + OVERHEAD
                if size > self.limit and taken:
                    break
                taken.append(entry)
            waiting.popleft()
        return taken

    def give_back(self, flight: Flight) -> None:
        """It is not in the log: what it held waits again, at the front."""
        self.flight = None
        self.waiting.extendleft(reversed(flight.entries))

    def halve(self, flight: Flight) -> None:
        """It is too large, and not in the log: two batches next time."""
        self.limit = sum(len(call.events[index].value) + OVERHEAD for call, index in flight.entries) // 2
        self.give_back(flight)

    def drop(self, error: Callable[[], InlakeError], over: Container[Call] | None = None) -> None:
        """Tell events that wait how they failed: those of calls that are `over`, which are in front, or all."""
        waiting = self.waiting
        while waiting:
            call, index = waiting[0]
            if call.results[index] is None:
                if over is not None and call not in over:
                    return
                call.fail(index, error())
            waiting.popleft()

    def succeeded(self, count: int) -> None:
        """The batch in flight is in the log."""
        self.flight = None
        self.sequence = (self.sequence + count) % SEQUENCES
        self.error, self.refused_since = 0, 0.0
