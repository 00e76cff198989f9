"""Publishing with librdkafka's own producer: slower, and able to do all that its properties ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaException

from inlake.bus.kafka.librdkafka.link import PRODUCER, Flying, Link, Result
from inlake.errors import OutcomeUnknown, RecordTooLarge, ShuttingDown
from inlake.model import Event

GRACE = 2.0
"""Seconds beyond the time-out: librdkafka looks for timed-out messages once a second."""
STOPPING = "The gateway is stopping: send the record again."


class Librdkafka:
    """Publishes to any number of partitions. For one event loop; librdkafka has threads of its own."""

    def __init__(self, properties: Mapping[str, Any], *, timeout: float, on_trouble: Callable[[], None]) -> None:
        """`timeout`: seconds until an event without confirmation counts as failed; `on_trouble`: no broker can be
        reached, said in another thread. Raises ValueError for a property that librdkafka does not take."""
        self._properties = {**PRODUCER, "delivery.timeout.ms": round(timeout * 1000), **properties}
        self._timeout = timeout
        self._on_trouble = on_trouble
        self._flying = Flying(timeout + GRACE)
        self._closed = False
        self._sending = asyncio.Lock()
        self._singles: Link | None = None
        try:
            self._link = self._open(self._properties)
        except KafkaException as e:
            raise ValueError(f"Kafka settings: {e.args[0].str()}") from None

    @property
    def last_error(self) -> str:
        """What was last wrong with a connection."""
        return self._link.last_error

    def forget_error(self) -> None:
        """Kafka has answered: what was wrong explains nothing any more, and librdkafka does not say when it is over."""
        self._link.last_error = ""

    def wake(self) -> None:
        """It connects by itself."""

    async def publish(self, events: Sequence[Event], results: list[Result], partitions: Mapping[str, int]) -> bool:
        """Send the events that have no result yet, and wait until each has one. True when all was confirmed.

        `partitions`: how many each topic has. A full queue is `Busy` for the events it has no room for.
        """
        if self._link.broken:
            self._link = self._open(self._properties)
        if await self._confirm(self._link, events, results, partitions):
            return True
        await self._confirm_one_by_one(events, results, partitions)
        return False

    async def close(self) -> None:
        """Wait until all in flight is confirmed, at most the time-out."""
        self._closed = True
        for link in filter(None, [self._link, self._singles]):
            link.stop()
            await asyncio.to_thread(link.join)

    def _open(self, config: Mapping[str, Any]) -> Link:
        return Link(config, timeout=self._timeout, on_trouble=self._on_trouble)

    async def _confirm_one_by_one(
        self, events: Sequence[Event], results: list[Result], partitions: Mapping[str, int]
    ) -> None:
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
            self._singles = self._open({**self._properties, "batch.num.messages": 1})
        await self._confirm(self._singles, events, results, partitions)

    async def _confirm(
        self, link: Link, events: Sequence[Event], results: list[Result], partitions: Mapping[str, int]
    ) -> bool:
        """Send and wait, with an end in any case; every result is set afterwards. True when all was confirmed."""
        async with self._sending:  # it lets others have their turn in between, but no other call
            batch = await link.send(events, results, partitions)
        await self._flying.wait(batch)
        for index, result in enumerate(results if batch.reported < batch.expected else ()):
            if result is None:
                results[index] = OutcomeUnknown(f"Kafka did not confirm the event within {self._timeout:g} s.")
        return not batch.failed and batch.reported == batch.expected
