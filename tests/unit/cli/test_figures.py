"""What lies between two looks at /metrics."""

from __future__ import annotations

import math

import pytest

from inlake.cli.figures import quantile, read, routes

BEFORE = """# HELP inlake_requests_total Requests by route and status.
# TYPE inlake_requests_total counter
inlake_requests_total{route="/a",status="201"} 10
inlake_requests_total{route="/a",status="422"} 1
inlake_request_seconds_bucket{route="/a",le="0.001"} 10
inlake_request_seconds_bucket{route="/a",le="0.01"} 11
inlake_request_seconds_bucket{route="/a",le="+Inf"} 11
inlake_requests_limit 1000
"""
AFTER = """inlake_requests_total{route="/a",status="201"} 30
inlake_requests_total{route="/a",status="422"} 5
inlake_requests_total{route="/a",status="503"} 2
inlake_requests_total{route="/b/{puuid}",status="200"} 100
inlake_request_seconds_bucket{route="/a",le="0.001"} 20
inlake_request_seconds_bucket{route="/a",le="0.01"} 37
inlake_request_seconds_bucket{route="/a",le="+Inf"} 37
inlake_requests_limit 1000
"""


def test_requests_a_second_are_told_by_route_and_what_came_of_them_the_busiest_first() -> None:
    b, a = routes(read(AFTER, 12.0), read(BEFORE, 10.0))
    assert (b.path, b.all, b.half) == ("/b/{puuid}", 50, None)
    assert (a.good, a.refused, a.failed) == (10, 2, 1)
    assert a.half == pytest.approx(0.001 + 0.009 * 3 / 16)
    assert read(AFTER, 12.0).now("inlake_requests_limit") == 1000


def test_the_requests_of_who_looks_are_left_out() -> None:
    text = (
        'inlake_requests_total{{route="/metrics",status="200"}} {}\n'
        'inlake_requests_total{{route="/health/ready",status="503"}} {}\n'
        'inlake_requests_total{{route="/a",status="200"}} {}\n'
    )
    own = "/metrics", "/health/ready"
    (alone,) = routes(read(text.format(7, 7, 10), 12.0), read(text.format(6, 6, 8), 9.0), own)
    assert alone.path == "/a"
    assert alone.good == pytest.approx(2 / 3)
    ready, metrics, a = routes(read(text.format(9, 12, 8), 11.0), read(text.format(6, 6, 8), 9.0), own)
    assert (ready.path, ready.failed) == ("/health/ready", 2.5)
    assert (metrics.path, metrics.good) == ("/metrics", 1)
    assert (a.path, a.all) == ("/a", 0)


def test_a_counter_that_began_anew_counts_from_zero() -> None:
    (sample,) = read("x 4\n", 3.0).rates("x", read("x 100\n", 1.0))
    assert sample.value == 2


@pytest.mark.parametrize(
    ("share", "counts", "seconds"),
    [
        (0.5, [(1.0, 0), (2.0, 10), (math.inf, 10)], 1.5),
        (0.99, [(1.0, 10), (math.inf, 20)], 1.0),
        (0.5, [(1.0, 0), (math.inf, 0)], None),
        (0.5, [], None),
    ],
)
def test_a_quantile_is_that_of_prometheus(
    share: float, counts: list[tuple[float, float]], seconds: float | None
) -> None:
    assert quantile(share, counts) == seconds
