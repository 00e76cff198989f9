"""Time-outs that need no timer where nothing is waited for."""

from __future__ import annotations

import asyncio

import pytest

from inlake.web.request.timeout import with_timeout


async def test_what_is_there_needs_no_time() -> None:
    async def there() -> int:
        return 7

    assert await with_timeout(0.0, there()) == 7


async def test_what_comes_later_is_waited_for() -> None:
    async def later() -> list[int]:
        found = []
        for n in range(3):
            await asyncio.sleep(0)
            found.append(await asyncio.sleep(0.001, n))
        return found

    assert await with_timeout(10, later()) == [0, 1, 2]


async def test_the_wait_has_an_end() -> None:
    ended = []

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(TimeoutError):
        await with_timeout(0.01, never())
    assert ended


async def test_an_error_comes_through_before_and_after_a_wait() -> None:
    async def fails(waits: int) -> None:
        for _ in range(waits):
            await asyncio.sleep(0)
        raise KeyError(waits)

    for waits in (0, 2):
        with pytest.raises(KeyError, match=str(waits)):
            await with_timeout(10, fails(waits))


async def test_a_cancelled_task_ends_the_work() -> None:
    task = asyncio.create_task(with_timeout(10, asyncio.Event().wait()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
