"""Produce requests: from the queues of partitions to their leaders, and what the answers mean for each batch."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial

from inlake.bus.kafka.errors import Verdict, not_sent, of_code, outcome_unknown, verdict
from inlake.bus.kafka.producer import wire
from inlake.bus.kafka.producer.batch import record_batch
from inlake.bus.kafka.producer.brokers import TICK, Brokers
from inlake.bus.kafka.producer.calls import Call
from inlake.bus.kafka.producer.compression import CODECS
from inlake.bus.kafka.producer.connection import Connection
from inlake.bus.kafka.producer.idempotence import ProducerIds
from inlake.bus.kafka.producer.partition import BATCH_EVENTS, BatchInFlight, PartitionQueue
from inlake.bus.kafka.producer.wire import Answer, Produced
from inlake.bus.kafka.properties import Access
from inlake.errors import InlakeError

logger = logging.getLogger("inlake.bus")

REQUEST_BYTES = 1_000_000
"""The most bytes of the batches of one request, about, but for one that is larger alone. A broker hangs up on
what is larger than its socket.request.max.bytes, each time; the least that is known is 1,046,528 (Azure Event Hubs)."""
ALONE = 60.0
"""Seconds for which each batch has a request of its own, after a broker hung up on a request with several."""
GONE = 3.0
"""Seconds until a topic that a broker does not know counts as missing: a new one takes a moment to get around."""
PAUSE, TURNS = 0.1, 4
"""Seconds until a batch is sent again that a broker could not take now, or did not answer; and then turns of the event
loop: publishers that were told of the failure have acted, however long a turn is."""
FOLLOW = 0.3
"""Share of the time-out for the followers to have a batch, after which the broker says that they have not."""
LAST_EPOCH = (1 << 15) - 1
"""The last epoch of a producer id; after that another id is asked for."""
Sent = list[tuple[PartitionQueue, BatchInFlight]]
"""The batches of one request, each of another partition."""


class Requests:
    """The queues of all partitions, and the requests that carry their batches. Everything is in the event loop."""

    def __init__(self, access: Access, *, timeout: float, on_trouble: Callable[[], None]) -> None:
        """`timeout`, `on_trouble`: see `Producer`."""
        self.queues: dict[tuple[str, int], PartitionQueue] = {}
        self.brokers = Brokers(access, on_news=self._wake_all, on_trouble=on_trouble)
        self._timeout = timeout
        self._codec = CODECS[access.compression]
        self._producer_ids = ProducerIds(self.brokers, on_news=self._wake_all, on_refused=self._refuse_all)
        self._ready: dict[PartitionQueue, None] = {}
        """Partitions with something to send, in the order in which they got it."""
        self._scheduled = False
        self._alone: dict[str, float] = {}
        """Until when each batch has a request of its own, by the broker's name."""

    def queue(self, topic: str, number: int) -> PartitionQueue:
        queue = self.queues.get((topic, number))
        if queue is None:
            queue = self.queues[topic, number] = PartitionQueue(topic, number)
        return queue

    def make_ready(self, queue: PartitionQueue) -> None:
        """Looks at the queue at the end of this turn of the event loop: what comes until then shares its batch."""
        self._ready[queue] = None
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._send_ready)

    def end(self, queue: PartitionQueue, over: set[Call]) -> None:
        """Tells calls whose time is over what is known of their events in a partition."""
        code, first = queue.error, queue.in_flight[0] if queue.in_flight else None
        reason = self.brokers.last_error
        if first and first.connection:
            reason = f"{first.connection.name} has not answered yet"
        if queue.end(
            over,
            unknown=lambda: outcome_unknown(queue.topic, self._timeout, code, reason),
            not_sent=lambda: of_code(code, queue.topic) if code else self._not_sent(queue),
        ):
            self._pause(queue)
        else:
            self._go_on(queue)

    async def close(self) -> None:
        """Hangs up."""
        self._producer_ids.close()
        await self.brokers.close()

    def _not_sent(self, queue: PartitionQueue) -> InlakeError:
        leader = self.brokers.leading(queue.topic, queue.partition)
        return not_sent(self.brokers.last_error, self._timeout, leader.held() if leader else 0.0)

    def _wake_all(self) -> None:
        for queue in self.queues.values():
            self._go_on(queue)

    def _go_on(self, queue: PartitionQueue) -> None:
        if queue.waiting or queue.in_flight:
            self.make_ready(queue)

    def _refuse_all(self, code: int) -> None:
        """Fails all that waits: the brokers give this user no producer id, and nothing can be sent."""
        for queue in self.queues.values():
            queue.drop(partial(of_code, code, queue.topic))

    # ----------------------------------------------------------------------------------------------------- going out
    def _send_ready(self) -> None:
        """Sends a batch of each partition that can have one, in as few requests as brokers take."""
        self._scheduled = False
        if self._producer_ids.current is None:
            self._producer_ids.ask()
        ready, self._ready = self._ready, {}
        outgoing: dict[Connection, Sent] = {}
        sizes: dict[Connection, int] = {}
        count = total = 0
        for queue in ready:
            if count >= BATCH_EVENTS or total >= REQUEST_BYTES:  # the others have the next turn
                self.make_ready(queue)
                continue
            batch = self._prepare(queue)
            if batch is None or (connection := batch.connection) is None:
                continue
            size = sum(map(len, batch.encoded))
            if connection in outgoing and not self._has_room(connection, sizes[connection] + size):
                self._send(connection, outgoing.pop(connection))
            if connection not in outgoing:
                outgoing[connection], sizes[connection] = [], 0
            outgoing[connection].append((queue, batch))
            sizes[connection] += size
            count, total = count + batch.count, total + size
            if queue.waiting:
                self.make_ready(queue)  # the next batch may follow
        for connection, sent in outgoing.items():
            self._send(connection, sent)

    def _has_room(self, connection: Connection, size: int) -> bool:
        """Whether a request of several batches may have so many bytes."""
        return size <= REQUEST_BYTES and self._alone.get(connection.name, 0.0) < asyncio.get_running_loop().time()

    def _prepare(self, queue: PartitionQueue) -> BatchInFlight | None:
        """The batch that goes out now, with its connection. A fault costs no other partition its turn."""
        now = asyncio.get_running_loop().time()
        if now < queue.retry - TICK:
            self._again(queue, queue.retry - now)
            return None
        if queue.turns:
            queue.turns -= 1
            self.make_ready(queue)
            return None
        try:
            if (batch := queue.unsent()) and not batch.is_wanted():
                queue.forget_unwanted()
                batch = queue.unsent()
            if batch is None and (not queue.waiting or not self._may_follow(queue, now)):
                return None
            connection = self._leader(queue)
            if connection is None or queue.is_on_another(connection):
                return None
            if seconds := connection.held():
                self._again(queue, seconds)
                return None
            batch = batch or self._make(queue)
            if batch is not None:
                batch.connection, batch.sent = connection, now
            return batch
        except Exception:
            logger.exception("A fault while a batch for Kafka was made")
            self._pause(queue)
        return None

    def _may_follow(self, queue: PartitionQueue, now: float) -> bool:
        """Whether a new batch may go now; if only later, the queue is looked at again then."""
        if not (seconds := queue.seconds_until_next(now)):
            return seconds is not None and not any(batch.connection is None for batch in queue.in_flight)
        self._again(queue, seconds)
        return False

    def _make(self, queue: PartitionQueue) -> BatchInFlight | None:
        """A new batch of what waits."""
        given = self._producer_ids.current
        if given is None:
            return None
        if queue.producer_id is None or queue.producer_id.id != given.id:
            if queue.in_flight:
                return None
            queue.begin_epoch()
            queue.producer_id = given
        if queue.producer_id.epoch > LAST_EPOCH:
            self._producer_ids.forget(queue.producer_id.id)
            self._producer_ids.ask()
            return None
        if not (runs := queue.take()):
            return None
        events = [event for run in runs for event in run.events()]
        encoded = record_batch(events, queue.producer_id, queue.sequence, time.time_ns() // 1_000_000, self._codec)
        batch = BatchInFlight(runs, encoded, queue.producer_id, queue.sequence)
        queue.note(batch)
        return batch

    def _leader(self, queue: PartitionQueue) -> Connection | None:
        """The connection to the leader of the partition; where there is none, `_wake_all` follows."""
        connection = self.brokers.leading(queue.topic, queue.partition)
        if connection is None and (code := self.brokers.error(queue.topic, queue.partition)):
            self._later(queue, code)
        return connection

    def _send(self, connection: Connection, sent: Sent) -> None:
        body = wire.produce_body(
            [(queue.topic, queue.partition, batch.encoded) for queue, batch in sent],
            round(self._timeout * FOLLOW * 1000),
        )
        connection.send(wire.PRODUCE, body, partial(self._answered, connection, sent))

    # ----------------------------------------------------------------------------------------------------- coming back
    def _answered(self, connection: Connection, sent: Sent, data: bytes | None) -> None:
        waiting = {(queue.topic, queue.partition): (queue, batch) for queue, batch in sent}
        for answer in self._read(connection, data):
            queue, batch = waiting.pop((answer.topic, answer.partition), (None, None))
            if queue is None or batch is None:
                continue
            batch.connection = None
            if batch in queue.in_flight:  # else it was given up
                self._judge(queue, batch, answer, connection)
            self._go_on(queue)
        if data is None and len(sent) > 1:
            self._alone[connection.name] = asyncio.get_running_loop().time() + ALONE
        for queue, batch in waiting.values():  # no word about these
            batch.connection = None
            if batch in queue.in_flight:
                queue.later(batch, unknown=True)
                self._later(queue, queue.error)

    def _read(self, connection: Connection, data: bytes | None) -> Iterable[Produced]:
        """The answers about each batch; none where they cannot be read."""
        if data is None:
            return ()
        try:
            produced = wire.read_produced(Answer(data), connection.versions[wire.PRODUCE])
        except ValueError:
            connection.abort()
            return ()
        connection.hold(produced.seconds)
        return produced.batches

    def _judge(self, queue: PartitionQueue, batch: BatchInFlight, answer: Produced, connection: Connection) -> None:
        kind, now = verdict(answer.error), asyncio.get_running_loop().time()
        if kind is Verdict.DUPLICATE:  # of an attempt before; if there was none, the broker takes it for another batch
            kind = Verdict.WRITTEN if batch.unknown else Verdict.NEW_EPOCH
        if kind is Verdict.WRITTEN:
            queue.in_the_log(batch, now)
            batch.succeed(queue.topic, queue.partition, answer.offset)
            return
        if batch is not queue.in_flight[0]:  # it follows from what happens to the first
            queue.later(batch, unknown=kind is Verdict.UNKNOWN)
            return
        match kind:
            case Verdict.TOO_LARGE if batch.count > 1 and not batch.unknown:
                queue.halve(now)
            case Verdict.NEW_EPOCH if not batch.unknown:
                if batch.sequence == 0:  # a new epoch did not help
                    self._producer_ids.forget(batch.producer_id.id)
                queue.error = answer.error
                queue.give_back(new_epoch=True)
                self._pause(queue)
            case Verdict.RETRIABLE | Verdict.UNKNOWN:
                if answer.error == wire.NOT_LEADER:
                    self.brokers.avoid(connection)
                queue.later(batch, unknown=kind is Verdict.UNKNOWN)
                self._later(queue, answer.error)
            case _:
                self._fail(queue, answer.error)

    def _fail(self, queue: PartitionQueue, code: int) -> None:
        """Ends the first batch: it will not be in the log, or an attempt before has put it there: then nobody knows.

        Where it may be taken another time, what is behind it fails too, and what comes now waits for a moment: whoever
        keeps events for later then has all of them, in their order.
        """
        outcome = partial(of_code, code, queue.topic)
        queue.fail(outcome, unknown=lambda: outcome_unknown(queue.topic, self._timeout, code))
        if outcome().retryable:
            queue.drop(outcome)
            self._pause(queue)

    def _later(self, queue: PartitionQueue, code: int) -> None:
        """Lets the partition rest for a moment. `code`: what a broker says against it, or that it has no leader."""
        now = asyncio.get_running_loop().time()
        if queue.error != code or not queue.refused_since:
            queue.error, queue.refused_since = code, now
        gone = code == wire.UNKNOWN_TOPIC and now > queue.refused_since + GONE
        unknown = bool(queue.in_flight) and queue.in_flight[0].may_be_in_the_log()
        if (gone or verdict(code) is Verdict.REFUSED) and not unknown:
            if queue.in_flight:
                queue.give_back()
            queue.drop(lambda: of_code(code, queue.topic))
            queue.error, queue.refused_since = 0, 0.0
            self._pause(queue)
        else:
            self._pause(queue)
            self.brokers.find_leaders()

    def _pause(self, queue: PartitionQueue) -> None:
        """Sends nothing of this partition for a moment."""
        queue.retry, queue.turns = asyncio.get_running_loop().time() + PAUSE, TURNS
        self._again(queue, PAUSE)

    def _again(self, queue: PartitionQueue, seconds: float) -> None:
        """Looks at the queue again after so long."""
        now = asyncio.get_running_loop().time()
        if not now < queue.look_at <= now + seconds:
            queue.look_at = now + seconds
            asyncio.get_running_loop().call_at(queue.look_at, self.make_ready, queue)
