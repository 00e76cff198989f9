"""A partition's queue: the events that wait, the batch that is on its way, and the calls that want to know."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Container, Sequence

from msgspec import Struct

from inlake.bus.kafka.producer.batch import OVERHEAD, Batch, ProducerId
from inlake.bus.kafka.producer.connection import Connection
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

    def settle(self, count: int) -> None:
        """So many have a result now; with the last one the publisher wakes, if it is not gone."""
        self.missing -= count
        if self.missing <= 0 and not self.done.done():
            self.done.set_result(None)

    def abandon(self) -> None:
        """Its publisher is gone: what is not on its way yet is left out."""
        gone = OutcomeUnknown("Nobody waits for the event any more.")
        self.results[:] = [result or gone for result in self.results]


class Parcel(Struct, frozen=True, gc=False):
    """Neighbours of one call that go the same way: all of them have a result, or none has."""

    call: Call
    start: int
    stop: int
    """Indexes of its events, `stop` not included."""
    bytes: int
    """Of their values."""

    @property
    def count(self) -> int:
        """Of events."""
        return self.stop - self.start

    @property
    def size(self) -> int:
        """Bytes in a batch, or some more."""
        return self.bytes + self.count * OVERHEAD

    def events(self) -> Sequence[Event]:
        return self.call.events[self.start : self.stop]

    def cut(self, at: int) -> tuple[Parcel, Parcel]:
        """What is before that index, and the rest; one of them may be empty."""
        before = sum([len(event.value) for event in self.call.events[self.start : at]])
        rest = Parcel(self.call, at, self.stop, self.bytes - before)
        return Parcel(self.call, self.start, at, before), rest

    def is_open(self) -> bool:
        """Somebody waits for what becomes of it."""
        return self.call.results[self.start] is None

    def refuse(self, outcome: Callable[[], InlakeError]) -> None:
        """It does not even wait: each event gets an error of its own."""
        self.call.failed = True
        self.call.results[self.start : self.stop] = [outcome() for _ in range(self.count)]

    def fail(self, outcome: Callable[[], InlakeError]) -> None:
        """Each event gets an error of its own, if somebody waits for one."""
        if self.is_open():
            self.refuse(outcome)
            self.call.settle(self.count)

    def succeed(self, positions: list[Position]) -> None:
        """It is in the log there."""
        if self.is_open():
            self.call.results[self.start : self.stop] = positions
            self.call.settle(len(positions))


class Flight:
    """A batch on its way."""

    __slots__ = ("batch", "connection", "count", "parcels", "producer", "sequence", "unknown")

    def __init__(self, parcels: list[Parcel], batch: Batch, producer: ProducerId, sequence: int) -> None:
        self.parcels = parcels
        self.count = sum([parcel.count for parcel in parcels])
        """Of events."""
        self.batch = batch
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
        for parcel in self.parcels:
            parcel.fail(outcome)

    def succeed(self, topic: str, partition: int, first: int) -> None:
        """All of it is in the log, from the offset `first` on; -1: nobody knows where."""
        offset, step = first, first >= 0
        for parcel in self.parcels:
            parcel.succeed([Position(topic, partition, offset + step * n) for n in range(parcel.count)])
            offset += step * parcel.count

    def is_wanted(self) -> bool:
        """Somebody still waits for it."""
        return any(parcel.is_open() for parcel in self.parcels)


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
        self.waiting: deque[Parcel] = deque()
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

    def take(self) -> list[Parcel]:
        """The next parcels that go into one batch, the last one cut to fit; those of calls that ended are left out."""
        taken: list[Parcel] = []
        waiting, room, count = self.waiting, self.limit, BATCH_EVENTS
        while waiting and count and room > 0:
            parcel = waiting.popleft()
            if not parcel.is_open():
                continue
            if parcel.size > room or parcel.count > count:
                parcel, rest = parcel.cut(self._fitting(parcel, room, count, least=0 if taken else 1))
                waiting.extendleft([rest] if rest.count else [])
                room = 0  # it is full
            taken += [parcel] if parcel.count else []
            room -= parcel.size
            count -= parcel.count
        return taken

    def _fitting(self, parcel: Parcel, room: int, count: int, *, least: int) -> int:
        """Up to which index there is room for its events, at least so many."""
        at = parcel.start
        for event in parcel.events()[:count]:
            room -= len(event.value) + OVERHEAD
            if room < 0 and at >= parcel.start + least:
                break
            at += 1
        return at

    def give_back(self, flight: Flight) -> None:
        """It is not in the log: what it held waits again, at the front."""
        self.flight = None
        self.waiting.extendleft(reversed(flight.parcels))

    def halve(self, flight: Flight) -> None:
        """It is too large, and not in the log: two batches next time."""
        self.limit = sum([parcel.size for parcel in flight.parcels]) // 2
        self.give_back(flight)

    def drop(self, error: Callable[[], InlakeError], over: Container[Call] | None = None) -> None:
        """Tell events that wait how they failed: those of calls that are `over`, which are in front, or all."""
        waiting = self.waiting
        while waiting:
            parcel = waiting[0]
            if parcel.is_open() and over is not None and parcel.call not in over:
                return
            waiting.popleft().fail(error)

    def succeeded(self, count: int) -> None:
        """The batch in flight is in the log."""
        self.flight = None
        self.sequence = (self.sequence + count) % SEQUENCES
        self.error, self.refused_since = 0, 0.0
