"""A transactional producer of librdkafka: all events of a call go into the log together, or none does."""

# ruff: noqa: SLF001 - librdkafka names its local errors with an underscore
from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage
from confluent_kafka.cimpl import murmur2

from inlake.bus.kafka.errors import not_committed, of_kafka_error, plain_text, transactions_unavailable
from inlake.bus.kafka.librdkafka.producer import BY_KEY, POLL, Headers
from inlake.errors import InlakeError, OutcomeUnknown, RecordTooLarge
from inlake.model import Event, Position

logger = logging.getLogger("inlake.bus")

ABORT = 2.0
"""Seconds to tell the broker that a transaction is given up; unasked it does so after transaction.timeout.ms."""
GIVEN_UP = {KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT}
"""The error codes reported of the other events of a transaction that failed for the sake of one."""


class Reports:
    """Kafka's report of each event of a transaction."""

    __slots__ = ("errors", "failed", "missing", "positions")

    def __init__(self, count: int) -> None:
        self.positions: list[Position | None] = [None] * count
        self.missing = count
        self.errors: dict[int, KafkaError] = {}
        """Errors by the event's index, without those that are but given up."""
        self.failed = False

    def note(self, index: int, error: KafkaError | None, message: KafkaMessage) -> None:
        self.missing -= 1
        if error is None:
            offset = max(message.offset() or 0, -1)
            self.positions[index] = Position(message.topic() or "", message.partition() or 0, offset)
            return
        self.failed = True
        if error.code() not in GIVEN_UP:
            self.errors[index] = error


class TransactionalProducer:
    """A producer that publishes all events of a call or none. For one thread; every method ends in bounded time.

    `broken` when it cannot go on: make another with the same transactional.id, which ends what this one left open.
    """

    def __init__(self, config: Mapping[str, Any], *, timeout: float) -> None:
        """`timeout`: seconds for each transaction. Raises `BusUnavailable`."""
        self.broken = False
        self._id = config["transactional.id"]
        self._timeout = timeout
        self._last_error = ""
        self._ready = False
        try:
            self._producer = Producer({**config, "error_cb": self._hear})
        except KafkaException as e:
            raise transactions_unavailable(e.args[0], self._id) from None

    def publish(self, events: Sequence[Event], partitions: Mapping[str, int]) -> list[Position]:
        """See `Bus.publish_all_or_none`."""
        end, self._last_error = time.monotonic() + self._timeout, ""
        reports = Reports(len(events))
        self._get_ready(end)
        try:
            self._producer.begin_transaction()
            self._send(events, partitions, reports, end)
            while reports.missing and not reports.failed and time.monotonic() < end:
                self._producer.poll(POLL)  # and no flush: that waits in vain for the others when one has failed
            if reports.failed and not reports.errors:
                self._producer.commit_transaction(POLL)  # what has failed is never committed: it says why instead
        except KafkaException as e:
            self._abort()
            raise self._reason(e.args[0], events, reports) from None
        if None in reports.positions:
            self._abort()
            raise self._reason(KafkaError(KafkaError._TIMED_OUT), events, reports)
        try:
            self._producer.commit_transaction(_left(end))
        except KafkaException as e:
            if e.args[0].txn_requires_abort() and self._abort():
                raise self._reason(e.args[0], events, reports) from None
            self.broken = True
            because = f" ({self._last_error})" if self._last_error else ""
            raise OutcomeUnknown(
                f"Kafka did not say within {self._timeout:g} s whether all events are published or none{because}"
            ) from None
        return cast("list[Position]", reports.positions)

    def is_broken(self) -> bool:
        """Hear what librdkafka has to say; to be called now and then while nothing is published."""
        try:
            self._producer.poll(0)
        except KafkaException as e:  # a fatal error
            self._hear(e.args[0])
        return self.broken

    def close(self) -> None:
        """Throw away what is in flight: it belongs to a transaction that was not committed."""
        self._producer.purge()
        self.is_broken()
        del self._producer  # librdkafka ends here and now, and not whenever the garbage collector finds it

    def _get_ready(self, end: float) -> None:
        """Once: the broker gives an id and aborts what the producer before this one left open."""
        if self._ready:
            return
        try:
            self._producer.init_transactions(_left(end))
        except KafkaException as e:
            self.is_broken()
            self.broken = True
            raise transactions_unavailable(e.args[0], self._id, self._last_error) from None
        self._ready = True

    def _send(self, events: Sequence[Event], partitions: Mapping[str, int], reports: Reports, end: float) -> None:
        produce = self._producer.produce
        for index, event in enumerate(events):
            topic, key, value, by = event.topic, event.key, event.value, event.partition_by
            partition = BY_KEY if by is None else murmur2(by, partitions[topic])
            note = partial(reports.note, index)
            while True:
                try:
                    produce(topic, value, key, partition, headers=cast("Headers", event.headers), on_delivery=note)
                    break
                except BufferError:  # more than the queue holds: what is in it goes out meanwhile
                    if reports.failed or time.monotonic() > end:
                        return
                    self._producer.poll(POLL)
                except KafkaException as e:
                    self._producer.poll(0)  # what failed before explains more than that nothing is taken any more
                    if not reports.failed:
                        reports.failed, reports.errors[index] = True, e.args[0]
                    return

    def _abort(self) -> bool:
        """Give the transaction up. False when the broker does not say so; it does by itself after a time."""
        end = time.monotonic() + ABORT
        while True:
            try:
                self._producer.abort_transaction(POLL)
                return True
            except KafkaException as e:
                if not e.args[0].retriable() or time.monotonic() > end:
                    logger.info("A transaction was not aborted and ends by its time-out: %s", plain_text(e.args[0]))
                    self.broken = True
                    return False
            self._producer.poll(0)  # aborting waits until all events are reported, and takes no report itself

    def _reason(self, error: KafkaError, events: Sequence[Event], reports: Reports) -> InlakeError:
        """Why nothing was published: what was reported of an event, else what stands against the transaction."""
        for index, report in reports.errors.items():
            refused = of_kafka_error(report, events[index].topic, sent=False, reason=self._last_error)
            if isinstance(refused, RecordTooLarge):
                refused.members["event"] = index
            return refused
        return not_committed(error, ", ".join(sorted({event.topic for event in events})), self._last_error)

    def _hear(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # what came before says why
            self._last_error = plain_text(error)
        if error.fatal():
            self.broken = True


def _left(end: float) -> float:
    """Seconds until then, at least some for an answer that is on its way."""
    return max(end - time.monotonic(), 0.5)
