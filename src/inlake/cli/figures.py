"""The numbers of /metrics at two moments, and how much a second lies between them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

_LINE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
FEW = 1e-6
"""Requests a second that are none: what is left of a sum of binary fractions."""
Labels = frozenset[tuple[str, str]]


class Sample(NamedTuple):
    """A number of /metrics."""

    labels: dict[str, str]
    value: float


@dataclass(slots=True)
class Figures:
    """All numbers of a gateway at one moment."""

    at: float
    """The moment, in seconds by a clock that does not jump."""
    by_name: dict[str, dict[Labels, float]] = field(default_factory=dict)
    """The numbers of each metric by their labels."""

    def now(self, name: str) -> float:
        """A gauge."""
        return sum(self.by_name.get(name, {}).values())

    def rates(self, name: str, before: Figures) -> Iterator[Sample]:
        """How much each counter of this name grew a second; one that is less than before was begun anew."""
        earlier = before.by_name.get(name, {})
        seconds = max(self.at - before.at, 1e-3)
        for labels, value in self.by_name.get(name, {}).items():
            old = earlier.get(labels, 0)
            yield Sample(dict(labels), (value - old if value >= old else value) / seconds)


def read(text: str, at: float) -> Figures:
    """The numbers of an answer in the Prometheus text format, version 0.0.4."""
    figures = Figures(at)
    for line in text.splitlines():
        if found := _LINE.fullmatch(line):
            labels = frozenset(_LABEL.findall(found[2] or ""))
            figures.by_name.setdefault(found[1], {})[labels] = float(found[3])
    return figures


@dataclass(slots=True)
class Route:
    """The requests to one route, a second, and how long they took."""

    path: str
    good: float = 0
    refused: float = 0
    """Answers of 400 to 499."""
    failed: float = 0
    """Answers of 500 and above."""
    half: float | None = None
    """Seconds within which half of the requests were answered; None without any."""
    most: float | None = None
    """Seconds within which 99 of 100 were."""

    @property
    def all(self) -> float:
        return self.good + self.refused + self.failed

    def leave_out(self, rate: float) -> None:
        """Take off requests that were answered well, or, where fewer were, with a failure."""
        well = min(rate, self.good)
        self.good -= well
        self.failed = max(0.0, self.failed - (rate - well))


def routes(now: Figures, before: Figures, own: Collection[str] = ()) -> list[Route]:
    """All routes that were ever asked, the busiest first; `own`: those that who looks asks once a look. Nothing of that
    is told, nor of a route that nobody else asked meanwhile."""
    found: dict[str, Route] = {}
    for labels, rate in now.rates("inlake_requests_total", before):
        route = found.setdefault(labels["route"], Route(labels["route"]))
        status = int(labels["status"])
        if status < 400:
            route.good += rate
        elif status < 500:
            route.refused += rate
        else:
            route.failed += rate
    buckets: dict[str, list[tuple[float, float]]] = {}
    for labels, rate in now.rates("inlake_request_seconds_bucket", before):
        buckets.setdefault(labels["route"], []).append((float(labels["le"]), rate))
    for path in found.keys() & own:
        found[path].leave_out(1 / max(now.at - before.at, 1e-3))
        if found[path].all < FEW:
            del found[path]
    for path, route in found.items():
        counts = sorted(buckets.get(path, []))
        route.half, route.most = quantile(0.5, counts), quantile(0.99, counts)
    return sorted(found.values(), key=lambda route: (-route.all, route.path))


def quantile(share: float, buckets: list[tuple[float, float]]) -> float | None:
    """The time within which this share was answered, as Prometheus reckons it (`histogram_quantile`).

    `buckets`: upper bounds, ascending to infinity, and how many took at most so long. None where there are none.
    """
    if not buckets or not buckets[-1][1]:
        return None
    wanted, below, under = share * buckets[-1][1], 0.0, 0.0
    for bound, count in buckets:
        if count >= wanted:
            if bound == float("inf"):
                return below
            return below + (bound - below) * (wanted - under) / (count - under)
        below, under = bound, count
    return below
