"""A time-out for what mostly need not wait: its timer, dearer than a small body, is set when the wait begins."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


async def with_timeout(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of the work. Raises `TimeoutError` when it has waited for so long."""
    try:
        wait = work.send(None)  # as a task does it: up to the first thing that is not there yet
    except StopIteration as done:
        result: T = done.value
        return result
    async with asyncio.timeout(seconds):
        return await _Begun(work, wait)


class _Begun(Generic[T]):
    """Work that waits for something already."""

    def __init__(self, work: Coroutine[Any, Any, T], wait: Any) -> None:
        self._work = work
        self._wait = wait

    def __await__(self) -> Generator[Any, Any, T]:
        wait = self._wait
        while True:
            try:
                try:
                    news = yield wait
                except BaseException as error:  # noqa: BLE001 - the task is cancelled: that is the work's to handle
                    wait = self._work.throw(error)
                else:
                    wait = self._work.send(news)
            except StopIteration as done:
                result: T = done.value
                return result
