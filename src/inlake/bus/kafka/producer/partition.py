"""A partition's queue: the events that wait, and the batches in flight with the calls that want to know of them.

Up to five batches are in flight, in order, on one connection: brokers know as many back. The first of them decides. A
broker takes a batch only behind the one before (its sequence number says so), hence:

- what a broker says against a batch behind the first follows from the first: it is sent again behind it;
- while the first is certainly not in the log, nothing behind it is; while that is in doubt, all of it is;
- after a fault the first is sent alone, once nothing is outstanding, and the others when it is in the log.

A broker without memory of a producer id takes any sequence number. So a second batch follows only when the broker has
confirmed one of this producer id and epoch not long ago.
"""

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
"""The most bytes of a batch of more than one event, about: brokers take 1,048,588 by default (max.message.bytes)."""
SEQUENCES = 1 << 31
"""Kafka counts a partition's events in 31 bits, and begins again at 0 (KIP-98)."""
MOST_IN_FLIGHT = 5
"""Batches of a producer id that a broker knows again in a partition (KIP-98, KAFKA-5494)."""
SPACING = 0.025
"""Seconds after which a batch that is not full follows another in flight: until then more may share it.

A busy broker near by takes 10 to 20 ms for a batch. Below that, single events go in half as many again requests, at 1.1
times of the CPU; a full batch never waits."""
REMEMBERED = 600.0
"""Seconds for which a broker surely remembers a producer id (producer.id.expiration.ms is a day by default)."""
GROW, GROW_MOST = 1.0, 20.0
"""Seconds until a topic that refused a batch for its size is tried with twice of what it took, at first and at most."""


class BatchInFlight:
    """A batch with its sequence number, from the moment it is made until its outcome is known or nobody wants it."""

    __slots__ = ("connection", "count", "encoded", "producer_id", "runs", "sent", "sequence", "unknown")

    def __init__(self, runs: list[Run], encoded: Batch, producer_id: ProducerId, sequence: int) -> None:
        self.runs = runs
        self.count = sum([run.count for run in runs])
        """Number of events."""
        self.encoded = encoded
        self.producer_id = producer_id
        self.sequence = sequence
        self.connection: Connection | None = None
        """The connection that the batch was sent on, while an answer is due."""
        self.sent = 0.0
        """The time when the batch was sent, by the event loop's clock."""
        self.unknown = False
        """Whether the batch was sent, and no answer says that it is not in the log."""

    def may_be_in_the_log(self) -> bool:
        """Whether it is in the log or may get there yet: its sequence numbers must not be given to other events."""
        return self.unknown or self.connection is not None

    def fail(self, outcome: Callable[[], InlakeError]) -> None:
        """Gives each event of the batch an error of its own."""
        for run in self.runs:
            run.fail(outcome)

    def succeed(self, topic: str, partition: int, first: int) -> None:
        """Tells the calls where the batch's events are: from the offset `first` on; -1: nobody knows where."""
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
        "confirmed",
        "error",
        "grow_at",
        "grow_pause",
        "in_flight",
        "limit",
        "look_at",
        "partition",
        "producer_id",
        "recovering",
        "refused_since",
        "retry",
        "sequence",
        "topic",
        "turns",
        "waiting",
        "waiting_bytes",
        "waiting_events",
    )

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.waiting: deque[Run] = deque()
        self.waiting_events = self.waiting_bytes = 0
        """Events and bytes in the queue, with those that nobody waits for any more."""
        self.in_flight: deque[BatchInFlight] = deque()
        """Batches in the order of their sequence numbers."""
        self.producer_id: ProducerId | None = None
        self.sequence = 0
        self.confirmed = float("-inf")
        """The time when a broker last confirmed a batch of this producer id and epoch, by the event loop's clock."""
        self.recovering = False
        """A batch failed: the first goes alone."""
        self.limit = BATCH_BYTES
        """The most bytes of a batch; less than at first once the topic has refused one."""
        self.grow_at = self.grow_pause = 0.0
        """The time when the limit is doubled again, and the pause before that."""
        self.retry = 0.0
        """The time when something may be sent again, by the event loop's clock."""
        self.turns = 0
        """Turns of the event loop for which nothing is sent even then."""
        self.look_at = 0.0
        """The time when the queue is looked at again."""
        self.error = 0
        """The code of the last error a broker answered; 0 once it has taken one."""
        self.refused_since = 0.0
        """The time when batches began to be refused."""

    # ------------------------------------------------------------------------------------------------------ what waits
    def add(self, run: Run) -> None:
        """Lets events wait behind the others."""
        self.waiting.append(run)
        self.waiting_events += run.count
        self.waiting_bytes += run.size

    def take(self) -> list[Run]:
        """The next events that go into one batch, the last run cut to fit; those of calls that ended are left out."""
        taken: list[Run] = []
        waiting, room, count = self.waiting, self.limit, BATCH_EVENTS
        while waiting and count and room > 0:
            run = waiting.popleft()
            self.waiting_events, self.waiting_bytes = self.waiting_events - run.count, self.waiting_bytes - run.size
            if not run.is_open():
                continue
            if run.size > room or run.count > count:
                run, rest = run.cut(self._fitting(run, room, count, least=0 if taken else 1))
                self._put_back([rest] if rest.count else [])
                room = 0  # it is full
            taken += [run] if run.count else []
            room -= run.size
            count -= run.count
        return taken

    def drop(self, error: Callable[[], InlakeError], over: Container[Call] | None = None) -> None:
        """Tells events that wait how they failed: those of calls that are `over`, which are in front, or all."""
        waiting = self.waiting
        while waiting:
            run = waiting[0]
            if run.is_open() and over is not None and run.call not in over:
                return
            self.waiting_events, self.waiting_bytes = self.waiting_events - run.count, self.waiting_bytes - run.size
            waiting.popleft().fail(error)

    def _fitting(self, run: Run, room: int, count: int, *, least: int) -> int:
        """Up to which index there is room for its events, at least so many."""
        at = run.start
        for event in run.events()[:count]:
            room -= len(event.value) + OVERHEAD
            if room < 0 and at >= run.start + least:
                break
            at += 1
        return at

    def _put_back(self, runs: list[Run]) -> None:
        """Lets events wait in front of the others."""
        self.waiting.extendleft(reversed(runs))
        self.waiting_events += sum([run.count for run in runs])
        self.waiting_bytes += sum([run.size for run in runs])

    # --------------------------------------------------------------------------------------------------- what goes out
    def unsent(self) -> BatchInFlight | None:
        """The batch that is to be sent next, if one is made already."""
        if self.recovering:
            outstanding = any(batch.connection is not None for batch in self.in_flight)
            return None if outstanding or not self.in_flight else self.in_flight[0]
        return next((batch for batch in self.in_flight if batch.connection is None), None)

    def seconds_until_next(self, now: float) -> float | None:
        """How long to wait before a new batch is made; None: until an answer comes."""
        if not self.in_flight:
            return 0.0
        remembered = now - self.confirmed < REMEMBERED
        if self.recovering or not remembered or len(self.in_flight) >= MOST_IN_FLIGHT:
            return None
        if self.waiting_events >= BATCH_EVENTS or self.waiting_bytes > self.limit:
            return 0.0  # it gains nothing by waiting
        return max(self.in_flight[-1].sent + SPACING - now, 0.0)

    def is_on_another(self, connection: Connection) -> bool:
        """Whether an answer is due on another connection: brokers keep the order on one only."""
        return any(batch.connection not in (None, connection) for batch in self.in_flight)

    def note(self, batch: BatchInFlight) -> None:
        """Counts a batch that was made of what waited."""
        self.in_flight.append(batch)
        self.sequence = (batch.sequence + batch.count) % SEQUENCES

    # -------------------------------------------------------------------------------------------------- what comes back
    def in_the_log(self, batch: BatchInFlight, now: float) -> None:
        """Takes out a batch that a broker has confirmed."""
        if batch is self.in_flight[0]:
            self.recovering = False
            self.error, self.refused_since = 0, 0.0
        self.in_flight.remove(batch)
        if batch.producer_id == self.producer_id:
            self.confirmed = now
        if self.limit < BATCH_BYTES and now >= self.grow_at:
            self.limit, self.grow_at = min(2 * self.limit, BATCH_BYTES), now + GROW

    def later(self, batch: BatchInFlight, *, unknown: bool) -> None:
        """Keeps a batch that is to be sent again. `unknown`: it may be in the log."""
        batch.unknown = batch.unknown or unknown
        self.recovering = True

    def halve(self, now: float) -> None:
        """Makes two batches of the first the next time: it is too large, and not in the log."""
        self.limit = sum([run.size for run in self.in_flight[0].runs]) // 2
        self.grow_pause = min(max(GROW, 2 * self.grow_pause), GROW_MOST)
        self.grow_at = now + self.grow_pause
        self.give_back()

    def give_back(self, *, new_epoch: bool = False) -> None:
        """Lets all that is in flight wait again, when the first is certainly not in the log: then nothing behind it is.

        Where a broker may yet get to see one of those behind, the next epoch keeps it out (KIP-360).
        """
        batches = list(self.in_flight)
        self.in_flight.clear()
        self.recovering = False
        self._put_back([run for batch in batches for run in batch.runs])
        if new_epoch or any(batch.may_be_in_the_log() for batch in batches[1:]):
            self.begin_epoch()
        else:
            self.sequence = batches[0].sequence

    def fail(self, outcome: Callable[[], InlakeError], unknown: Callable[[], InlakeError]) -> None:
        """Ends the first batch, which a broker refuses for good: with `unknown` where an attempt before may have put it
        into the log, and so for those behind it; what certainly is not there waits again."""
        first = self.in_flight[0]
        self.error, self.refused_since = 0, 0.0
        if not first.unknown:
            self.give_back()
            for run in first.runs:
                run.fail(outcome)
            return
        batches = list(self.in_flight)
        self.in_flight.clear()
        self.recovering = False
        for batch in batches:
            if batch.may_be_in_the_log():
                batch.fail(unknown)
        self._put_back([run for batch in batches for run in batch.runs if run.is_open()])
        self.begin_epoch()

    def end(
        self, over: Container[Call], unknown: Callable[[], InlakeError], not_sent: Callable[[], InlakeError]
    ) -> bool:
        """Tells calls whose time is over what is known of their events in this partition; whether there were any."""
        runs = [run for batch in self.in_flight for run in batch.runs]
        found = any(run.call in over for run in (*runs, *self.waiting))
        if self.in_flight and not self.in_flight[0].may_be_in_the_log():
            if any(run.call in over for batch in self.in_flight for run in batch.runs):
                self.give_back()  # what is left goes into another batch: events that failed must not be in that
        else:
            for batch in self.in_flight:
                for run in batch.runs:
                    if run.call in over:
                        run.fail(unknown)
        self.drop(not_sent, over)
        self.forget_unwanted()
        if not self.in_flight and not self.waiting:
            self.error = 0
        return found

    def forget_unwanted(self) -> None:
        """Forgets what is in flight, if nobody waits for any of it; as long as somebody does, the others stay too."""
        if not self.in_flight or any(batch.is_wanted() for batch in self.in_flight):
            return
        batches = list(self.in_flight)
        self.in_flight.clear()
        self.recovering = False
        if any(batch.may_be_in_the_log() for batch in batches):
            self.begin_epoch()
        else:
            self.sequence = batches[0].sequence

    def begin_epoch(self) -> None:
        """Begins to count anew: in each partition by itself, which brokers see no other way."""
        if self.producer_id is not None:
            self.producer_id = ProducerId(self.producer_id.id, self.producer_id.epoch + 1)
        self.sequence, self.confirmed = 0, float("-inf")
