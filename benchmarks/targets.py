"""What the gateway shall reach, and whether it did: ratios within one run, so that another machine may judge too."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from benchmarks.cases import Case, Figures
from benchmarks.records import LANGUAGES, SHAPES

HELLO_US = 21
"""CPU of a hello-world POST on the machine that the targets were set on: by it they mean the same on another one."""
WINDOWS = ("ndjson-1000", "stream")
"""The kinds that the targets of NDJSON are about."""
Values = Mapping[str, float | None]


@dataclass(slots=True)
class Run:
    """All that one run measured."""

    cases: dict[Case, Figures] = field(default_factory=dict)
    hello: dict[Case, Figures] = field(default_factory=dict)
    """By the case of single records that it was measured beside."""
    inside: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    """By shape, language and bus."""

    def of_hello(self, case: Case) -> float | None:
        """How many times the CPU of hello-world a record takes."""
        hello = self.hello.get(case._replace(kind="single"))
        return self.cases[case].cpu_us / hello.cpu_us if hello else None

    def of_produce(self, case: Case) -> float | None:
        """The share of librdkafka's own rate that the gateway reaches."""
        produce = self.inside.get((case.shape, case.language, "kafka"), {}).get("produce")
        return self.cases[case].rate / produce["rate"] if produce else None

    def of_codec(self, case: Case) -> float | None:
        """The share of the codec's own rate that the gateway reaches."""
        found = self.inside.get((case.shape, case.language, case.bus))
        return self.cases[case].rate * found["stages"]["codec"] / 1e6 if found else None

    def of_kafka(self, case: Case) -> float | None:
        """A case's rate by that of the same case on Kafka."""
        on_kafka = self.cases.get(case._replace(bus="kafka"))
        return self.cases[case].rate / on_kafka.rate if on_kafka else None

    def growth(self, case: Case) -> float:
        """MiB that the load added."""
        return self.cases[case].most_memory - self.cases[case].memory


class Verdict(NamedTuple):
    what: str
    target: str
    worst: str
    """The figure furthest from the target, and its case."""
    met: bool


def verdicts(run: Run) -> list[Verdict]:
    """Each target that this run can judge, by the worst of its cases."""
    cases = run.cases
    judged: list[Verdict | None] = []
    for language in LANGUAGES:
        judged += _streams(run, language)
    embedded = [c for c in cases if c.kind in WINDOWS and c.bus == "embedded"]
    judged += [
        least("NDJSON: embedded rate by Kafka's", 1, _of(embedded, run.of_kafka)),
        most("NDJSON: event-loop lag p99, ms", 5, _of(cases, lambda c: cases[c].lag_p99)),
        most("Stream of 2 GB: memory grows by, MiB", 50, _of([c for c in cases if c.kind == "2GB"], run.growth)),
    ]
    for shape in SHAPES:
        single = [c for c in cases if c.kind == "single" and c.bus == "kafka" and c.shape == shape]
        judged += [
            most(f"Single record, {shape}, Kafka: CPU by hello-world's", 2.6, _of(single, run.of_hello), "{:.2f}"),
            most(
                f"Single record, {shape}, Kafka: p99 at half load, ms", 10, _of(single, lambda c: cases[c].p99_at_half)
            ),
        ]
    return [verdict for verdict in judged if verdict]


def _streams(run: Run, language: str) -> list[Verdict | None]:
    """Of NDJSON on Kafka in one schema language."""
    cases = run.cases
    here = [c for c in cases if c.kind in WINDOWS and c.bus == "kafka" and c.language == language]
    flat, nested = ([c for c in here if c.shape == shape] for shape in SHAPES)
    name = f"NDJSON, {language}, Kafka"
    return [
        least(f"{name}, flat: records/s on one core", 150_000, _of(flat, lambda c: cases[c].rate), "{:,.0f}"),
        most(f"{name}, flat: CPU for a record, us", 7, _of(flat, lambda c: cases[c].cpu_us)),
        most(f"{name}, flat: CPU by hello-world's", round(7 / HELLO_US, 2), _of(flat, run.of_hello), "{:.2f}"),
        least(f"{name}, flat: share of librdkafka's loop", 0.4, _of(flat, run.of_produce)),
        least(f"{name}, nested: records/s on one core", 45_000, _of(nested, lambda c: cases[c].rate), "{:,.0f}"),
        most(
            f"{name}, nested: CPU by hello-world's",
            round(1e6 / 45_000 / HELLO_US, 2),
            _of(nested, run.of_hello),
            "{:.2f}",
        ),
        least(f"{name}, nested: share of the codec alone", 0.8, _of(nested, run.of_codec)),
    ]


def _of(cases: Iterable[Case], figure: Callable[[Case], float | None]) -> Values:
    return {case.name: figure(case) for case in cases}


def least(what: str, target: float, values: Values, form: str = "{:.2f}") -> Verdict | None:
    """Whether all values known, by their cases' names, reach the target; None when there are none."""
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return None
    worst = min(known, key=lambda name: known[name])
    shown = f"{form.format(known[worst])} ({worst})"
    return Verdict(what, f"at least {form.format(target)}", shown, known[worst] >= target)


def most(what: str, target: float, values: Values, form: str = "{:.1f}") -> Verdict | None:
    """Whether none of the values known exceeds the target; None when there are none."""
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        return None
    worst = max(known, key=lambda name: known[name])
    return Verdict(what, f"at most {target:g}", f"{form.format(known[worst])} ({worst})", known[worst] <= target)
