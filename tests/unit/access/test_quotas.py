"""Quotas: what fits into a minute, what is told of the rest, and what is owed."""

from __future__ import annotations

import random

import pytest

from inlake.access.quotas import Amount, Quotas, parse
from inlake.access.usage import WAYS, Usage


class Clock:
    """Goes on when it is told to."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def quotas(clock: Clock, principal: str = "", in_all: str = "") -> Quotas:
    return Quotas(parse(principal), parse(in_all), Usage(), clock)


def test_a_minute_takes_as_much_as_the_quota_says_and_then_tells_when_the_next_one_begins() -> None:
    clock = Clock()
    q = quotas(clock, "requests=3")
    assert [q.take("a", Amount(1)) for _ in range(3)] == [None] * 3
    clock.now += 20
    exceeded = q.take("a", Amount(1))
    assert exceeded is not None
    assert (exceeded.limit.name, exceeded.is_of_all, exceeded.seconds) == ("requests", False, 40)
    assert q.take("b", Amount(1)) is None, "another principal has its own"
    clock.now += 40
    assert q.take("a", Amount(1)) is None


def test_what_all_together_may_send_bounds_each_and_refused_requests_are_not_counted() -> None:
    clock = Clock()
    q = quotas(clock, "requests=3", "requests=4")
    assert all(q.take("a", Amount(1)) is None for _ in range(3))
    assert q.take("b", Amount(1)) is None
    exceeded = q.take("b", Amount(1))
    assert exceeded is not None
    assert exceeded.is_of_all
    assert q.left("b")[0].left == 2


def test_of_many_records_as_many_are_taken_as_fit() -> None:
    clock = Clock()
    q = quotas(clock, "records=100", "records=130")
    assert q.take_some("a", 60) == (60, None)
    fit, exceeded = q.take_some("a", 60)
    assert fit == 40
    assert exceeded is not None
    assert not exceeded.is_of_all
    fit, exceeded = q.take_some("b", 60)
    assert fit == 30
    assert exceeded is not None
    assert exceeded.is_of_all


def test_what_is_larger_than_a_quota_may_go_when_nothing_is_used_and_is_paid_for_later() -> None:
    clock = Clock()
    q = quotas(clock, "bytes=100")
    assert q.take("a", Amount(1, 0, 250)) is None
    exceeded = q.take("a", Amount(1, 0, 1))
    assert exceeded is not None
    assert exceeded.seconds == 120
    clock.now += 119
    assert q.take("a", Amount(1, 0, 50)) is not None
    clock.now += 1
    assert q.take("a", Amount(1, 0, 50)) is None
    assert q.take("a", Amount(1, 0, 1)) is not None
    clock.now += 60
    assert q.take("a", Amount(1, 0, 100)) is None


def test_no_minute_takes_more_than_the_quota_whatever_comes_when() -> None:
    chance = random.Random(7)
    clock = Clock()
    q = quotas(clock, "records=50")
    taken: list[tuple[float, int]] = []
    for _ in range(5_000):
        clock.now += chance.choice((0.0, 0.1, 1.0, 7.0, 70.0))
        taken.append((clock.now, q.take_some("a", chance.randint(1, 20))[0]))
    for start, _ in taken[::50]:
        assert sum(n for at, n in taken if start <= at < start + 60) <= 100, "two minutes touch any sixty seconds"
    assert sum(n for _, n in taken) > 0


def test_a_seldom_seen_principal_makes_room_for_more_than_the_table_has() -> None:
    clock = Clock()
    q = quotas(clock, "requests=1")
    usage = Usage()
    same = [name for name in map(str, range(60_000)) if usage.of(name).place == usage.of("0").place]
    assert len(same) > WAYS, "more than may stand in one place"
    for name in same:
        clock.now += 1
        assert q.take(name, Amount(1)) is None
    assert q.take(same[-1], Amount(1)) is not None, "the newest is known"


@pytest.mark.parametrize(
    "text", ["requests", "requests=0", "requests=-1", "files=3", "requests=1,requests=2", "bytes=1e9"]
)
def test_what_is_no_quota_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"there twice|is none of"):
        parse(text)
