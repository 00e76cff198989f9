"""The door of the producer: a call of `publish` has the outcome of each of its events in bounded time.

A batch that a broker did not answer is sent again as it is, with the same producer id and sequence number, so that a
broker that has it already knows it (KIP-98); only when the time-out of its events is over its outcome stays unknown.
Everything happens in the event loop's thread; nothing blocks.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import cast

from confluent_kafka import KafkaError

from inlake.bus.kafka.errors import not_sent, of_kafka_error, outcome_unknown
from inlake.bus.kafka.producer import wire
from inlake.bus.kafka.producer.brokers import PAUSE, TICK
from inlake.bus.kafka.producer.calls import Call, Run, runs
from inlake.bus.kafka.producer.connection import ConnectError
from inlake.bus.kafka.producer.requests import Requests
from inlake.bus.kafka.properties import Access
from inlake.errors import Busy, InlakeError
from inlake.model import Event, Position

logger = logging.getLogger("inlake.bus")

WAITING_EVENTS, WAITING_BYTES = 100_000, 128 << 20
"""How much may wait; more is `Busy`. librdkafka's own limits, or near them."""
SILENCE, WATCH = 0.4, 0.1
"""Shares of the time-out: until a broker that says nothing is taken for dead, so that there is time for another
attempt; between two looks at that, but at most WATCH_MOST seconds."""
WATCH_MOST = 0.5
DESCRIBE = 3.0
"""Seconds that brokers may take to tell of a topic."""


class Producer:
    """Publishes to any number of partitions. For one event loop."""

    def __init__(self, access: Access, *, timeout: float, on_trouble: Callable[[], None]) -> None:
        """`timeout`: seconds until an event without confirmation counts as failed; `on_trouble`: no broker can be
        reached."""
        self._timeout = timeout
        self._pause = min(timeout * WATCH, WATCH_MOST)
        self._requests = Requests(access, timeout=timeout, on_trouble=on_trouble)
        self._calls: dict[Call, None] = {}
        """Calls that wait, the oldest first."""
        self._timer: asyncio.TimerHandle | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._events = self._bytes = 0
        """Events that are not yet confirmed."""

    @property
    def last_error(self) -> str:
        """The last error of a connection."""
        return self._requests.brokers.last_error

    def forget_error(self) -> None:
        """Does nothing: an error stands until a connection works, which is known here."""

    def wake(self) -> None:
        """Connects, if nothing is connected: publishing will need it, and what is wrong is known sooner."""
        self._requests.brokers.any()

    async def publish(self, events: Sequence[Event], partitions: Mapping[str, int]) -> list[Position | InlakeError]:
        """Sends the events and waits until each has its position in the log, or what kept it from there.

        `partitions`: how many each topic has.
        """
        loop = asyncio.get_running_loop()
        call = Call(events, loop.create_future())
        size = self._enqueue(call, partitions)
        if held := call.missing:
            self._events, self._bytes = self._events + held, self._bytes + size
            call.deadline = loop.time() + self._timeout
            self._calls[call] = None
            self._timer = self._timer or loop.call_at(call.deadline, self._end_calls)
            self._watching = self._watching or loop.call_later(self._pause, self._watch)
            try:
                await call.done
            except asyncio.CancelledError:
                call.abandon()
                raise
            finally:
                self._calls.pop(call, None)
                self._events, self._bytes = self._events - held, self._bytes - size
        return cast("list[Position | InlakeError]", call.outcome())

    async def describe(self, topic: str) -> list[int]:
        """How many replicas of each partition are in sync. `TopicMissing`, `BusUnavailable`."""
        loop, brokers, error = asyncio.get_running_loop(), self._requests.brokers, ""
        end = loop.time() + DESCRIBE
        while loop.time() < end or (not error and loop.time() < end + DESCRIBE):  # a first connection may take longer
            try:
                metadata = await brokers.ask([topic])
            except ConnectError as e:
                error = self.last_error or (str(e) if brokers.any() else "")
                await asyncio.sleep(PAUSE)
                continue
            if in_sync := [leader.in_sync for (_, leader) in sorted(metadata.leaders.items())]:
                return in_sync
            code = metadata.errors.get(topic) or wire.UNKNOWN_TOPIC
            raise of_kafka_error(KafkaError(code), topic, sent=False, right="DESCRIBE")
        raise not_sent(error, DESCRIBE)

    async def close(self) -> None:
        """Waits for what is in flight, at most the time-out, then hangs up."""
        while self._calls:
            await asyncio.wait([call.done for call in self._calls])
        for timer in filter(None, (self._timer, self._watching)):
            timer.cancel()
        await self._requests.close()

    def _enqueue(self, call: Call, partitions: Mapping[str, int]) -> int:
        """Puts the events into the queues of their partitions, if there is room; the bytes of those that are."""
        events, size = self._events, self._bytes
        for topic, partition, run in runs(call, partitions):
            room = WAITING_EVENTS - events if size < WAITING_BYTES else 0
            if run.count > room:
                run, rest = run.cut(run.start + max(room, 0))  # noqa: PLW2901
                rest.fail(lambda: Busy("More events wait for Kafka than the gateway may hold: try again."))
            if run.count:
                queue = self._requests.queue(topic, partition)
                queue.add(run)
                events, size = events + run.count, size + run.size
                self._requests.make_ready(queue)
        return size - self._bytes

    # -------------------------------------------------------------------------------------------------- time is over
    def _end_calls(self) -> None:
        """Ends the calls whose time is over, and sees to the next."""
        self._timer = None
        loop = asyncio.get_running_loop()
        over: set[Call] = set()
        for call in self._calls:
            if call.deadline > loop.time() + TICK:
                self._timer = loop.call_at(call.deadline, self._end_calls)
                break
            over.add(call)
        for queue in self._requests.queues.values() if over else ():
            try:
                self._requests.end(queue, over)
            except Exception:
                logger.exception("A fault while calls to Kafka were ended")
        for call in over:
            for index, result in enumerate(call.results):
                if result is None:  # a fault lost it, and every call has an end
                    Run(call, index, 1, 0).fail(partial(outcome_unknown, call.events[index].topic, self._timeout, 0))

    def _watch(self) -> None:
        """Looks whether brokers are silent, as long as somebody waits."""
        self._watching = None
        self._requests.brokers.watch(self._timeout * SILENCE, self._timeout)
        if self._calls:
            self._watching = asyncio.get_running_loop().call_later(self._pause, self._watch)
