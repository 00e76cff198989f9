"""The order of calls that wait for what Kafka says about their topics."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import pytest

from inlake.bus.kafka.order import CallOrder


class Calls:
    """Calls with their topics, and the order in which they went on."""

    def __init__(self) -> None:
        self.order = CallOrder()
        self.went: list[str] = []

    def make(self, name: str, topics: str, work: Awaitable[object]) -> asyncio.Task[None]:
        async def call() -> None:
            await self.order.after_others(set(topics), work)
            self.went.append(name)

        return asyncio.create_task(call())


async def some_turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_waits_for_one_topic_is_overtaken_in_no_other() -> None:
    calls, answer = Calls(), asyncio.Event()
    made = [calls.make("A", "x", answer.wait())]
    made += [calls.make("B", "xy", asyncio.sleep(0)), calls.make("C", "y", asyncio.sleep(0))]
    made += [calls.make("D", "z", asyncio.sleep(0))]
    await some_turns()
    assert calls.went == ["D"]
    answer.set()
    await asyncio.wait(made)
    assert calls.went == ["D", "A", "B", "C"]
    assert calls.order.is_free({"x", "y", "z"})


async def test_who_gives_up_lets_nobody_overtake_those_before() -> None:
    calls, answer = Calls(), asyncio.Event()
    made = [calls.make("A", "x", answer.wait())]
    made += [calls.make(name, "x", asyncio.sleep(0)) for name in "BCD"]
    await some_turns()
    made[2].cancel()
    await some_turns()
    assert calls.went == []
    made[0].cancel()
    await asyncio.wait(made)
    assert calls.went == ["B", "D"]


async def test_a_fault_in_the_work_is_its_own_and_ends_the_turn() -> None:
    async def fails() -> None:
        raise KeyError("x")

    order = CallOrder()
    with pytest.raises(KeyError):
        await order.after_others({"x"}, fails())
    assert order.is_free({"x"})


async def test_however_many_wait_they_go_on_in_one_turn_of_the_loop() -> None:
    calls, answer = Calls(), asyncio.Event()
    made = [calls.make("first", "x", answer.wait())]
    made += [calls.make(str(n), "x", asyncio.sleep(0)) for n in range(100)]
    await some_turns()
    answer.set()
    await some_turns()
    assert calls.went == ["first", *map(str, range(100))]
    await asyncio.wait(made)
