"""Counters in the Prometheus text format, of all workers of a gateway: each counts in memory that others can read."""

from __future__ import annotations

import json
import mmap
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import NamedTuple

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Upper bounds of the request times, in seconds."""
SLOT, NUMBERS = 1 << 20, 1 << 14
"""Bytes of what one process counts in, and how many numbers of eight bytes stand at its beginning; behind them, a line
each, what they are. The first number is how many bytes of lines there are, the second how many numbers."""
HEAD = 2
Labels = tuple[tuple[str, str], ...]


class Counter:
    """One number that only grows."""

    __slots__ = ("_at", "_numbers")

    def __init__(self, numbers: memoryview | list[int] | None = None, at: int = 0) -> None:
        """Without `numbers` nobody else sees it."""
        self._numbers, self._at = [0] if numbers is None else numbers, at

    @property
    def value(self) -> int:
        """The number, of this process."""
        number: int = self._numbers[self._at]
        return number

    @value.setter
    def value(self, value: int) -> None:
        self._numbers[self._at] = value


class Histogram:
    """How often up to each bound, and how long in all."""

    __slots__ = ("_at", "_floats", "_numbers")

    def __init__(self, numbers: memoryview, floats: memoryview[float], at: int) -> None:
        """`numbers` and `floats` are the same memory."""
        self._numbers, self._floats, self._at = numbers, floats, at

    def observe(self, seconds: float) -> None:
        """One request took so long."""
        self._numbers[self._at + bisect_left(BUCKETS, seconds)] += 1
        self._floats[self._at + len(BUCKETS) + 1] += seconds


class Member(NamedTuple):
    """Numbers of one name and one set of labels, and where they stand."""

    at: int
    kind: str
    name: str
    about: str
    labels: str


SIZES = {"counter": 1, "gauge": 1, "histogram": len(BUCKETS) + 2}


class Slot:
    """The memory that one process counts in. Who comes after a process that died goes on with its numbers."""

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory
        self.numbers, self.floats = memory[: 8 * NUMBERS].cast("q"), memory[: 8 * NUMBERS].cast("d")
        self.members = {(member.name, member.labels): member for member in self.read()}

    def read(self) -> Iterator[Member]:
        """All members that are there now, also those that another process has added."""
        lines = bytes(self._memory[8 * NUMBERS : 8 * NUMBERS + self.numbers[0]])
        return (Member(*json.loads(line)) for line in lines.splitlines())

    def add(self, kind: str, name: str, about: str, labels: str) -> int:
        """Where the numbers of this name and these labels stand."""
        if found := self.members.get((name, labels)):
            return found.at
        at, end = HEAD + self.numbers[1], 8 * NUMBERS + self.numbers[0]
        member = Member(at, kind, name, about, labels)
        line = json.dumps(member).encode() + b"\n"
        self._memory[end : end + len(line)] = line
        self.numbers[1] += SIZES[kind]
        self.numbers[0] += len(line)  # at last: who reads sees whole lines
        self.members[name, labels] = member
        return at

    def of(self, member: Member) -> list[float]:
        """The numbers of a member."""
        if member.kind == "gauge":
            return [self.floats[member.at]]
        if member.kind == "counter":
            return [self.numbers[member.at]]
        total = member.at + SIZES["histogram"] - 1
        return [*self.numbers[member.at : total], self.floats[total]]


class Metrics:
    """All that one process counts, beside others. Names and labels are few and fixed: none holds what a client sent."""

    def __init__(self, file: int | None = None, slots: int = 1, own: int = 0) -> None:
        """`file`: descriptor of a file of `slots` times `SLOT` bytes that the other processes have, too."""
        memory = memoryview(mmap.mmap(-1 if file is None else file, slots * SLOT))
        self._slots = [Slot(memory[at * SLOT : (at + 1) * SLOT]) for at in range(slots)]
        self._own = self._slots[own]
        self._gauges: list[tuple[int, Callable[[], float]]] = []
        self.counter = cache(self._counter)
        """`counter(name, help, labels)`: the counter with these labels, a tuple of (label, value)."""
        self.histogram = cache(self._histogram)

    def gauge(self, name: str, about: str, read: Callable[[], float]) -> None:
        """A number that is read when somebody asks, and by `tell` for the other processes."""
        self._gauges.append((at := self._own.add("gauge", name, about, ""), read))
        self._own.floats[at] = read()  # not what one that died has left

    def tell(self) -> None:
        """Writes down what the gauges are now, for others that are asked."""
        for at, read in self._gauges:
            self._own.floats[at] = read()

    def _counter(self, name: str, about: str, labels: Labels = ()) -> Counter:
        return Counter(self._own.numbers, self._own.add("counter", name, about, _labels(labels)))

    def _histogram(self, name: str, about: str, labels: Labels = ()) -> Histogram:
        return Histogram(self._own.numbers, self._own.floats, self._own.add("histogram", name, about, _labels(labels)))

    def families(self) -> dict[str, tuple[str, str]]:
        """Kind and help of each name."""
        return {member.name: (member.kind, member.about) for slot in self._slots for member in slot.read()}

    def text(self) -> str:
        """The sums of all processes in the text exposition format, version 0.0.4."""
        self.tell()
        sums: dict[tuple[str, str, str], list[float]] = {}
        for slot in self._slots:
            for member in slot.read():
                key, found = (member.kind, member.name, member.labels), slot.of(member)
                sums[key] = [a + b for a, b in zip(sums[key], found, strict=True)] if key in sums else found
        lines: list[str] = []
        families = self.families()
        for name in sorted(families, key=lambda name: (families[name][0] == "gauge", name)):
            kind, about = families[name]
            lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
            for (_, other, labels), numbers in sorted(sums.items()):
                if other == name:
                    lines += _lines(kind, name, labels, numbers)
        return "\n".join(lines) + "\n"


def _lines(kind: str, name: str, labels: str, numbers: list[float]) -> Iterable[str]:
    around = f"{{{labels}}}" if labels else ""
    if kind == "gauge":
        yield f"{name}{around} {numbers[0]:g}"
        return
    if kind == "counter":
        yield f"{name}{around} {numbers[0]}"
        return
    count = 0.0
    separator = "," if labels else ""
    for bound, n in zip([*(f"{b:g}" for b in BUCKETS), "+Inf"], numbers[:-1], strict=True):
        count += n
        yield f'{name}_bucket{{{labels}{separator}le="{bound}"}} {count:.0f}'
    yield f"{name}_sum{around} {numbers[-1]:.6f}"
    yield f"{name}_count{around} {count:.0f}"


def _labels(labels: Labels) -> str:
    return ",".join(f'{name}="{value}"' for name, value in labels)
