"""Tables of Markdown, and their places in docs/performance.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from benchmarks.cases import KINDS, Case, Figures
from benchmarks.records import ROOT
from benchmarks.targets import Run, Verdict, verdicts

PAGE = ROOT / "docs" / "performance.md"
SINGLE = {"single", "unlogged"}
SINGLE_STAGES = {"codec": "codec", "event": "event, headers", "route": "route, receipt", "bus": "bus"}
WINDOW_STAGES = {
    "lines": "lines",
    "codec": "codec",
    "event": "event, headers",
    "receipts": "submissions, receipts",
    "bus": "bus",
}


def gateway_report(run: Run, machine: str) -> str:
    """All tables of a run."""
    parts = [machine, *targets(verdicts(run)), *_singles(run), *_streams(run), *_stages(run), *_limits(run)]
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are figures."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write(section: str, text: str) -> None:
    """Put the text between the marks of its section in docs/performance.md."""
    begin, end = f"<!-- {section}: written by make bench -->", f"<!-- {section}: end -->"
    page = PAGE.read_text()
    found = re.subn(f"{begin}.*{end}", lambda _: f"{begin}\n\n{text}\n{end}", page, flags=re.DOTALL)
    assert found[1] == 1, f"docs/performance.md has no section {section}"
    PAGE.write_text(found[0])


def number(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def targets(verdicts: Sequence[Verdict]) -> list[str]:
    """Met or not, as a headed table; nothing when nothing was judged."""
    rows = [(v.what, v.target, v.worst, "met" if v.met else "**not met**") for v in verdicts]
    return ["**Targets**, each by its worst case", table(["target", "", "measured", ""], rows)] if rows else []


def _singles(run: Run) -> list[str]:
    head = ["single records, 32 connections", "requests/s", "CPU us", "by hello", "p50 ms", "p99 ms", "p99 ms at half load", "MiB, at start and most", "server's core", "load's"]  # fmt: skip
    rows = [
        [
            _shown(case.kind, case.shape, case.language, case.bus),
            number(f.rate, 0),
            number(f.cpu_us),
            number(run.of_hello(case), 2),
            number(f.p50),
            number(f.p99),
            number(f.p99_at_half),
            f"{f.memory:.0f}, {f.most_memory:.0f}",
            f"{f.server:.0%}",
            f"{f.client:.0%}",
        ]
        for case, f in _sorted(run)
        if case.kind in SINGLE
    ]
    return ["**Single records**", table(head, rows)] if rows else []


def _streams(run: Run) -> list[str]:
    head = ["NDJSON", "records/s", "CPU us", "by hello", "of produce loop", "of codec", "p50 ms", "p99 ms", "lag p99 ms", "MiB, at start and most", "server's core", "load's"]  # fmt: skip
    rows = [
        [
            _shown(case.kind, case.shape, case.language, case.bus),
            number(f.rate, 0),
            number(f.cpu_us),
            number(run.of_hello(case), 2),
            number(run.of_produce(case), 2),
            number(run.of_codec(case), 2),
            number(f.p50),
            number(f.p99),
            number(f.lag_p99),
            f"{f.memory:.0f}, {f.most_memory:.0f}",
            f"{f.server:.0%}",
            f"{f.client:.0%}",
        ]
        for case, f in _sorted(run)
        if case.kind not in SINGLE
    ]
    return ["**Batches and streams**", table(head, rows)] if rows else []


def _stages(run: Run) -> list[str]:
    tables = []
    for what, kind, key, stages in (
        ("single record", "single", "single", SINGLE_STAGES),
        ("record of a window of 1,000", "ndjson-1000", "stages", WINDOW_STAGES),
    ):
        rows = []
        for place, found in run.inside.items():
            costs = [found[key][stage] for stage in stages]
            whole = run.cases.get(Case(kind, *place))
            rest = [number(whole.cpu_us - sum(costs), 2), number(whole.cpu_us, 2)] if whole else ["", ""]
            rows.append([_shown(*place), *(number(cost, 2) for cost in costs), *rest])
        tables += [table([f"CPU us for a {what}", *stages.values(), "HTTP and the rest", "all"], rows)] if rows else []
    return ["**Where it goes**", *tables] if tables else []


def _limits(run: Run) -> list[str]:
    rows = [
        (
            _shown("hello-world POST", f"beside {' '.join(case[1:])}"),
            number(f.rate, 0),
            number(f.cpu_us),
            f"{f.server:.0%}",
            f"{f.client:.0%}",
        )
        for case, f in run.hello.items()
    ]
    codecs = {(shape, language): found["stages"]["codec"] for (shape, language, _), found in run.inside.items()}
    rows += [(_shown("codec", *key), number(1e6 / us, 0), number(us, 2), "", "") for key, us in codecs.items()]
    for (shape, language, _), found in run.inside.items():
        if "produce" in found:
            p = found["produce"]
            rows.append((_shown("librdkafka", shape, language), number(p["rate"], 0), number(p["cpu_us"], 2), "", ""))
    head = ["limits, in the same run", "records/s", "CPU us", "server's core", "load's"]
    return ["**Limits**", table(head, rows)] if rows else []


def _sorted(run: Run) -> list[tuple[Case, Figures]]:
    return sorted(run.cases.items(), key=lambda item: KINDS.index(item[0].kind))


def _shown(*words: str) -> str:
    return ", ".join(words)
