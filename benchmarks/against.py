"""This tree beside another commit of its own: two gateways on one core, loaded in turn, and the ratio of their CPU.

The speed of a machine that others use too drifts by a third within minutes. Stretches of a fraction of a second that
take turns see the same machine, so their ratio tells a few hundredths where two runs one after the other cannot.
"""

from __future__ import annotations

import contextlib
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from statistics import median, quantiles

from benchmarks.cases import CONNECTIONS, Case, ndjson_request, single_requests
from benchmarks.load import Pool, Request
from benchmarks.records import LANGUAGES, ROOT, SHAPES, blocks
from benchmarks.report import number, table
from benchmarks.servers import Server, gateway

KINDS = {"single": 1, "ndjson-1000": 1_000, "stream": 20_000}
"""Records of a request."""
TURNS = 16
"""Stretches of load for each gateway; a ratio is the median of as many, less the first pair, which warms up."""


@contextlib.contextmanager
def tree(commit: str) -> Iterator[Path]:
    """A folder with src/ as it was at the commit, while the block runs. Raises `CalledProcessError` if git has none."""
    archive = subprocess.run(["git", "archive", commit, "src"], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        yield Path(folder)


def cases(buses: Sequence[str]) -> list[Case]:
    return [Case(*of) for of in product(KINDS, SHAPES, LANGUAGES, buses)]


def measure(commit: str, chosen: Sequence[Case], seconds: float, say: Callable[[str], None]) -> str:
    """A table of all chosen cases: microseconds of CPU for a record then and now, and their ratio; `seconds` a turn."""
    rows = []
    with tree(commit) as before:
        for case in chosen:
            pairs = _turns(case, before, seconds)
            then, now = (median(side) for side in zip(*pairs, strict=True))
            ratios = [new / old for old, new in pairs]
            low, middle, high = quantiles(ratios, n=4)
            rows.append([case.name, number(then), number(now), number(middle, 2), f"{low:.2f} to {high:.2f}"])
            say(f"{case.name}: {then:.1f} us at {commit}, {now:.1f} us now, {middle:.2f} times")
    return table(["CPU of the gateway, us a record", commit, "now", "ratio", "middle half of the pairs"], rows)


def _turns(case: Case, before: Path, seconds: float) -> list[tuple[float, float]]:
    """CPU of each pair of stretches; who comes first changes from pair to pair."""
    with contextlib.ExitStack() as stack:
        sides = []
        for place in (before, ROOT):
            server = stack.enter_context(gateway(case.bus, tree=place))
            connections = CONNECTIONS.get(KINDS[case.kind], 1)
            sides.append((server, stack.enter_context(Pool(server.port, connections, _requests(case)))))
        pairs = []
        for turn in range(TURNS + 1):
            used = [0.0, 0.0]
            for side in (0, 1) if turn % 2 else (1, 0):
                used[side] = _stretch(*sides[side], seconds) / KINDS[case.kind]
            pairs.append((used[0], used[1]))
    return pairs[1:]


def _stretch(server: Server, pool: Pool, seconds: float) -> float:
    """Microseconds of CPU for a request; nothing is on its way before and after."""
    cpu = server.cpu()
    count = len(pool.saturate(seconds)) + pool.drain()
    return (server.cpu() - cpu) / count * 1e6


def _requests(case: Case) -> list[Request]:
    if case.kind == "single":
        return single_requests(case)
    block = blocks(case.shape, 1_000)[0]
    return [ndjson_request(case, [block] * (KINDS[case.kind] // 1_000))]
