"""Consumers that answer questions about what is in topics; each is kept a while, since to connect one takes longer."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaException

from inlake.bus.kafka.reader import Reading, Topics
from inlake.errors import BusUnavailable, Busy
from inlake.model import Message

KEPT = 30.0
"""Seconds that a consumer waits for the next question: shorter than any broker leaves an idle connection open."""
SLACK = 0.1
"""Seconds more until they are looked at: a timer may come a little early."""
MOST_KEPT = 2
AT_ONCE, MOST = 4, 20
"""Questions that are answered at a time, in threads of their own, and those that may wait for it with them: each may
take as long as Kafka is away, and what else the process does in threads goes on meanwhile."""
QUEUED = 16 << 20
"""Bytes that librdkafka may fetch ahead where only some messages are read."""
FETCH_MS = 20
"""How long a broker may wait for more: a window begins when the requests of the one before are answered."""
Take = Callable[[Reading], list[Message]]


class Consumers:
    """Some questions at a time, each with a consumer of its own. A consumer that failed is not kept."""

    def __init__(self, config: Mapping[str, Any], *, timeout: float, kept: float = KEPT) -> None:
        """`timeout`: seconds that Kafka may say nothing; `kept`: see KEPT."""
        self._config = {**config, "queued.max.messages.kbytes": QUEUED >> 10, "fetch.wait.max.ms": FETCH_MS}
        self._timeout = timeout
        self._kept = kept
        self._lock = threading.Lock()
        self._idle: list[tuple[float, Reading]] = []
        """Readings that wait, and since when; the one that waits longest is the first."""
        self._closed = False
        self._threads = ThreadPoolExecutor(AT_ONCE, "kafka-questions")
        self._asked = 0

    async def ask(self, topics: Topics, take: Take) -> list[Message]:
        """The messages that `take` makes of a reading of the topics. `Busy`, `BusUnavailable`, `TopicMissing`."""
        if self._asked >= MOST:
            raise Busy(f"{MOST} others look for events already: try again in a moment.")
        loop = asyncio.get_running_loop()
        answer = self._threads.submit(self._ask, topics, take, loop)
        with self._lock:
            self._asked += 1
        answer.add_done_callback(self._count)
        try:
            return await asyncio.wrap_future(answer)
        except KafkaException as e:
            raise BusUnavailable(f"Kafka cannot be read: {e.args[0].str()}") from None

    def _count(self, _: object) -> None:
        """In the thread of a question that is answered: nobody waits for some of them any more."""
        with self._lock:
            self._asked -= 1

    async def close(self) -> None:
        """Let all consumers go; one that still answers goes when it is done."""
        self._closed = True
        self._threads.shutdown(wait=False)
        await asyncio.to_thread(self._close_old)

    def _ask(self, topics: Topics, take: Take, loop: asyncio.AbstractEventLoop) -> list[Message]:
        """In a thread to its end, also where nobody waits for the answer any more."""
        with self._lock:
            reading = self._idle.pop()[1] if self._idle else None
        reading = reading or Reading(self._config, topics, follow=False, timeout=self._timeout)
        reading.topics = topics
        try:
            messages = take(reading)
            reading.unassign()
        except BaseException:
            reading.close()
            raise
        with self._lock:
            self._idle.append((time.monotonic(), reading))
        with suppress(RuntimeError):  # the event loop has ended, and `close` has come
            later = self._kept + SLACK
            loop.call_soon_threadsafe(loop.call_later, later, loop.run_in_executor, None, self._close_old)
        if self._closed or len(self._idle) > MOST_KEPT:
            self._close_old()
        return messages

    def _close_old(self) -> None:
        """Close those that nobody asked for long, and those that are too many."""
        latest = time.monotonic() - self._kept
        with self._lock:
            keep = [each for each in self._idle if each[0] > latest][-MOST_KEPT:] if not self._closed else []
            old = [each for each in self._idle if each not in keep]
            self._idle = keep
        for _, reading in old:
            reading.close()
