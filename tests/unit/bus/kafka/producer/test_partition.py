"""A partition's queue: what goes into one batch, and what is left."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inlake.bus.kafka.producer.batch import OVERHEAD
from inlake.bus.kafka.producer.calls import Call, Run
from inlake.bus.kafka.producer.partition import BATCH_EVENTS, PartitionQueue
from inlake.errors import BusUnavailable
from inlake.model import Event, Position


@pytest.fixture(scope="module", autouse=True)
def loop() -> Iterator[None]:
    yield
    LOOP.close()


LOOP = asyncio.new_event_loop()
"""Where the futures of calls would be waited for."""


def make_call(sizes: Sequence[int]) -> Call:
    events = [Event(str(n), "t", b"k", b"v" * size, ()) for n, size in enumerate(sizes)]
    return Call(events, asyncio.Future(loop=LOOP))


def ids(runs: Sequence[Run]) -> list[tuple[Call, str]]:
    return [(one.call, event.id) for one in runs for event in one.events()]


def run(call: Call, start: int = 0, stop: int | None = None) -> Run:
    stop = len(call.events) if stop is None else stop
    events = call.events[start:stop]
    return Run(call, start, len(events), sum(len(event.value) + OVERHEAD for event in events))


CALLS = st.lists(st.lists(st.sampled_from([0, 10, 900, 5_000]), min_size=1, max_size=30), max_size=12)


@given(CALLS, st.integers(1, 20_000), st.data())
def test_events_leave_in_order_in_batches_that_fit_and_those_of_ended_calls_are_left_out(
    sizes: list[list[int]], limit: int, data: st.DataObject
) -> None:
    queue = PartitionQueue("t", 0)
    queue.limit = limit
    calls = [make_call(of_call) for of_call in sizes]
    for call in calls:
        queue.add(run(call))
    ended = [call for call in calls if data.draw(st.booleans())]
    for call in ended:
        run(call).fail(lambda: BusUnavailable("over"))
    taken: list[tuple[Call, str]] = []
    while runs := queue.take():
        assert all(one.start < one.stop for one in runs)
        batch = ids(runs)
        size = sum(len(event.value) + OVERHEAD for one in runs for event in one.events())
        assert size <= limit or len(batch) == 1
        taken += batch
    assert taken == [(call, event.id) for call in calls if call not in ended for event in call.events]


def test_a_call_ends_when_all_its_events_have_a_result_and_not_before() -> None:
    call = make_call([1] * 10)
    first, last = run(call, 0, 4), run(call, 4, 10)
    first.succeed([Position("t", 0, n) for n in range(4)])
    first.fail(lambda: BusUnavailable("said already"))
    assert not call.done.done()
    last.fail(lambda: BusUnavailable("over"))
    assert call.done.done()
    assert [type(result) for result in call.results] == [Position] * 4 + [BusUnavailable] * 6


def test_what_nobody_waits_for_any_more_is_not_sent_and_keeps_what_was_said() -> None:
    queue, call = PartitionQueue("t", 0), make_call([1] * 4)
    said, waiting = run(call, 0, 2), run(call, 2, 4)
    queue.add(waiting)
    said.succeed([Position("t", 0, 7), Position("t", 0, 8)])
    call.abandon()
    assert queue.take() == []
    assert call.results[:2] == [Position("t", 0, 7), Position("t", 0, 8)]


def test_a_batch_has_at_most_so_many_events() -> None:
    queue = PartitionQueue("t", 0)
    queue.add(run(make_call([1] * 700)))
    queue.add(run(make_call([1] * 700)))
    assert [len(ids(queue.take())) for _ in range(3)] == [BATCH_EVENTS, 400, 0]


def test_what_was_too_large_waits_again_at_the_front_and_goes_in_halves() -> None:
    queue = PartitionQueue("t", 0)
    call = make_call([100] * 8)
    queue.add(run(call, 0, 6))
    queue.add(run(call, 6, 8))
    batches = []
    flying = queue.take()
    queue.limit = 8 * (100 + OVERHEAD) // 2
    queue.waiting.extendleft(reversed(flying))
    while runs := queue.take():
        batches.append([event_id for _, event_id in ids(runs)])
    assert batches == [["0", "1", "2", "3"], ["4", "5", "6", "7"]]
