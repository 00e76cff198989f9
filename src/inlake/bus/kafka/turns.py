"""The order of calls that have to wait before they publish: whoever came first goes on first, in every topic."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class Turns:
    """Calls that wait, by topic."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[asyncio.Event]] = {}

    def is_free(self, topics: set[str]) -> bool:
        """No call waits for its turn in one of them."""
        return self._queues.keys().isdisjoint(topics)

    async def after_others(self, topics: set[str], work: Awaitable[T]) -> T:
        """The result of the work, once no call that came before is still here with one of these topics."""
        turn = asyncio.Event()
        for topic in topics:
            self._queues.setdefault(topic, deque()).append(turn)
        try:
            result = await work
            while any(self._queues[topic][0] is not turn for topic in topics):
                turn.clear()
                await turn.wait()
            return result
        finally:
            for topic in topics:
                self._leave(topic, turn)

    def _leave(self, topic: str, turn: asyncio.Event) -> None:
        queue = self._queues[topic]
        queue.remove(turn)
        if not queue:
            del self._queues[topic]
        elif not queue[0].is_set():
            for other in queue:  # so that they go on in one turn of the event loop: else more might come than go
                other.set()
