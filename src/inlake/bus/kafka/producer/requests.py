"""Produce requests: from the queues of partitions to their leaders, and what the answers mean for each batch."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from functools import partial

from inlake.bus.kafka.errors import Verdict, outcome_unknown, refused, verdict
from inlake.bus.kafka.producer import wire
from inlake.bus.kafka.producer.batch import record_batch
from inlake.bus.kafka.producer.brokers import TICK, Brokers
from inlake.bus.kafka.producer.connection import Connection
from inlake.bus.kafka.producer.partition import BATCH_EVENTS, BatchInFlight, PartitionQueue
from inlake.bus.kafka.producer.producer_id import ProducerIds
from inlake.bus.kafka.producer.wire import Answer, Produced
from inlake.bus.kafka.properties import Access

logger = logging.getLogger("inlake.bus")

REQUEST_BYTES = 1 << 20
"""Of the batches of one request, but for the last: about what Java's client sends (max.request.size). A broker hangs up
on what is larger than its socket.request.max.bytes, each time."""
GONE = 3.0
"""Seconds until a topic that a broker does not know counts as missing: a new one takes a moment to get around."""
PAUSE = 0.1
"""Seconds until a batch is sent again that a broker could not take now, or did not answer."""
FOLLOW = 0.3
"""Share of the time-out for the followers to have a batch, after which the broker says that they have not."""
Sent = dict[tuple[str, int], tuple[PartitionQueue, BatchInFlight]]
"""The batches of one request, by topic and partition."""


class Requests:
    """The queues of all partitions, and the requests that carry their batches. Everything is in the event loop."""

    def __init__(self, access: Access, *, timeout: float, on_trouble: Callable[[], None]) -> None:
        """`timeout`, `on_trouble`: see `Producer`."""
        self.queues: dict[tuple[str, int], PartitionQueue] = {}
        self.brokers = Brokers(access, on_news=self._wake_all, on_trouble=on_trouble)
        self._timeout = timeout
        self._producer_ids = ProducerIds(self.brokers, on_news=self._wake_all, on_refused=self._refuse_all)
        self._ready: dict[PartitionQueue, None] = {}
        """Those with something to send, in the order in which they got it."""
        self._scheduled = False

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

    def give_up(self, queue: PartitionQueue, batch: BatchInFlight) -> None:
        """Forgets a batch that nobody waits for any more."""
        queue.in_flight = None
        if batch.may_be_in_the_log():
            self._producer_ids.forget(batch.producer_id)

    async def close(self) -> None:
        """Hangs up."""
        self._producer_ids.close()
        await self.brokers.close()

    def _wake_all(self) -> None:
        for queue in self.queues.values():
            if queue.waiting or queue.in_flight:
                self.make_ready(queue)

    def _refuse_all(self, code: int) -> None:
        """Fails all that waits: the brokers give this user no producer id, and nothing can be sent."""
        for queue in self.queues.values():
            queue.drop(partial(refused, code, queue.topic))

    # ----------------------------------------------------------------------------------------------------- going out
    def _send_ready(self) -> None:
        """Sends a batch of each partition that can have one, a request to each broker."""
        self._scheduled = False
        if self._producer_ids.current is None:
            self._producer_ids.ask()
        ready, self._ready = self._ready, {}
        outgoing: dict[Connection, list[PartitionQueue]] = {}
        count = size = 0
        for queue in ready:
            if count >= BATCH_EVENTS or size >= REQUEST_BYTES:  # the others have the next turn
                self.make_ready(queue)
            elif (batch := self._prepare(queue)) and batch.connection:
                outgoing.setdefault(batch.connection, []).append(queue)
                count, size = count + batch.count, size + sum(map(len, batch.encoded))
        for connection, queues in outgoing.items():
            self._send(connection, queues)

    def _prepare(self, queue: PartitionQueue) -> BatchInFlight | None:
        """What goes out now, with the connection that it goes out on. A fault costs no other partition its turn."""
        try:
            batch = self._next_batch(queue)
            if batch is not None and (connection := self._connection(queue, batch)):
                batch.connection = connection
                return batch
        except Exception:
            logger.exception("A fault while a batch for Kafka was made")
            self._pause(queue)
        return None

    def _next_batch(self, queue: PartitionQueue) -> BatchInFlight | None:
        """What the partition has to send now: what failed before, or a new batch."""
        batch = queue.in_flight
        if (batch and batch.connection) or asyncio.get_running_loop().time() < queue.retry - TICK:
            return None
        if batch is not None:
            if batch.is_wanted():
                return batch
            self.give_up(queue, batch)
        producer_id = self._producer_ids.current
        if producer_id is None or not (runs := queue.take()):
            return None
        if queue.producer_id != producer_id:
            queue.producer_id, queue.sequence = producer_id, 0
        events = [event for run in runs for event in run.events()]
        encoded = record_batch(events, producer_id, queue.sequence, time.time_ns() // 1_000_000)
        queue.in_flight = BatchInFlight(runs, encoded, producer_id, queue.sequence)
        return queue.in_flight

    def _connection(self, queue: PartitionQueue, batch: BatchInFlight) -> Connection | None:
        """To the leader of the partition; where there is none, `_wake_all` follows."""
        connection = self.brokers.leading(queue.topic, queue.partition)
        if connection is None and (code := self.brokers.error(queue.topic, queue.partition)):
            if verdict(code) is Verdict.REFUSED:
                self._fail(queue, batch, code)
            else:
                self._later(queue, batch, code, unknown=False)
        return connection

    def _send(self, connection: Connection, queues: list[PartitionQueue]) -> None:
        sent: Sent = {(queue.topic, queue.partition): (queue, queue.in_flight) for queue in queues if queue.in_flight}
        batches = [(queue.topic, queue.partition, batch.encoded) for queue, batch in sent.values()]
        body = wire.produce_body(batches, round(self._timeout * FOLLOW * 1000))
        connection.send(wire.PRODUCE, body, partial(self._answered, connection, sent))

    # ----------------------------------------------------------------------------------------------------- coming back
    def _answered(self, connection: Connection, sent: Sent, data: bytes | None) -> None:
        produced: Iterable[Produced] = ()
        if data is not None:
            try:
                produced = wire.read_produced(Answer(data), connection.versions[wire.PRODUCE])
            except ValueError:
                connection.abort()
        for answer in produced:
            queue, batch = sent.pop((answer.topic, answer.partition), (None, None))
            if queue is None or batch is None:
                continue
            batch.connection = None
            if queue.in_flight is batch:  # else it was given up
                self._judge(queue, batch, answer)
            if queue.waiting:
                self.make_ready(queue)
        for queue, batch in sent.values():  # no word about these
            batch.connection = None
            if queue.in_flight is batch:
                self._later(queue, batch, queue.error, unknown=True)

    def _judge(self, queue: PartitionQueue, batch: BatchInFlight, answer: Produced) -> None:
        kind = verdict(answer.error)
        if kind is Verdict.REPEATED:  # of an attempt before; if there was none, the broker takes it for another batch
            kind = Verdict.IN_THE_LOG if batch.unknown else Verdict.NEW_PRODUCER
        match kind:
            case Verdict.IN_THE_LOG:
                queue.succeeded(batch.count)
                batch.succeed(queue.topic, queue.partition, answer.offset)
            case Verdict.TOO_LARGE if batch.count > 1 and not batch.unknown:
                queue.halve(batch)
            case Verdict.NEW_PRODUCER if not batch.unknown:
                self._producer_ids.forget(batch.producer_id)
                queue.error = answer.error
                queue.give_back(batch)
                self._pause(queue)
            case Verdict.LATER | Verdict.UNKNOWN:
                self._later(queue, batch, answer.error, unknown=kind is Verdict.UNKNOWN)
            case _:
                self._fail(queue, batch, answer.error)

    def _fail(self, queue: PartitionQueue, batch: BatchInFlight, code: int) -> None:
        """It will not be in the log, or an attempt before has put it there: then nobody knows."""
        queue.in_flight, queue.error, queue.refused_since = None, 0, 0.0
        if batch.unknown:
            self._producer_ids.forget(batch.producer_id)
            batch.fail(lambda: outcome_unknown(queue.topic, self._timeout, code))
        else:
            batch.fail(lambda: refused(code, queue.topic))
        if queue.waiting:
            self.make_ready(queue)

    def _later(self, queue: PartitionQueue, batch: BatchInFlight, code: int, *, unknown: bool) -> None:
        """The same batch again in a moment."""
        now = asyncio.get_running_loop().time()
        batch.unknown = batch.unknown or unknown
        if queue.error != code or not queue.refused_since:
            queue.error, queue.refused_since = code, now
        if code == wire.UNKNOWN_TOPIC and now > queue.refused_since + GONE and not batch.unknown:
            self._fail(queue, batch, code)
            queue.drop(lambda: refused(code, queue.topic))
        else:
            self._pause(queue)
            self.brokers.find_leaders()

    def _pause(self, queue: PartitionQueue) -> None:
        """Nothing of this partition goes out for a moment."""
        loop = asyncio.get_running_loop()
        queue.retry = loop.time() + PAUSE
        loop.call_later(PAUSE, self.make_ready, queue)
