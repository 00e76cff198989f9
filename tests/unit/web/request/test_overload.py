"""Overload: what makes the number of requests in flight smaller, what does not, and how long clients are sent away."""

from __future__ import annotations

import asyncio
import time

from inlake.web.request.overload import IN_A_ROW, LEAST, LONGEST, QUIET, REFUSALS, Overload

LATE, IN_TIME = 0.2, 0.001


def test_a_loop_that_stays_late_takes_less_at_once_and_more_again_when_it_keeps_up() -> None:
    overload = Overload(1_000, late_ms=50)
    for _ in range(IN_A_ROW):
        overload.look(LATE, in_flight=900)
    assert overload.limit == 720
    for _ in range(50):
        overload.look(LATE, in_flight=overload.limit)
    assert overload.limit == LEAST
    for _ in range(1_000):
        overload.look(IN_TIME, in_flight=LEAST)
    assert overload.limit == 1_000


def test_a_stall_of_the_machine_takes_nothing_off() -> None:
    overload = Overload(1_000, late_ms=50)
    for _ in range(10):
        for _ in range(IN_A_ROW - 1):
            overload.look(3.0, in_flight=1_000)
        overload.look(IN_TIME, in_flight=1_000)
    assert overload.limit == 1_000


def test_a_few_large_requests_that_make_the_loop_late_are_no_overload() -> None:
    overload = Overload(1_000, late_ms=50)
    for _ in range(100):
        overload.look(LATE, in_flight=20)
    assert overload.limit == 1_000


def test_the_limit_finds_what_a_processor_can_do_and_stays_near_it() -> None:
    """A turn of the loop takes 0.5 ms for each request in flight; always more want to be taken."""
    overload = Overload(1_000, late_ms=50)
    turns = []
    for _ in range(500):
        turn = overload.limit * 0.0005
        turns.append(turn)
        overload.look(turn, in_flight=overload.limit)
    assert max(turns[100:]) < 0.1
    assert sum(turns[100:]) / 400 > 0.04, "it is not shut either"


def test_a_limit_that_nothing_tries_does_not_grow_until_all_is_well_for_long() -> None:
    """Clients that were refused are away: were it to grow meanwhile, all of them would be taken when they are back."""
    overload = Overload(1_000, late_ms=50)
    for _ in range(50):
        overload.look(LATE, in_flight=1_000)
    for _ in range(QUIET - 1):
        overload.look(IN_TIME, in_flight=LEAST // 2 - 1)
    assert overload.limit == LEAST
    overload.look(IN_TIME, in_flight=0)
    assert overload.limit == 1_000


def test_the_more_are_refused_the_later_they_should_come_back() -> None:
    overload = Overload(1_000, late_ms=50)
    clients = 40 * REFUSALS  # each of them comes back when it is told to
    for _ in range(20):
        overload.reckon(clients / overload.retry_after)
    assert overload.retry_after == LONGEST
    for _ in range(20):
        overload.reckon(0)
    assert overload.retry_after == 1


async def test_the_loop_is_looked_at_while_it_runs() -> None:
    overload = Overload(1_000, late_ms=1)
    watching = asyncio.create_task(overload.watch(lambda: 500))
    end = time.monotonic() + 20
    while overload.limit == 1_000 and time.monotonic() < end:
        time.sleep(0.06)  # what a loop with too much to do does
        await asyncio.sleep(0)
    watching.cancel()
    assert overload.limit < 1_000


async def test_without_the_setting_nothing_is_looked_at() -> None:
    overload = Overload(1_000, late_ms=0)
    await overload.watch(lambda: 500)
    assert overload.limit == 1_000
