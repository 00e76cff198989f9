"""Counters in the Prometheus text format. Labels are resolved once: counting costs an addition, not a look-up."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from functools import cache

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the request times, in seconds."""


class Counter:
    """One number that only grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class Histogram:
    """How often, how long in all, and how often up to each bound."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.total += seconds
        self.counts[bisect_left(BUCKETS, seconds)] += 1


class Metrics:
    """The counters of one process. Names and labels are few and fixed: no label holds what a client sent."""

    def __init__(self) -> None:
        self._families: dict[str, tuple[str, str, dict[str, Counter | Histogram]]] = {}
        self._gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self.counter = cache(self._counter)
        """`counter(name, help, labels)`: the counter with these labels, a tuple of (label, value)."""
        self.histogram = cache(self._histogram)

    def gauge(self, name: str, about: str, read: Callable[[], float]) -> None:
        """A number that is read when somebody asks."""
        self._gauges[name] = (about, read)

    def _counter(self, name: str, about: str, labels: tuple[tuple[str, str], ...] = ()) -> Counter:
        counter = Counter()
        self._family(name, about, "counter")[_labels(labels)] = counter
        return counter

    def _histogram(self, name: str, about: str, labels: tuple[tuple[str, str], ...] = ()) -> Histogram:
        histogram = Histogram()
        self._family(name, about, "histogram")[_labels(labels)] = histogram
        return histogram

    def _family(self, name: str, about: str, kind: str) -> dict[str, Counter | Histogram]:
        return self._families.setdefault(name, (about, kind, {}))[2]

    def text(self) -> str:
        """All counters in the text exposition format, version 0.0.4."""
        lines: list[str] = []
        for name, (about, kind, members) in sorted(self._families.items()):
            lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
            for labels, member in sorted(members.items()):
                lines += _counted(name, labels, member)
        for name, (about, read) in sorted(self._gauges.items()):
            lines += [f"# HELP {name} {about}", f"# TYPE {name} gauge", f"{name} {read():g}"]
        return "\n".join(lines) + "\n"


def _counted(name: str, labels: str, member: Counter | Histogram) -> Iterable[str]:
    if isinstance(member, Counter):
        yield f"{name}{{{labels}}} {member.value}" if labels else f"{name} {member.value}"
        return
    count = 0
    separator = "," if labels else ""
    for bound, n in zip([*(f"{b:g}" for b in BUCKETS), "+Inf"], member.counts, strict=True):
        count += n
        yield f'{name}_bucket{{{labels}{separator}le="{bound}"}} {count}'
    around = f"{{{labels}}}" if labels else ""
    yield f"{name}_sum{around} {member.total:.6f}"
    yield f"{name}_count{around} {count}"


def _labels(labels: tuple[tuple[str, str], ...]) -> str:
    return ",".join(f'{name}="{value}"' for name, value in labels)
