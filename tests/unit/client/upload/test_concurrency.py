"""The number of requests on their way follows the rate."""

from __future__ import annotations

from inlake.client.upload.concurrency import WINDOW, Concurrency


def run(concurrency: Concurrency, rate: float, seconds: float, begin: float = 1.0) -> float:
    """Requests of no bytes that end at a rate; the time after them."""
    now = begin
    while now < begin + seconds:
        now += 1 / rate
        concurrency.done(0, now)
    return now


def test_it_grows_while_the_rate_does_and_stays_where_it_does_not() -> None:
    concurrency, now = Concurrency(64), 1.0
    for _ in range(30):  # a store that has 30 requests at once at best
        now = run(concurrency, 100 * min(30, concurrency.limit), 1.2 * WINDOW, now)
    assert 20 <= concurrency.limit <= 45


def test_it_is_halved_once_a_second_however_many_fail() -> None:
    concurrency = Concurrency(64, first=32)
    for n in range(10):
        concurrency.slow_down(5 + n / 100)
    assert concurrency.limit == 16
    concurrency.slow_down(6.5)
    assert concurrency.limit == 8


def test_it_is_never_more_than_was_asked_for_and_never_none() -> None:
    concurrency, now = Concurrency(4), 1.0
    for _ in range(10):
        now = run(concurrency, 1000 * concurrency.limit, 1.2 * WINDOW, now)
    assert concurrency.limit == 4
    for n in range(10):
        concurrency.slow_down(now + 2 * n)
    assert concurrency.limit == 1
