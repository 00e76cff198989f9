"""A partition's queue: the events that wait, and the batch in flight with the calls that want to know of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container

from inlake.bus.kafka.producer.batch import OVERHEAD, Batch, ProducerId
from inlake.bus.kafka.producer.calls import Call, Run
from inlake.bus.kafka.producer.connection import Connection
from inlake.errors import InlakeError
from inlake.model import Position

BATCH_EVENTS = 1000
"""Events of a batch, and those that are encoded before others have their turn in the event loop: a millisecond."""
BATCH_BYTES = 950_000
"""Of a batch of more than one event, about: brokers take 1,048,588 by default (max.message.bytes)."""
SEQUENCES = 1 << 31
"""Kafka counts a partition's events in 31 bits, and begins again at 0 (KIP-98)."""


class BatchInFlight:
    """A batch with its sequence number, from the moment it is made until its outcome is known or nobody wants it."""

    __slots__ = ("connection", "count", "encoded", "producer_id", "runs", "sequence", "unknown")

    def __init__(self, runs: list[Run], encoded: Batch, producer_id: ProducerId, sequence: int) -> None:
        self.runs = runs
        self.count = sum([run.count for run in runs])
        """Number of events."""
        self.encoded = encoded
        self.producer_id = producer_id
        self.sequence = sequence
        self.connection: Connection | None = None
        """Where it was sent, while an answer is due."""
        self.unknown = False
        """It was sent, and no answer says that it is not in the log."""

    def may_be_in_the_log(self) -> bool:
        """Whether it is in the log or may get there yet: its sequence numbers must not be given to other events."""
        return self.unknown or self.connection is not None

    def fail(self, outcome: Callable[[], InlakeError]) -> None:
        """Gives each event an error of its own."""
        for run in self.runs:
            run.fail(outcome)

    def succeed(self, topic: str, partition: int, first: int) -> None:
        """Says where its events are: from the offset `first` on; -1: nobody knows where."""
        offset, step = first, first >= 0
        for run in self.runs:
            run.succeed([Position(topic, partition, offset + step * n) for n in range(run.count)])
            offset += step * run.count

    def is_wanted(self) -> bool:
        """Whether somebody still waits for it."""
        return any(run.is_open() for run in self.runs)


class PartitionQueue:
    """One partition: what is in flight, what waits, and the sequence number of the next event."""

    __slots__ = (
        "error",
        "in_flight",
        "limit",
        "partition",
        "producer_id",
        "refused_since",
        "retry",
        "sequence",
        "topic",
        "waiting",
    )

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.waiting: deque[Run] = deque()
        self.in_flight: BatchInFlight | None = None
        self.producer_id: ProducerId | None = None
        self.sequence = 0
        self.limit = BATCH_BYTES
        """Of a batch; less than at first once the topic has refused one."""
        self.retry = 0.0
        """When something may be sent again, by the event loop's clock."""
        self.error = 0
        """What a broker last said against a batch; 0 once it has taken one."""
        self.refused_since = 0.0
        """When that began."""

    def take(self) -> list[Run]:
        """The next events that go into one batch, the last run cut to fit; those of calls that ended are left out."""
        taken: list[Run] = []
        waiting, room, count = self.waiting, self.limit, BATCH_EVENTS
        while waiting and count and room > 0:
            run = waiting.popleft()
            if not run.is_open():
                continue
            if run.size > room or run.count > count:
                run, rest = run.cut(self._fitting(run, room, count, least=0 if taken else 1))
                waiting.extendleft([rest] if rest.count else [])
                room = 0  # it is full
            taken += [run] if run.count else []
            room -= run.size
            count -= run.count
        return taken

    def _fitting(self, run: Run, room: int, count: int, *, least: int) -> int:
        """Up to which index there is room for its events, at least so many."""
        at = run.start
        for event in run.events()[:count]:
            room -= len(event.value) + OVERHEAD
            if room < 0 and at >= run.start + least:
                break
            at += 1
        return at

    def give_back(self, batch: BatchInFlight) -> None:
        """Puts what the batch held at the front again: it is not in the log."""
        self.in_flight = None
        self.waiting.extendleft(reversed(batch.runs))

    def halve(self, batch: BatchInFlight) -> None:
        """Makes two batches of one the next time: it is too large, and not in the log."""
        self.limit = sum([run.size for run in batch.runs]) // 2
        self.give_back(batch)

    def drop(self, error: Callable[[], InlakeError], over: Container[Call] | None = None) -> None:
        """Tells events that wait how they failed: those of calls that are `over`, which are in front, or all."""
        waiting = self.waiting
        while waiting:
            run = waiting[0]
            if run.is_open() and over is not None and run.call not in over:
                return
            waiting.popleft().fail(error)

    def succeeded(self, count: int) -> None:
        """Counts the batch in flight, which is in the log."""
        self.in_flight = None
        self.sequence = (self.sequence + count) % SEQUENCES
        self.error, self.refused_since = 0, 0.0
