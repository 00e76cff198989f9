"""All or nothing on Kafka: calls wait for their turn, one transaction at a time, in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple
from uuid import uuid4

from inlake.bus.kafka.librdkafka.log import Log
from inlake.bus.kafka.librdkafka.transaction import TransactionalProducer
from inlake.errors import Busy, InlakeError, OutcomeUnknown, RecordTooLarge
from inlake.model import Event, Position

logger = logging.getLogger("inlake.bus")

OPEN_MS = 10_000
"""After so long the broker aborts a transaction that a killed process left open; until then readers with
isolation.level=read_committed get nothing that came after its first event."""
SILENCE_MS = 3000
"""After so long, or the time of a transaction where that is less, librdkafka hangs up on a broker that says nothing and
asks another: by default it takes as long as a transaction may, and none would come through."""
WAITING = 16
"""Calls that may wait for their turn; one more is `Busy`."""
IDLE = 1.0
"""Seconds between looks for what librdkafka has to say while nothing is published."""
KEPT = 3600.0
"""Seconds a producer is kept without use: brokers forget a transactional.id after a week."""


class Call(NamedTuple):
    """One call that waits for its turn, and its answer."""

    events: Sequence[Event]
    partitions: Mapping[str, int]
    """How many each topic has."""
    deadline: float
    """The end of the wait for its turn, by `time.monotonic`."""
    answer: Future[list[Position]]


class Transactions:
    """The calls in their order, the thread that takes them, and its producer; nothing is made before the first call."""

    def __init__(self, config: Mapping[str, Any], *, timeout: float) -> None:
        """`timeout`: seconds to wait for one's turn, then again for the transaction itself."""
        self.id = f"{config['client.id']}-{uuid4().hex}"
        """The transactional.id of this process: a producer that is replaced cannot disturb its successor."""
        open_ms = int(config.get("transaction.timeout.ms", OPEN_MS))
        limit, silence = min(round(timeout * 1000), open_ms), min(SILENCE_MS, open_ms)
        of_transactions = {"transactional.id": self.id, "delivery.timeout.ms": limit, "logger": Log()}
        defaults = {"transaction.timeout.ms": OPEN_MS, "socket.timeout.ms": silence, "request.timeout.ms": silence}
        self._config = {**defaults, **config, **of_transactions}
        self._timeout = timeout
        self._waiting = 0
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._producer: TransactionalProducer | None = None

    async def publish(self, events: Sequence[Event], partitions: Mapping[str, int]) -> list[Position]:
        """Where each event is, or the one error for which there is none; see `Bus.publish_all_or_none`."""
        if self._waiting >= WAITING:
            raise Busy("More bodies wait for their transaction than the gateway may hold: try again in a moment.")
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="kafka-transactions", daemon=True)
            self._thread.start()
        call = Call(events, partitions, time.monotonic() + self._timeout, Future())
        self._waiting += 1
        try:
            self._calls.put(call)
            return await asyncio.wrap_future(call.answer)  # cancelled before its turn it is not published
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Wait for the calls that were made; each ends in bounded time."""
        if self._thread is not None:
            self._calls.put(None)
            await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while (call := self._next()) is not None:
            if not call.answer.set_running_or_notify_cancel():
                continue
            try:
                call.answer.set_result(self._publish(call))
            except InlakeError as error:
                call.answer.set_exception(error)
            except Exception:  # the thread must live: every caller waits for it
                logger.exception("A transaction of Kafka ended in a fault")
                self._drop()
                call.answer.set_exception(
                    OutcomeUnknown("The transaction ended in a fault of the gateway: see its log.")
                )
        self._drop()

    def _next(self) -> Call | None:
        until = time.monotonic() + KEPT
        while True:
            try:
                return self._calls.get(timeout=IDLE if self._producer else None)
            except Empty:
                if self._producer and (self._producer.is_broken() or time.monotonic() > until):
                    self._drop()

    def _publish(self, call: Call) -> list[Position]:
        if time.monotonic() > call.deadline:
            raise Busy(f"The transactions before this one took longer than {self._timeout:g} s: try again.")
        try:
            return self._attempt(call)
        except RecordTooLarge:
            if len(call.events) == 1:
                raise
            # A topic with a small max.message.bytes refuses a whole batch of librdkafka's, which does not cut it: the
            # same again with a batch for each event tells which of them is too large, if one is.
            self._drop()
            try:
                return self._attempt(call, **{"batch.num.messages": 1})
            finally:
                self._drop()

    def _attempt(self, call: Call, **properties: Any) -> list[Position]:
        if self._producer is None:
            self._producer = TransactionalProducer({**self._config, **properties}, timeout=self._timeout)
        try:
            return self._producer.publish(call.events, call.partitions)
        finally:
            if self._producer.broken:
                self._drop()

    def _drop(self) -> None:
        """Let go of the producer; the next call makes another."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.close()
