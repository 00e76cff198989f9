"""One librdkafka producer, the thread that collects its delivery reports, and the publish calls that wait for them."""

# ruff: noqa: SLF001 - librdkafka names its local errors with an underscore
from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Message as KafkaMessage
from confluent_kafka import Producer as KafkaProducer
from confluent_kafka.cimpl import murmur2

from inlake.bus.kafka.errors import FORBIDDEN, of_kafka_error, plain_text
from inlake.bus.kafka.librdkafka.calls import Call
from inlake.bus.kafka.librdkafka.log import Log
from inlake.bus.kafka.properties import CONNECTION
from inlake.errors import Busy, InlakeError
from inlake.model import Event, Position

logger = logging.getLogger("inlake.bus")

POLL = 0.1
"""Seconds the thread waits for a delivery report before it looks whether it shall stop."""

PRODUCER: Mapping[str, Any] = {
    **CONNECTION,
    "acks": "all",
    "enable.idempotence": True,
    "partitioner": "murmur2_random",  # Java's: every client must choose the same partition for a key
    # not every reader has lz4 or zstd (aiokafka needs a package for them); sparing CPU, it saved none here
    "compression.type": "none",
    # a request to the broker costs as much as a record of ours from HTTP to receipt: what comes within a millisecond
    # shares one, and one wake-up when it is confirmed
    "linger.ms": 1,
    "batch.num.messages": 10_000,
    # what is too large is the broker's to say: by topic, after compression
    "message.max.bytes": 16 << 20,
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 128 << 10,
    # topics are looked up before the first event, so one that vanishes was deleted: say so before the time-out
    "topic.metadata.propagation.max.ms": 3000,
}

IN_ONE_GO = 100
"""Events handed to librdkafka before others have their turn in the event loop: a fraction of a millisecond."""

BY_KEY = -1
"""RD_KAFKA_PARTITION_UA: the partitioner chooses."""

FULL = "More events wait for Kafka than the gateway may hold: try again in a moment."
Headers = list[tuple[str, str | bytes | None]]


class Producer:
    """A producer and its polling thread. `broken` after a fatal error: make a new one, this one ends by itself."""

    def __init__(
        self, config: Mapping[str, Any], *, timeout: float, on_trouble: Callable[[], None] = lambda: None
    ) -> None:
        """`on_trouble` is called in the polling thread when no broker can be reached. Raises KafkaException."""
        self.broken = False
        self.last_error = ""
        self._timeout = timeout
        self._on_trouble = on_trouble
        self._stopping = False
        self._finished: list[Call] = []
        self._answered = False
        self._forbidden: KafkaError | None = None
        """The brokers gave no producer id: nothing was ever sent, and everything fails for this reason."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._producer = KafkaProducer({**config, "error_cb": self._hear, "logger": Log()})
        self._thread = threading.Thread(target=self._run, name="kafka-reports", daemon=True)
        self._thread.start()

    async def send(self, events: Sequence[Event], partitions: Mapping[str, int]) -> Call:
        """Hands the events over; `Call.done` follows when each has its result.

        `partitions`: how many each topic has, for events that are not placed by their key. What is behind an event of
        its topic that may go later fails with it, or a key would lose its order.
        """
        loop = self._loop = self._loop or asyncio.get_running_loop()
        call = Call(events, loop.create_future())
        results = call.results
        produce, report, count = self._producer.produce, self._report, 0
        behind = dict[str, InlakeError]()
        for index, event in enumerate(events):
            topic, by = event.topic, event.partition_by
            if topic in behind:
                results[index] = copy(behind[topic])
                continue
            headers: Any = event.headers  # the wrapper's type is a list whose values may be text and None too
            partition = BY_KEY if by is None else murmur2(by, partitions[topic])
            on_delivery = partial(report, call, index)
            try:
                produce(topic, event.value, event.key, partition, headers=headers, on_delivery=on_delivery)
                count += 1
            except BufferError:
                behind[topic] = results[index] = Busy(FULL)
            except KafkaException as e:
                call.failed = True
                error = results[index] = of_kafka_error(self._forbidden or e.args[0], topic, sent=False)
                if error.retryable:
                    behind[topic] = error
            if index % IN_ONE_GO == IN_ONE_GO - 1:
                await asyncio.sleep(0)
        call.expected = count
        if call.reported == count:
            call.finish()
        return call

    def stop(self) -> None:
        """Let the thread end when all is reported, or after the time-out; what is left then is of unknown outcome."""
        self._stopping = True

    def join(self) -> None:
        self._thread.join()

    def _report(self, call: Call, index: int, error: KafkaError | None, message: KafkaMessage) -> None:
        topic = call.events[index].topic
        if error is None:
            # -1, as in Java's RecordMetadata: a repeat of what the broker had already is confirmed without an offset
            call.results[index] = Position(topic, message.partition() or 0, max(message.offset() or 0, -1))
        else:
            call.failed = True
            call.results[index] = of_kafka_error(self._forbidden or error, topic, sent=True, reason=self.last_error)
        call.reported += 1
        if call.reported == call.expected:  # expected is set last by send, which then looks itself: none is missed
            self._finished.append(call)

    def _hear(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # what came before says why
            self.last_error = plain_text(error)
        if error.fatal():
            logger.error("Kafka producer failed for good and is replaced: %s", error.str())
            self.broken = self._stopping = True
            if error.code() in FORBIDDEN and not self._answered:
                self._forbidden = error
        if error.code() in {KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION}:
            self._on_trouble()

    def _run(self) -> None:
        while not self._stopping:
            self._serve(POLL)
        if not self.broken:
            self._drain(self._timeout)
        self._producer.purge()
        self._drain(1.0)

    def _drain(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while len(self._producer) and time.monotonic() < deadline:
            self._serve(POLL / 10)

    def _serve(self, seconds: float) -> None:
        """Collect reports, then wake the event loop once for all calls they complete: a wake-up costs 28 us."""
        try:
            self._producer.poll(seconds)
        except KafkaException as e:  # poll raises a fatal error instead of calling error_cb
            self._hear(e.args[0])
        except Exception:  # the thread must live: every publisher waits for it
            logger.exception("A delivery report of Kafka could not be read")
        if self._finished and self._loop is not None:
            self._answered = True
            finished, self._finished = self._finished, []
            try:
                self._loop.call_soon_threadsafe(_finish, finished)
            except RuntimeError:
                logger.warning("The event loop was closed before Kafka confirmed")


def _finish(calls: list[Call]) -> None:
    for call in calls:
        call.finish()
