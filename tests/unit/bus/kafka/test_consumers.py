"""Questions to Kafka that take long: in threads of their own, and not too many."""

from __future__ import annotations

import asyncio
import threading

import pytest

from inlake.bus.kafka.consumers import AT_ONCE, MOST, Consumers
from inlake.bus.kafka.reader import Reading
from inlake.errors import Busy
from inlake.model import Message


async def test_questions_that_hang_hold_up_nothing_else_and_one_too_many_comes_again_later() -> None:
    consumers = Consumers({"bootstrap.servers": "127.0.0.1:9"}, timeout=1)
    go_on, began = threading.Event(), threading.Semaphore(0)

    def hang(_: Reading) -> list[Message]:
        began.release()
        go_on.wait(60)
        return []

    asked = [asyncio.create_task(consumers.ask([], hang)) for _ in range(MOST)]
    for _ in range(AT_ONCE):
        await asyncio.to_thread(began.acquire)
    pool = [asyncio.to_thread(began.acquire, timeout=0.1) for _ in range(50)]
    assert not any(await asyncio.wait_for(asyncio.gather(*pool), 30)), "a pool that hangs answers none"
    with pytest.raises(Busy):
        await consumers.ask([], hang)
    asked.pop().cancel()
    await asyncio.sleep(0)
    asked.append(asyncio.create_task(consumers.ask([], hang)))
    go_on.set()
    assert await asyncio.gather(*asked) == [[]] * MOST
    await consumers.close()
