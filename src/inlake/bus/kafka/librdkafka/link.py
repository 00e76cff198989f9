"""One librdkafka producer, the thread that collects its delivery reports, and the publish calls that wait for them."""

# ruff: noqa: SLF001 - librdkafka names its local errors with an underscore
from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as KafkaMessage
from confluent_kafka.cimpl import murmur2

from inlake.bus.kafka.errors import FORBIDDEN, plain, refusal
from inlake.errors import Busy, InlakeError
from inlake.model import Event, Position

logger = logging.getLogger("inlake.bus")

POLL = 0.1
"""Seconds the thread waits for a delivery report before it looks whether it shall stop."""

CONNECTION: Mapping[str, Any] = {
    "client.id": "inlake",
    # the default of 10 s between attempts would keep the gateway away long after the broker is back
    "reconnect.backoff.ms": 250,
    "reconnect.backoff.max.ms": 1000,
    "socket.keepalive.enable": True,
}
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

Headers = list[tuple[str, str | bytes | None]]
Result = Position | InlakeError | None


class Log:
    """librdkafka's log, to our logger: it repeats a lost connection many times a second, so each kind once in 30 s."""

    def __init__(self, seconds: float = 30.0) -> None:
        self._seconds = seconds
        self._next: dict[str, float] = {}

    def log(self, level: int, text: str, *args: str) -> None:
        kind, now = args[0] if args else text, time.monotonic()
        if now >= self._next.get(kind, 0.0):
            self._next[kind] = now + self._seconds
            logger.log(min(level, logging.WARNING), text, *args)


class Batch:
    """One publish call in flight. Counting happens in the polling thread alone, so it needs no lock."""

    __slots__ = ("deadline", "done", "events", "expected", "failed", "reported", "results")

    def __init__(self, events: Sequence[Event], results: list[Result], done: asyncio.Future[None]) -> None:
        self.events = events
        self.results = results
        self.done = done
        self.deadline = 0.0
        """Of the event loop's clock."""
        self.expected = -1
        self.reported = 0
        self.failed = False

    def finish(self) -> None:
        """Wake the publisher; it may be gone."""
        if not self.done.done():
            self.done.set_result(None)


class Flying:
    """The publish calls in flight, and one timer for all that ends those whose time is over."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: until a call ends in any case."""
        self._seconds = seconds
        self._batches: dict[Batch, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, batch: Batch) -> None:
        """Return when all of it is reported, or its time is over."""
        batch.deadline = batch.done.get_loop().time() + self._seconds
        self._batches[batch] = None
        if self._timer is None:
            self._watch(batch)
        try:
            await batch.done
        finally:
            del self._batches[batch]

    def _watch(self, first: Batch) -> None:
        self._timer = first.done.get_loop().call_at(first.deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        for batch in self._batches:  # the oldest first
            if batch.deadline > batch.done.get_loop().time():
                self._watch(batch)
                return
            batch.finish()


class Link:
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
        self._finished: list[Batch] = []
        self._answered = False
        self._forbidden: KafkaError | None = None
        """The brokers gave no producer id: nothing was ever sent, and everything fails for this reason."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._producer = Producer({**config, "error_cb": self._hear, "logger": Log()})
        self._thread = threading.Thread(target=self._run, name="kafka-reports", daemon=True)
        self._thread.start()

    async def send(self, events: Sequence[Event], results: list[Result], partitions: Mapping[str, int]) -> Batch:
        """Hand over the events that have no result yet; `Batch.done` follows when each has one.

        `partitions`: how many each topic has, for events that are not placed by their key.
        """
        loop = self._loop = self._loop or asyncio.get_running_loop()
        batch = Batch(events, results, loop.create_future())
        produce, report, count = self._producer.produce, self._report, 0
        for index, event in enumerate(events):
            if results[index] is not None:
                continue
            topic, by = event.topic, event.partition_by
            headers: Any = event.headers  # the wrapper's type is a list whose values may be text and None too
            partition = BY_KEY if by is None else murmur2(by, partitions[topic])
            on_delivery = partial(report, batch, index)
            try:
                produce(topic, event.value, event.key, partition, headers=headers, on_delivery=on_delivery)
                count += 1
            except BufferError:
                results[index] = Busy("More events wait for Kafka than the gateway may hold: try again in a moment.")
            except KafkaException as e:
                batch.failed = True
                results[index] = refusal(self._forbidden or e.args[0], topic, sent=False)
            if index % IN_ONE_GO == IN_ONE_GO - 1:
                await asyncio.sleep(0)
        batch.expected = count
        if batch.reported == count:
            batch.finish()
        return batch

    def stop(self) -> None:
        """Let the thread end when all is reported, or after the time-out; what is left then is of unknown outcome."""
        self._stopping = True

    def join(self) -> None:
        self._thread.join()

    def _report(self, batch: Batch, index: int, error: KafkaError | None, message: KafkaMessage) -> None:
        topic = batch.events[index].topic
        if error is None:
            # -1, as in Java's RecordMetadata: a repeat of what the broker had already is confirmed without an offset
            batch.results[index] = Position(topic, message.partition() or 0, max(message.offset() or 0, -1))
        else:
            batch.failed = True
            batch.results[index] = refusal(self._forbidden or error, topic, sent=True, reason=self.last_error)
        batch.reported += 1
        if batch.reported == batch.expected:  # expected is set last by send, which then looks itself: none is missed
            self._finished.append(batch)

    def _hear(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # what came before says why
            self.last_error = plain(error)
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


def _finish(batches: list[Batch]) -> None:
    for batch in batches:
        batch.finish()
