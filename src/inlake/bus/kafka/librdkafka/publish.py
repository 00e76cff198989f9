"""Publishing with librdkafka's producer: slower than ours, and able to do all that its properties ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from confluent_kafka import KafkaException

from inlake.bus.kafka.librdkafka.calls import Waiting
from inlake.bus.kafka.librdkafka.producer import PRODUCER, Producer
from inlake.errors import BusUnavailable, InlakeError, OutcomeUnknown, RecordTooLarge
from inlake.model import Event, Position

BATCH_BYTES = 1_000_000
"""The most bytes of a batch, as librdkafka's batch.size by default."""
OVERHEAD = 500
"""Bytes that a record has beside its value, or more."""
GRACE = 2.0
"""Seconds beyond the time-out: librdkafka looks for timed-out messages once a second."""
STOPPING = "The gateway is stopping: send the record again."


class Librdkafka:
    """Publishes to any number of partitions. For one event loop; librdkafka has threads of its own."""

    def __init__(
        self,
        properties: Mapping[str, Any],
        *,
        timeout: float,
        on_trouble: Callable[[], None],
        largest: Callable[[], Mapping[str, int]],
    ) -> None:
        """`timeout`: seconds until an event without confirmation counts as failed; `on_trouble`: no broker can be
        reached, said in another thread; `largest`: max.message.bytes of topics, as far as it is known. Raises
        ValueError for a property that librdkafka does not take."""
        self._properties = {**PRODUCER, "delivery.timeout.ms": round(timeout * 1000), **properties}
        self._timeout = timeout
        self._on_trouble = on_trouble
        self._waiting = Waiting(timeout + GRACE)
        self._sending = asyncio.Lock()
        self._largest = largest
        self._full = self._batch_bytes = int(self._properties.get("batch.size", BATCH_BYTES))
        self._refused = self._full
        """Half of a batch that a topic refused whose max.message.bytes is not known."""
        try:
            self._producer = self._open()
        except KafkaException as e:
            raise ValueError(f"Kafka settings: {e.args[0].str()}") from None

    @property
    def last_error(self) -> str:
        """The last error of a connection."""
        return self._producer.last_error

    def forget_error(self) -> None:
        """Kafka has answered: what was wrong explains nothing any more, and librdkafka does not say when it is over."""
        self._producer.last_error = ""

    def wake(self) -> None:
        """Does nothing: librdkafka connects by itself."""

    async def publish(self, events: Sequence[Event], partitions: Mapping[str, int]) -> list[Position | InlakeError]:
        """Sends the events and waits until each has its position in the log, or what kept it from there.

        `partitions`: how many each topic has. A full queue is `Busy` for the first event that it has no room for,
        and for those of its topic behind it.
        """
        async with self._sending:  # it lets others have their turn in between, but no other call
            await self._fit()
            call = await self._producer.send(events, partitions)
        await self._waiting.wait(call)
        results = call.results.copy()  # a late report must not change the answer
        if call.failed or call.reported < call.expected:
            for index, result in enumerate(results):
                if result is None:
                    results[index] = OutcomeUnknown(f"Kafka did not confirm the event within {self._timeout:g} s.")
                elif isinstance(result, RecordTooLarge):
                    results[index] = self._blame(events[index], result)
        return cast("list[Position | InlakeError]", results)

    async def close(self) -> None:
        """Waits until all in flight is confirmed, at most the time-out."""
        self._producer.stop()
        await asyncio.to_thread(self._producer.join)

    def _open(self) -> Producer:
        properties = {**self._properties, "batch.size": self._batch_bytes}
        return Producer(properties, timeout=self._timeout, on_trouble=self._on_trouble)

    async def _fit(self) -> None:
        """Takes another producer where this one is broken, or its batches do not fit the topics: a broker refuses a
        whole batch, and librdkafka does not cut it. What is in flight comes first, or a key would lose its order."""
        fitting = min([self._full, self._refused, *self._largest().values()])
        if fitting == self._batch_bytes and not self._producer.broken:
            return
        before, self._batch_bytes = self._producer, fitting
        before.stop()
        await asyncio.to_thread(before.join)
        self._producer = self._open()

    def _blame(self, event: Event, error: RecordTooLarge) -> InlakeError:
        """Why an event was refused as too large: itself, or the batch that librdkafka put it into."""
        if 2 * (len(event.value) + OVERHEAD) > self._batch_bytes:
            return error
        self._refused = min(self._refused, max(self._batch_bytes // 2, 1))
        return BusUnavailable(f"Topic {event.topic!r} takes smaller batches than before: send the record again.")
