"""The order of calls that have to wait before they publish: whoever came first goes on first, in every topic."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class CallOrder:
    """Calls that wait, by topic."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[asyncio.Event]] = {}

    def is_free(self, topics: set[str]) -> bool:
        """Whether no call waits in one of them."""
        return not self._queues or self._queues.keys().isdisjoint(topics)

    async def after_others(self, topics: set[str], work: Awaitable[T]) -> T:
        """Gives the result of the work, once no call that came before is still here with one of these topics."""
        mine = asyncio.Event()
        for topic in topics:
            self._queues.setdefault(topic, deque()).append(mine)
        try:
            result = await work
            while any(self._queues[topic][0] is not mine for topic in topics):
                mine.clear()
                await mine.wait()
            return result
        finally:
            for topic in topics:
                self._leave(topic, mine)

    def _leave(self, topic: str, mine: asyncio.Event) -> None:
        queue = self._queues[topic]
        queue.remove(mine)
        if not queue:
            del self._queues[topic]
        elif not queue[0].is_set():
            for other in queue:  # so that they go on in one turn of the event loop: else more might come than go
                other.set()
