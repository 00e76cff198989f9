"""The bus on Kafka: answers when all in-sync replicas have the event.

`Sender` publishes, in record batches of our own making. Where a property asks for what it does not do, librdkafka's
producer does (`Librdkafka`). What is asked of Kafka beside that, reading and transactions are librdkafka's in any case.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from copy import copy
from typing import Literal, cast

from confluent_kafka import KafkaException

from inlake.bus.kafka import reader as kafka_reader
from inlake.bus.kafka import topics as kafka_topics
from inlake.bus.kafka.librdkafka.link import CONNECTION, PRODUCER, Result
from inlake.bus.kafka.librdkafka.producer import GRACE, STOPPING, Librdkafka
from inlake.bus.kafka.librdkafka.transactions import Transactions
from inlake.bus.kafka.producer.producer import Sender
from inlake.bus.kafka.properties import check_fixed, find_access
from inlake.bus.kafka.topics import NewTopicPlan, Topics
from inlake.bus.kafka.turns import Turns
from inlake.errors import (
    BusUnavailable,
    InlakeError,
    OutcomeUnknown,
    ShuttingDown,
    TopicMissing,
)
from inlake.model import Event, Message, Position


class KafkaBus:
    """Adapter of `Bus` for Kafka. One event loop, any number of publishers."""

    def __init__(
        self,
        servers: str,
        *,
        properties: Mapping[str, str] | None = None,
        create_topics: bool = False,
        partitions: int = 3,
        replication: int = -1,
        timeout: float = 10.0,
        holds_events: Callable[[str], bool] = bool,
    ) -> None:
        """`servers`: host:port,...; `properties`: any of librdkafka's but other values of `FIXED`, they win over ours;
        `timeout`: seconds until an event without confirmation counts as failed; `holds_events`: which topics are read
        when none is named. Raises ValueError for a property that librdkafka does not take, or we do not.
        """
        self._holds_events = holds_events
        self._timeout = timeout
        given = {"bootstrap.servers": servers, **(properties or {})}
        check_fixed(given)
        if "transactional.id" in given:
            raise ValueError("transactional.id is not to be set: each process makes its own from client.id")
        self._connection = {**CONNECTION, **given}
        plan = NewTopicPlan(partitions, replication) if create_topics else None
        self._topics = Topics(self._connection, create=plan, trouble=lambda: self._producer.last_error)
        self._closed = False
        self._turns = Turns()
        producer = {**PRODUCER, "delivery.timeout.ms": round(timeout * 1000), **given}
        self._transactions = Transactions(producer, timeout=timeout)
        self._producer = self._make_producer()

    def _make_producer(self) -> Sender | Librdkafka:
        """Ours, unless a property asks for more than it does."""
        access, forget = find_access(self._connection), self._topics.forget
        if access is None:
            return Librdkafka(self._connection, timeout=self._timeout, on_trouble=forget)
        try:
            self._topics.open()  # librdkafka says here what is wrong with a property
        except KafkaException as e:
            raise ValueError(f"Kafka settings: {e.args[0].str()}") from None
        return Sender(access, timeout=self._timeout, on_trouble=forget)

    async def publish(self, events: Sequence[Event]) -> list[Position | InlakeError]:
        """See `Bus.publish`. A full queue is `Busy` for the events it has no room for."""
        results: list[Result] = [None] * len(events)
        topics = {event.topic for event in events}
        if not (topics <= self._topics.known and self._turns.is_free(topics)):
            refused = await self._turns.after_others(topics, self._refused(topics))
            results = [refused.get(event.topic) for event in events]
        if self._closed:
            return [ShuttingDown(STOPPING) for _ in events]
        deadline = asyncio.get_running_loop().time() + self._timeout + GRACE
        if not await self._producer.publish(events, results, self._topics.partitions):
            await self._explain(events, results, deadline)
        return cast("list[Position | InlakeError]", results.copy())  # a late report must not change the answer

    async def publish_all_or_none(self, events: Sequence[Event]) -> list[Position]:
        """See `Bus.publish_all_or_none`: one transaction, for readers with isolation.level=read_committed."""
        topics = {event.topic for event in events}
        if not topics <= self._topics.known:
            for error in (await self._refused(topics)).values():
                raise copy(error)  # the remembered error would keep the frames of all who raise it
        if self._closed:
            raise ShuttingDown(STOPPING)
        try:
            return await self._transactions.publish(events, self._topics.partitions) if events else []
        except (BusUnavailable, OutcomeUnknown, TopicMissing):
            self._topics.forget()  # the topic may be gone or Kafka be away: ask before the next event
            raise

    def read(
        self,
        topics: Sequence[str] | None = None,
        *,
        start: Literal["earliest", "latest"] = "earliest",
        follow: bool = False,
    ) -> AsyncIterator[Message]:
        """See `Bus.read`. Order holds within a partition."""
        return kafka_reader.read(
            self._connection,
            self._holds_events if topics is None else topics,
            latest=start == "latest",
            follow=follow,
            patience=self._timeout,
        )

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
        await self._producer.close()

    async def _refused(self, topics: set[str]) -> dict[str, InlakeError]:
        """What stands against those of the topics that cannot be used."""
        self._producer.wake()
        refused = await self._topics.find(topics)
        if not refused:
            self._producer.forget_error()
        return refused

    async def _explain(self, events: Sequence[Event], results: list[Result], deadline: float) -> None:
        """Say why Kafka did not confirm although the connection works, and ask for the topics before the next event.

        `deadline`: when publishing is to end in any case, by the event loop's clock.
        """
        if not any(isinstance(result, BusUnavailable | OutcomeUnknown | TopicMissing) for result in results):
            return
        self._topics.forget()  # the topic may be gone or Kafka be away
        silent = [i for i, result in enumerate(results) if isinstance(result, OutcomeUnknown)]
        if self._producer.last_error or not silent:
            return
        reasons = await self._topics.reasons({events[i].topic for i in silent}, deadline)
        for i in silent:
            if reason := reasons.get(events[i].topic):
                results[i] = OutcomeUnknown(f"Kafka did not confirm the event within {self._timeout:g} s. {reason}")
