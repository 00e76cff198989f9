"""The bus on Kafka: answers when all in-sync replicas have the event.

`Producer` publishes, in record batches of our own making; `Librdkafka` does where it is chosen by name, or where a
property asks for what only it does. What is asked of Kafka beside that, reading and transactions are librdkafka's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any, Literal

from confluent_kafka import KafkaException

from inlake.bus.kafka import newest as kafka_newest
from inlake.bus.kafka import reader as kafka_reader
from inlake.bus.kafka import topics as kafka_topics
from inlake.bus.kafka.consumers import Consumers
from inlake.bus.kafka.librdkafka.producer import PRODUCER
from inlake.bus.kafka.librdkafka.publish import STOPPING, Librdkafka
from inlake.bus.kafka.librdkafka.transactions import Transactions
from inlake.bus.kafka.order import CallOrder
from inlake.bus.kafka.producer import Producer
from inlake.bus.kafka.properties import CONNECTION, TUNING, check_fixed, find_access, for_librdkafka, of_librdkafka
from inlake.bus.kafka.topics import NewTopics, Topics
from inlake.errors import BusUnavailable, InlakeError, OutcomeUnknown, ShuttingDown, TopicMissing
from inlake.model import Event, Message, Moment, Position

logger = logging.getLogger("inlake.bus")

_STALE = (BusUnavailable, OutcomeUnknown, TopicMissing)
"""Errors that may come of metadata of a topic that is no longer true."""


class KafkaBus:
    """Adapter of `Bus` for Kafka. One event loop, any number of publishers."""

    def __init__(
        self,
        servers: str,
        *,
        properties: Mapping[str, str] | None = None,
        new_topics: NewTopics | None = None,
        timeout: float = 20.0,
        holds_events: Callable[[str], bool] = lambda _: True,
        producer: Literal["own", "librdkafka"] = "own",
    ) -> None:
        """`servers`: host:port,...; `properties`: of librdkafka, they win over ours but for those in `FIXED`;
        `new_topics`: how topics are made that are not there, None to make none; `timeout`: seconds until an event
        without confirmation counts as failed; `holds_events`: which topics are read when none is named; `producer`: who
        publishes. Raises ValueError for a property that librdkafka does not take, or we do not.
        """
        self._holds_events = holds_events
        self._timeout = timeout
        given = {"bootstrap.servers": servers, **(properties or {})}
        check_fixed(given)
        if "transactional.id" in given:
            raise ValueError("transactional.id is not to be set: each process makes its own from client.id")
        self._connection = for_librdkafka({**CONNECTION, **given})
        self._consumers = Consumers(self._connection, timeout=timeout)
        self._closed = False
        self._confirmed = 0.0
        """The time when Kafka last confirmed an event."""
        self._order = CallOrder()
        of_producer = {**PRODUCER, "delivery.timeout.ms": round(timeout * 1000), **self._connection}
        self._transactions = Transactions(of_producer, timeout=timeout)
        self._producer = self._make_producer(producer, {**CONNECTION, **given})
        self._topics = Topics(
            self._connection,
            create=new_topics,
            describe=self._producer.describe if isinstance(self._producer, Producer) else None,
            trouble=lambda: self._producer.last_error,
        )
        try:
            self._topics.open()  # librdkafka says here what is wrong with a property
        except KafkaException as e:
            raise ValueError(f"Kafka settings: {e.args[0].str()}") from None

    def _make_producer(self, name: str, properties: Mapping[str, Any]) -> Producer | Librdkafka:
        """The one of that name, or librdkafka's where a property asks for it; the log says which property."""
        access = find_access(properties)
        if name == "librdkafka" or access is None:
            if name != "librdkafka":
                logger.warning("Kafka: librdkafka publishes, because of %s", ", ".join(of_librdkafka(properties)))
            return Librdkafka(
                self._connection,
                timeout=self._timeout,
                on_trouble=self._forget_topics,
                largest=lambda: self._topics.largest,
            )
        if unused := sorted(TUNING & properties.keys()):
            logger.warning("Kafka: the gateway's own producer makes no use of %s", ", ".join(unused))
        return Producer(access, timeout=self._timeout, on_trouble=self._forget_topics)

    def _forget_topics(self) -> None:
        self._topics.forget()

    def _refresh_metadata(self, topics: set[str]) -> None:
        """Asks for the topics of a call again after such an error: beside the next calls while Kafka confirms other
        events, before the next one when it confirms none."""
        if time.monotonic() - self._confirmed > self._timeout:
            self._topics.forget()
        else:
            self._topics.doubt(topics)

    async def publish(self, events: Sequence[Event]) -> list[Position | InlakeError]:
        """See `Bus.publish`. A full queue is `Busy` for the events it has no room for."""
        topics = {event.topic for event in events}
        refused: dict[str, InlakeError] = {}
        if not (topics <= self._topics.known and self._order.is_free(topics)):
            refused = await self._order.after_others(topics, self._refused(topics))
        if self._closed:
            return [ShuttingDown(STOPPING) for _ in events]
        taken = [event for event in events if event.topic not in refused] if refused else events
        results = await self._producer.publish(taken, self._topics.partitions)
        kinds = set(map(type, results))
        if Position in kinds:
            self._confirmed = time.monotonic()
        if not kinds.isdisjoint(_STALE):
            self._refresh_metadata(topics)
        of_taken = iter(results)
        return [refused.get(event.topic) or next(of_taken) for event in events] if refused else results

    async def publish_all_or_none(self, events: Sequence[Event]) -> list[Position]:
        """See `Bus.publish_all_or_none`: one transaction, for readers with isolation.level=read_committed."""
        topics = {event.topic for event in events}
        if not topics <= self._topics.known:
            for error in (await self._refused(topics)).values():
                raise copy(error)  # the remembered error would keep the frames of all who raise it
        if self._closed:
            raise ShuttingDown(STOPPING)
        try:
            positions = await self._transactions.publish(events, self._topics.partitions) if events else []
        except _STALE:
            self._refresh_metadata(topics)
            raise
        self._confirmed = time.monotonic()
        return positions

    def read(
        self,
        topics: Sequence[str] | None = None,
        *,
        start: Literal["earliest", "latest"] = "earliest",
        follow: bool = False,
        after: Iterable[Position] = (),
    ) -> AsyncIterator[Message]:
        """See `Bus.read`. Order holds within a partition."""
        wanted = self._holds_events if topics is None else topics
        reading = partial(kafka_reader.Reading, self._connection, wanted, follow=follow, timeout=self._timeout)
        return kafka_reader.read(reading, latest=start == "latest", after=after)

    async def recent(
        self, limit: int, topics: Sequence[str] | None = None, *, before: Moment | None = None
    ) -> list[Message]:
        """See `Bus.recent`."""
        wanted = self._holds_events if topics is None else topics
        return await kafka_newest.recent(self._consumers, wanted, limit, before=before)

    async def find(self, at: Position) -> Message | None:
        """See `Bus.find`."""
        return await kafka_newest.find(self._consumers, at)

    async def check(self) -> list[str]:
        """See `Bus.check`: warns of compacted topics and of min.insync.replicas 1."""
        self._producer.wake()
        topics = set(self._topics.partitions)
        return await kafka_topics.warnings(self._topics.admin, topics, lambda: self._producer.last_error)

    async def close(self) -> None:
        """Wait until all in flight is confirmed, at most the time-out; publishing afterwards is `ShuttingDown`."""
        self._closed = True
        await self._topics.close()
        await self._transactions.close()
        await self._consumers.close()
        await self._producer.close()

    async def _refused(self, topics: set[str]) -> dict[str, InlakeError]:
        """The error of each of the topics that cannot be used."""
        self._producer.wake()
        refused = await self._topics.find(topics)
        if not refused:
            self._producer.forget_error()
        return refused
