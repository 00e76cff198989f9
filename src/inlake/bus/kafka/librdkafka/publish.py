"""Publishing with librdkafka's producer: slower than ours, and able to do all that its properties ask for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from confluent_kafka import KafkaException

from inlake.bus.kafka.librdkafka.calls import Call, Waiting
from inlake.bus.kafka.librdkafka.producer import PRODUCER, Producer
from inlake.errors import InlakeError, OutcomeUnknown, RecordTooLarge, ShuttingDown
from inlake.model import Event, Position

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
        self._waiting = Waiting(timeout + GRACE)
        self._closed = False
        self._sending = asyncio.Lock()
        self._singles: Producer | None = None
        try:
            self._producer = self._open(self._properties)
        except KafkaException as e:
            raise ValueError(f"Kafka settings: {e.args[0].str()}") from None

    @property
    def last_error(self) -> str:
        """What was last wrong with a connection."""
        return self._producer.last_error

    def forget_error(self) -> None:
        """Kafka has answered: what was wrong explains nothing any more, and librdkafka does not say when it is over."""
        self._producer.last_error = ""

    def wake(self) -> None:
        """Does nothing: librdkafka connects by itself."""

    async def publish(self, events: Sequence[Event], partitions: Mapping[str, int]) -> list[Position | InlakeError]:
        """Sends the events and waits until each has its position in the log, or what kept it from there.

        `partitions`: how many each topic has. A full queue is `Busy` for the events it has no room for.
        """
        if self._producer.broken:
            self._producer = self._open(self._properties)
        call = await self._confirm(self._producer, events, partitions)
        results = cast("list[Position | InlakeError]", call.results.copy())  # a late report must not change the answer
        if call.failed:
            await self._confirm_one_by_one(events, results, partitions)
        return results

    async def close(self) -> None:
        """Waits until all in flight is confirmed, at most the time-out."""
        self._closed = True
        for producer in filter(None, [self._producer, self._singles]):
            producer.stop()
            await asyncio.to_thread(producer.join)

    def _open(self, config: Mapping[str, Any]) -> Producer:
        return Producer(config, timeout=self._timeout, on_trouble=self._on_trouble)

    async def _confirm_one_by_one(
        self, events: Sequence[Event], results: list[Position | InlakeError], partitions: Mapping[str, int]
    ) -> None:
        """Sends again, each alone, what was too large, if something was.

        A topic with a small max.message.bytes refuses a whole batch of librdkafka's, which does not cut it (Java's
        client does); nothing of a refused batch is in the topic.
        """
        too_large = [index for index, result in enumerate(results) if isinstance(result, RecordTooLarge)]
        if self._closed:
            for index in too_large:
                results[index] = ShuttingDown(STOPPING)
        if self._closed or not too_large:
            return
        if self._singles is None or self._singles.broken:
            self._singles = self._open({**self._properties, "batch.num.messages": 1})
        call = await self._confirm(self._singles, [events[index] for index in too_large], partitions)
        for index, result in zip(too_large, call.results, strict=True):
            results[index] = cast("Position | InlakeError", result)

    async def _confirm(self, producer: Producer, events: Sequence[Event], partitions: Mapping[str, int]) -> Call:
        """Sends and waits, with an end in any case; every result is set afterwards."""
        async with self._sending:  # it lets others have their turn in between, but no other call
            call = await producer.send(events, partitions)
        await self._waiting.wait(call)
        for index, result in enumerate(call.results if call.reported < call.expected else ()):
            if result is None:
                call.results[index] = OutcomeUnknown(f"Kafka did not confirm the event within {self._timeout:g} s.")
        return call
