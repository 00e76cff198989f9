"""The bus on Kafka: publishes with librdkafka, answers when all in-sync replicas have the event."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from copy import copy
from typing import Any, Literal, cast

from confluent_kafka import KafkaException

from inlake.bus import kafka_reader, kafka_topics
from inlake.bus.kafka_producer import CONNECTION, PRODUCER, Flying, Link, Result
from inlake.bus.kafka_topics import NewTopicPlan, Topics
from inlake.bus.kafka_transactions import Transactions
from inlake.errors import (
    BusUnavailable,
    InlakeError,
    OutcomeUnknown,
    RecordTooLarge,
    ShuttingDown,
    TopicMissing,
    Unavailable,
)
from inlake.model import Event, Message, Position

GRACE = 2.0
"""Seconds beyond the time-out: librdkafka looks for timed-out messages once a second."""

STOPPING = "The gateway is stopping: send the record again."


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
        """`servers`: host:port,...; `properties`: any of librdkafka's, they win over ours; `timeout`: seconds until
        an event without confirmation counts as failed; `holds_events`: which topics are read when none is named.
        Raises ValueError for a property librdkafka does not take.
        """
        self._holds_events = holds_events
        self._timeout = timeout
        given = {"bootstrap.servers": servers, **(properties or {})}
        if "transactional.id" in given:
            raise ValueError("transactional.id is not to be set: each process makes its own from client.id")
        self._connection = {**CONNECTION, **given}
        self._producer = {**PRODUCER, "delivery.timeout.ms": round(timeout * 1000), **given}
        plan = NewTopicPlan(partitions, replication) if create_topics else None
        self._topics = Topics(self._connection, create=plan, trouble=lambda: self._link.last_error)
        self._closed = False
        self._flying = Flying(timeout + GRACE)
        self._singles: Link | None = None
        self._transactions = Transactions(self._producer, timeout=timeout)
        try:
            self._link = self._open(self._producer)
        except KafkaException as e:
            raise ValueError(f"Kafka settings: {e.args[0].str()}") from None

    async def publish(self, events: Sequence[Event]) -> list[Position | InlakeError]:
        """See `Bus.publish`. A full queue is `Busy` for the events it has no room for."""
        results: list[Result] = [None] * len(events)
        topics = {event.topic for event in events}
        if not topics <= self._topics.known:
            refused = await self._refused(topics)
            results = [refused.get(event.topic) for event in events]
        if self._closed:
            return [ShuttingDown(STOPPING) for _ in events]
        if self._link.broken:
            self._link = self._open(self._producer)
        if not await self._confirm(self._link, events, results):
            await self._confirm_one_by_one(events, results)
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
        topics = set(self._topics.partitions)
        return await kafka_topics.warnings(self._topics.admin, topics, lambda: self._link.last_error)

    async def close(self) -> None:
        """Wait until all in flight is confirmed, at most the time-out; publishing afterwards is `ShuttingDown`."""
        self._closed = True
        await self._topics.close()
        await self._transactions.close()
        for link in filter(None, [self._link, self._singles]):
            link.stop()
            await asyncio.to_thread(link.join)

    async def _refused(self, topics: set[str]) -> dict[str, InlakeError]:
        """What stands against those of the topics that cannot be used."""
        refused = await self._topics.find(topics)
        if not refused:
            self._link.last_error = ""  # the connection works: what was wrong with it explains nothing any more
        return refused

    def _open(self, config: Mapping[str, Any]) -> Link:
        return Link(config, timeout=self._timeout, on_trouble=self._topics.forget)

    async def _confirm_one_by_one(self, events: Sequence[Event], results: list[Result]) -> None:
        """Send again, each alone, what was too large, if something was.

        A topic with a small max.message.bytes refuses a whole batch of librdkafka's, which does not cut it (Java's
        client does); nothing of a refused batch is in the topic.
        """
        too_large = [index for index, result in enumerate(results) if isinstance(result, RecordTooLarge)]
        for index in too_large:
            results[index] = ShuttingDown(STOPPING) if self._closed else None
        if self._closed or not too_large:
            return
        if self._singles is None or self._singles.broken:
            self._singles = self._open({**self._producer, "batch.num.messages": 1})
        await self._confirm(self._singles, events, results)

    async def _confirm(self, link: Link, events: Sequence[Event], results: list[Result]) -> bool:
        """Send and wait, with an end in any case; every result is set afterwards. True when all was confirmed."""
        batch = await link.send(events, results, self._topics.partitions)
        await self._flying.wait(batch)
        if not batch.failed and batch.reported == batch.expected:
            return True
        for index, result in enumerate(results):
            if result is None:
                results[index] = OutcomeUnknown(f"Kafka did not confirm the event within {self._timeout:g} s.")
        if any(isinstance(result, Unavailable) for result in results):
            self._topics.forget()  # the topic may be gone or Kafka be away: ask before the next event
            await self._explain(link, events, results, batch.deadline)
        return False

    async def _explain(self, link: Link, events: Sequence[Event], results: list[Result], deadline: float) -> None:
        """Say why Kafka did not confirm although the connection works: librdkafka tells of a time-out only."""
        silent = [i for i, result in enumerate(results) if isinstance(result, OutcomeUnknown)]
        if link.last_error or not silent:
            return
        reasons = await self._topics.reasons({events[i].topic for i in silent}, deadline)
        for i in silent:
            if reason := reasons.get(events[i].topic):
                results[i] = OutcomeUnknown(f"Kafka did not confirm the event within {self._timeout:g} s. {reason}")
