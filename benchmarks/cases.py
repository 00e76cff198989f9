"""What is measured: each way to send records, by shape, language and bus, and the limits beside them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median
from time import perf_counter, process_time
from typing import Any, NamedTuple

from benchmarks import LAG
from benchmarks.load import Pool, Request, percentile, post
from benchmarks.machine import on_the_servers_core
from benchmarks.records import LANGUAGES, SHAPES, blocks, records, schema_name
from benchmarks.servers import Server, ServerError, clean_environment, deployment, free_port, gateway, running

BUSES = ("embedded", "kafka")
KINDS = ("single", "ndjson-100", "ndjson-1000", "stream", "unlogged", "2GB")
"""Requests of so many records, or one without end; `unlogged` is `single` without a log line for each request."""
CONNECTIONS = {1: 32, 100: 8, 1_000: 4}
"""By the number of records in a request."""
GOES = 5
"""Figures are the median of so many: a pause of the machine, which other guests cause too, spoils one of them."""
STREAM = 1_000_000
LARGE = 2_000_000_000
"""Bytes of the stream that shows whether memory stays flat."""
ACCEPTED = b'"summary":{"accepted":%d,"pending":0,"rejected":0,"failed":0},"complete":true}'


class Case(NamedTuple):
    kind: str
    shape: str
    language: str
    bus: str

    @property
    def name(self) -> str:
        return " ".join(self)


@dataclass(slots=True)
class Figures:
    """What a case came to. Memory in MiB, times in milliseconds, shares of a core from 0 to 1."""

    rate: float
    """Records a second."""
    cpu_us: float
    """Of the gateway's process, for a record."""
    server: float
    """How busy the server's core was with it; much below 1, something else was the limit."""
    client: float
    """How busy the load was."""
    memory: float
    most_memory: float
    p50: float | None = None
    p99: float | None = None
    p99_at_half: float | None = None
    """At half of the rate that saturates."""
    lag_p99: float | None = None


class Effort(NamedTuple):
    """How long to measure."""

    seconds: float
    warm: float
    kafka: float
    """Seconds of load for a Kafka that has just started: its compiler takes the load's core meanwhile."""
    stream: int
    """Records of a stream."""
    large: int
    """Bytes of the large one."""


FULL = Effort(3.0, 1.0, 20.0, STREAM, LARGE)
QUICK = Effort(1.0, 0.3, 10.0, 100_000, 200_000_000)
TINY = Effort(0.1, 0.05, 0.0, 2_000, 2_000_000)
"""To see that it works: the figures mean nothing."""


def all_cases(buses: Sequence[str]) -> list[Case]:
    """All of them; what shares a limit stands together, for the speed of a machine drifts."""
    cases = [
        Case(kind, shape, language, bus) for shape, language, bus, kind in product(SHAPES, LANGUAGES, buses, KINDS[:4])
    ]
    return [*cases, Case("unlogged", "flat", "avro", buses[-1]), Case("2GB", "nested", "avro", buses[-1])]


def quick_cases(buses: Sequence[str]) -> list[Case]:
    """All kinds in Avro, one in the other languages and on one bus."""
    others = {("ndjson-1000", buses[-1])}
    return [case for case in all_cases(buses) if case.language == "avro" or (case.kind, case.bus) in others]


def tiny_cases(buses: Sequence[str]) -> list[Case]:
    """One of each sort."""
    return [Case(kind, "flat", "avro", bus) for bus in buses for kind in ("single", "ndjson-1000", "stream")]


def warm_kafka(effort: Effort) -> None:
    """Load that nobody measures."""
    case = Case("single", "flat", "avro", "kafka")
    with gateway(case.bus) as server, Pool(server.port, CONNECTIONS[1], single_requests(case)) as pool:
        pool.saturate(effort.kafka)


def run(case: Case, effort: Effort) -> Figures:
    """One gateway for one case."""
    if case.kind in {"single", "unlogged"}:
        quiet = {"INLAKE_LOG_LEVEL": "warning"} if case.kind == "unlogged" else {}
        with gateway(case.bus, quiet) as server:
            return _singles(server, case, effort)
    with gateway(case.bus, measured=True) as server:
        size = case.kind.removeprefix("ndjson-")
        return _batches(server, case, int(size), effort) if size.isdecimal() else _stream(server, case, effort)


def _singles(server: Server, case: Case, effort: Effort) -> Figures:
    with Pool(server.port, CONNECTIONS[1], single_requests(case)) as pool:
        figures = _saturate(server, pool, 1, effort)
        goes = [pool.pace(figures.rate / 2, effort.seconds / GOES) for _ in range(GOES)]
        figures.p99_at_half = median([percentile(times, 0.99) for times in goes])
    return figures


def _batches(server: Server, case: Case, size: int, effort: Effort) -> Figures:
    requests = [ndjson_request(case, [block]) for block in blocks(case.shape, size)]
    with Pool(server.port, CONNECTIONS[size], requests) as pool:
        figures = _saturate(server, pool, size, effort, lambda: server.ask(LAG))
        figures.lag_p99 = _lag(server)
    return figures


def _stream(server: Server, case: Case, effort: Effort) -> Figures:
    block = blocks(case.shape, 1_000)[0]
    count = effort.large // len(block) if case.kind == "2GB" else effort.stream // 1_000
    with Pool(server.port, 1, [ndjson_request(case, [block]), ndjson_request(case, [block] * count)]) as pool:
        pool.once()
        server.ask(LAG)
        memory, own, cpu = server.memory(), process_time(), server.cpu()
        took = pool.once()
        used, own = server.cpu() - cpu, process_time() - own
    return Figures(
        rate=count * 1_000 / took,
        cpu_us=used / count * 1_000,
        server=used / took,
        client=own / took,
        memory=memory,
        most_memory=server.most_memory(),
        lag_p99=_lag(server),
    )


def _saturate(
    server: Server, pool: Pool, size: int, effort: Effort, begin: Callable[[], object] = lambda: None
) -> Figures:
    """As many requests as the connections can have, in `GOES`; `begin` is called after the warm-up."""
    memory = server.memory()
    pool.saturate(effort.warm)
    begin()
    goes = [_go(server, pool, size, effort.seconds / GOES) for _ in range(GOES)]
    times = [seconds for go in goes for seconds in go.times]
    return Figures(
        rate=median([go.rate for go in goes]),
        cpu_us=median([go.cpu_us for go in goes]),
        server=median([go.server for go in goes]),
        client=median([go.client for go in goes]),
        memory=memory,
        most_memory=server.most_memory(),
        p50=percentile(times, 0.5),
        p99=median([percentile(go.times, 0.99) for go in goes]),
    )


class _Go(NamedTuple):
    times: list[float]
    rate: float
    cpu_us: float
    server: float
    client: float


def _go(server: Server, pool: Pool, size: int, seconds: float) -> _Go:
    cpu, own, began = server.cpu(), process_time(), perf_counter()
    times = pool.saturate(seconds)
    took, used, own = perf_counter() - began, server.cpu() - cpu, process_time() - own
    count = len(times) * size
    return _Go(times, count / took, used / count * 1e6, used / took, own / took)


def ndjson_request(case: Case, blocks: Sequence[bytes]) -> Request:
    """One request with all lines of the blocks."""
    path, lines = (
        f"/ingress/record-json?schema={schema_name(case.shape, case.language)}",
        sum(b.count(b"\n") for b in blocks),
    )
    return post(path, "application/x-ndjson", blocks, ACCEPTED % lines)


def single_requests(case: Case) -> list[Request]:
    """A request for each record of the shape."""
    path = f"/ingress/record-json?schema={schema_name(case.shape, case.language)}"
    return [post(path, "application/json", [record], b"HTTP/1.1 201 ") for record in records(case.shape)]


def _lag(server: Server) -> float:
    return percentile(json.loads(server.ask(LAG)), 0.99)


# ------------------------------------------------------------------------------------------------------------- limits
def hello(shape: str, effort: Effort) -> Figures:
    """POSTs of the same records to an application that only says hello."""
    with deployment("embedded") as (folder, _):
        port = free_port()
        command = [sys.executable, "-m", "benchmarks.hello"]
        with running(command, folder, clean_environment({"INLAKE_PORT": str(port)}), port) as server:
            requests = single_requests(Case("hello", shape, "avro", "embedded"))
            with Pool(port, CONNECTIONS[1], requests) as pool:
                return _saturate(server, pool, 1, effort)


def inside(shape: str, language: str, bus: str, effort: Effort) -> dict[str, Any]:
    """CPU by stage, `stages` of a window and `single`; on Kafka `produce`: what librdkafka alone does."""
    with deployment(bus) as (folder, environment):
        command = [sys.executable, "-m", "benchmarks.inside", shape, language, str(effort.seconds)]
        done = subprocess.run(
            on_the_servers_core(command),
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise ServerError(done.stderr[-3000:])
    found: dict[str, Any] = json.loads(done.stdout)
    return found
