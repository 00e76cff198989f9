"""Reads events back from Kafka, without a consumer group: it commits nothing and disturbs nobody."""

# ruff: noqa: SLF001 - librdkafka names its local errors with an underscore
from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as KafkaMessage

from inlake.bus.kafka.errors import NO_LEADER, NO_SUCH_TOPIC
from inlake.bus.kafka.librdkafka.log import Log
from inlake.errors import BusUnavailable, InlakeError, TopicMissing
from inlake.model import Message, Position

CONSUME = 0.2
"""Seconds one blocking call may wait for messages."""
LOOK = 5.0
"""Seconds between looks for new topics and partitions while following."""
CHUNK = 500
"""Messages taken in one call."""
QUEUED = 16 << 20
"""Bytes that librdkafka may fetch ahead."""

Place = tuple[str, int]
"""Topic and partition."""
LATEST_MS = 253_402_128_000_000
"""Two days before the end of the year 9999: Python has no later time in every zone."""
Topics = Sequence[str] | Callable[[str], bool]
"""Names of topics, or what tells by its name whether one is meant; never one of Kafka's own."""


class Reading:
    """One pass over topics. Its methods block.

    A cancelled reader leaves its thread inside `take`: the lock makes `close` wait for it.
    """

    def __init__(self, config: Mapping[str, Any], topics: Topics, *, follow: bool, timeout: float) -> None:
        self.topics = topics
        self._follow = follow
        self._timeout = timeout
        self._lock = threading.Lock()
        self._open: dict[Place, int] = {}
        self._seen: set[Place] = set()
        self._next_look = self._silent_since = time.monotonic()
        self._consumer = Consumer(
            {
                "queued.max.messages.kbytes": QUEUED >> 10,
                **config,
                "group.id": "inlake-read",  # librdkafka wants a name; with assign and without commits it is not used
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",  # retention may overtake a reader: it goes on with what is left
                "logger": Log(),
            }
        )

    def begin(self, *, latest: bool = False, after: Iterable[Position] = ()) -> None:
        """Assign every partition from its start or end, or from behind a position; what is there now is the end when
        not following."""
        with self._lock:
            self._assign(latest=latest, nexts={(at.topic, at.partition): at.offset + 1 for at in after})

    def begin_between(self, windows: Mapping[Place, range]) -> None:
        """Read these offsets of each partition, and nothing else."""
        with self._lock:
            self._open = {place: offsets.stop for place, offsets in windows.items()}
            self._silent_since = time.monotonic()
            self._consumer.assign([TopicPartition(*place, offsets.start) for place, offsets in windows.items()])

    def span(self, place: Place) -> range:
        """The offsets that a partition has now. `TopicMissing`."""
        try:
            with self._lock:
                return range(*self._consumer.get_watermark_offsets(TopicPartition(*place), timeout=self._timeout))
        except KafkaException as error:
            if error.args[0].code() in NO_SUCH_TOPIC:
                raise TopicMissing(f"Kafka has no topic {place[0]!r}, or no partition {place[1]} of it") from None
            raise

    def spans(self) -> dict[Place, range]:
        """The offsets of every partition."""
        with self._lock:
            return self._spans()

    def spans_until(self, ms: int) -> dict[Place, range]:
        """The offsets of every partition up to its first message of this time or a later one."""
        with self._lock:
            spans = self._spans()
            ends = self._offsets([place for place, span in spans.items() if span], ms)
            return {  # an end is below zero where there is no such message
                place: range(span.start, min(span.stop, end) if (end := ends.get(place, -1)) >= 0 else span.stop)
                for place, span in spans.items()
            }

    @property
    def unfinished(self) -> set[Place]:
        """Partitions of which there is more to take."""
        return set(self._open)

    def take(self) -> list[Message] | None:
        """The next messages, possibly none yet; None at the end."""
        if not self._open and not self._follow:
            return None
        with self._lock:
            return [message for one in self._consume() if (message := self._accept(one)) is not None]

    def unassign(self) -> None:
        """Fetch nothing until the next `begin_between`."""
        with self._lock:
            self._open = {}
            self._consumer.unassign()

    def close(self) -> None:
        with self._lock:
            self._consumer.close()

    def _spans(self) -> dict[Place, range]:
        """The offsets that each place has; a topic that is deleted while this looks has no place."""
        places = self._places()
        first, end = self._offsets(places, OFFSET_BEGINNING), self._offsets(places, OFFSET_END)
        return {place: range(first[place], end[place]) for place in places if place in first and place in end}

    def _offsets(self, places: Sequence[Place], ms: int) -> dict[Place, int]:
        """The first offset of each place at or after a time, by one request to each broker; OFFSET_BEGINNING and
        OFFSET_END are times too, by Kafka's protocol (ListOffsets). `get_watermark_offsets` asks for each partition."""
        asked, end = [TopicPartition(*place, ms) for place in places], time.monotonic() + self._timeout
        while asked:
            try:
                answers = self._consumer.offsets_for_times(asked, timeout=self._timeout)
                errors = [one.error for one in answers if one.error and one.error.code() not in NO_SUCH_TOPIC]
            except KafkaException as error:
                errors = [error.args[0]]
            if not errors:
                return {(one.topic, one.partition): one.offset for one in answers if not one.error}
            if not {error.code() for error in errors} <= NO_LEADER or time.monotonic() > end:
                raise KafkaException(errors[0])
            time.sleep(0.05)
            self._consumer.list_topics(timeout=self._timeout)  # which says who leads now
        return {}

    def _assign(self, *, latest: bool, nexts: Mapping[Place, int]) -> None:
        spans = self._spans()
        offsets = []
        for place, span in spans.items():
            start = nexts.get(place, span.stop if latest else span.start)
            if not span.start <= start <= span.stop:  # it was deleted, or the topic is a new one of the same name
                start = span.start
            offsets.append(TopicPartition(*place, start))
            if self._follow or start < span.stop:
                self._open[place] = span.stop
        self._seen = set(spans)
        self._consumer.assign(offsets)

    def _consume(self) -> list[KafkaMessage]:
        if self._follow:
            self._look()
            return self._consumer.consume(CHUNK, CONSUME)
        got = self._consumer.consume(1, CONSUME)  # it waits for as many as it is asked for, though no more come
        if got:
            got += self._consumer.consume(CHUNK - 1, 0)
            self._silent_since = time.monotonic()
        elif time.monotonic() - self._silent_since > self._timeout:
            raise BusUnavailable("Kafka stopped answering while events were read: try again.")
        return got

    def _accept(self, got: KafkaMessage) -> Message | None:
        error, place = got.error(), (got.topic() or "", got.partition() or 0)
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF and not self._follow:
                self._open.pop(place, None)
            elif error.code() in NO_SUCH_TOPIC and not self._follow:
                raise TopicMissing(f"Kafka has no topic {place[0]!r}")
            elif error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise BusUnavailable(f"Kafka does not let the gateway read topic {place[0]!r}")
            return None  # anything else is a passing trouble that librdkafka goes on about
        message = to_message(got)
        if not self._follow:
            end = self._open.get(place, 0)
            if message.position.offset + 1 >= end:
                self._open.pop(place, None)
            if message.position.offset >= end:
                return None
        return message

    def _look(self) -> None:
        if time.monotonic() < self._next_look:
            return
        self._next_look = time.monotonic() + LOOK
        try:
            places = self._places()
        except (KafkaException, InlakeError):
            return  # Kafka is away, or a topic was deleted: the next look may find it
        new = [place for place in places if place not in self._seen]
        if new:
            self._seen.update(new)
            self._consumer.incremental_assign([TopicPartition(*place, OFFSET_BEGINNING) for place in new])

    def _places(self) -> list[Place]:
        found = self._consumer.list_topics(timeout=self._timeout).topics
        wanted = self.topics
        topics = [name for name in found if wanted(name) and not name.startswith("__")] if callable(wanted) else wanted
        for topic in topics:
            if topic not in found:
                raise TopicMissing(f"Kafka has no topic {topic!r}")
        return [(topic, partition) for topic in topics for partition in found[topic].partitions]


def to_message(got: KafkaMessage) -> Message:
    """Our message for Kafka's; a header without value reads as empty.

    A time that no clock shows becomes the nearest that one can: brokers take what a producer says, be it microseconds.
    """
    headers = [(name, value or b"") for name, value in cast("list[tuple[str, bytes | None]]", got.headers() or [])]
    position = Position(got.topic() or "", got.partition() or 0, got.offset() or 0)
    return Message(position, got.key(), got.value(), headers, min(max(got.timestamp()[1], 0), LATEST_MS))


async def read(make: Callable[[], Reading], *, latest: bool, after: Iterable[Position]) -> AsyncIterator[Message]:
    """Messages of the topics of a reading. `BusUnavailable`, `TopicMissing`."""
    reading = None
    try:
        reading = make()
        await asyncio.to_thread(reading.begin, latest=latest, after=after)
        while (messages := await asyncio.to_thread(reading.take)) is not None:
            for message in messages:
                yield message
    except KafkaException as e:
        raise BusUnavailable(f"Kafka cannot be read: {e.args[0].str()}") from None
    finally:
        if reading is not None:
            await asyncio.to_thread(reading.close)
