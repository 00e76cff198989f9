"""The memory of a process: a bounded number of entries, and work in flight that those who ask meanwhile share."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable
from copy import copy
from functools import partial
from typing import Any, Generic, TypeVar

from inlake.errors import InlakeError

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(OrderedDict[K, V]):
    """The `limit` entries used last, so that clients who make up names cannot fill the memory."""

    def __init__(self, limit: int = 10_000) -> None:
        super().__init__()
        self._limit = limit

    def recall(self, key: K) -> V | None:
        """The value, which counts as used now; None when it is not here."""
        value = self.get(key)
        if value is not None:
            self.move_to_end(key)
        return value

    def keep(self, key: K, value: V) -> None:
        """Remember the value, and forget the one unused for longest when there are too many."""
        self[key] = value
        self.move_to_end(key)
        if len(self) > self._limit:
            self.popitem(last=False)


class Shared(Generic[K, V]):
    """Work in flight, at most one piece for each key; whoever asks meanwhile waits for the same piece."""

    def __init__(self) -> None:
        self._running: dict[K, asyncio.Task[V]] = {}

    def start(self, key: K, work: Callable[[], Coroutine[Any, Any, V]]) -> asyncio.Task[V]:
        """The task that runs for this key, a new one when there is none."""
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(work())
            task.add_done_callback(partial(self._end, key))
        return task

    async def join(self, key: K, work: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """The result; a caller that is cancelled does not take the work from the others."""
        task = self.start(key, work)
        await asyncio.wait({task})  # waited for, not awaited: being cancelled leaves it alone
        error = None if task.cancelled() else task.exception()
        if isinstance(error, InlakeError):
            raise copy(error)  # each caller its own: a shared one would keep the frames of all of them
        return task.result()

    def is_running(self, key: K) -> bool:
        """Whether a piece of work for this key is in flight."""
        return key in self._running

    async def settle(self) -> None:
        """Wait until what is running has ended."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def close(self) -> None:
        """Cancel what is running."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _end(self, key: K, task: asyncio.Task[V]) -> None:
        del self._running[key]
        if not task.cancelled():
            task.exception()  # looked at: asyncio complains about failures nobody waits for any more
