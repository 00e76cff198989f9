"""A partition's queue: the events that wait, the batch that is on its way, and the calls that want to know."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from inlake.bus.kafka_batch import OVERHEAD, ProducerId
from inlake.bus.kafka_connection import Connection
from inlake.errors import InlakeError
from inlake.model import Event, Position

BATCH_EVENTS = 1000
"""Events of a batch, and those that are encoded before others have their turn in the event loop: a millisecond."""
BATCH_BYTES = 950_000
"""Of a batch of more than one event, about: brokers take 1,048,588 by default (max.message.bytes)."""
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

    def end(self) -> None:
        """Wake the publisher when nothing is missing; it may be gone."""
        if not self.missing and not self.done.done():
            self.done.set_result(None)


Entry = tuple[Call, int]
"""A call, and the index of its event."""


class Flight:
    """A batch on its way."""

    __slots__ = ("connection", "data", "entries", "error", "first_refused", "producer", "sequence", "unknown")

    def __init__(self, entries: list[Entry], data: bytes, producer: ProducerId, sequence: int) -> None:
        self.entries = entries
        self.data = data
        self.producer = producer
        self.sequence = sequence
        self.connection: Connection | None = None
        """That it was sent on, while an answer is due."""
        self.unknown = False
        """It was sent, and no answer says that it is not in the log."""
        self.error = 0
        """What a broker last said against it."""
        self.first_refused = 0.0
        """When it first said so."""

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
        return any(not call.done.done() for call, _ in self.entries)


class Lane:
    """One partition: what is in flight, what waits, and the sequence number of the next event."""

    __slots__ = ("flight", "limit", "partition", "producer", "retry", "sequence", "topic", "waiting")

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
        """When the flight may be sent again, by the event loop's clock."""

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
