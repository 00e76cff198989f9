"""What a record costs in Spark, beside the codec alone: `make spark-bench ARGS="10000 100000 1000000"`.

The codec is measured on as many cores at once, before and after each job: a machine that others use too is never twice
the same. CPU is told of Spark's Python workers, of its JVM, and of all else on the machine, which is Kafka where nobody
else uses it. The start, which is what a job of one record for each core costs, is told first and taken off the others.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from inlake.codecs import Codecs
from inlake.ports import Codec
from inlake_spark import batch
from inlake_spark.session import open_session
from inlake_spark.sources.lines import JsonLines

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests import live_servers  # noqa: E402

from recipes.spark.tests.live.test_kills import descendants  # noqa: E402
from recipes.spark.tests.world import EXAMPLES, World  # noqa: E402

SCHEMA = "tate.artwork"
SIZES = (10_000, 100_000, 1_000_000)
WARM_UP = SMALL = 10_000
SEVERAL = 7
"""Jobs of which the middle one is told: those of no more than SMALL records, and the start."""
ALONE = 1.5
"""Seconds that the codec is measured, at least."""
COLUMNS = (
    "master",
    "records",
    "s",
    "records/s",
    "Python, us a record",
    "JVM",
    "all else",
    "codec alone, records/s",
    "the job by it",
)
CONF = {
    "spark.ui.enabled": "false",
    # else a second compiler is at work for the first minutes, which is none of a record's cost
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
}
TICKS = os.sysconf("SC_CLK_TCK")


class Cost(NamedTuple):
    """What a job took, in seconds: by the clock, and of CPU."""

    clock: float
    python: float
    jvm: float
    rest: float
    """Of all other processes of the machine."""

    def beyond(self, start: Cost) -> Cost:
        return Cost(*(of_all - of_start for of_all, of_start in zip(self, start, strict=True)))


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["in"]:
        measure(arguments[1], [int(size) for size in arguments[2:]])
        return
    print(f"| {' | '.join(COLUMNS)} |\n| ---{' | ---:' * (len(COLUMNS) - 1)} |", flush=True)
    for master in ("local[1]", "local[2]"):
        subprocess.run([sys.executable, __file__, "in", master, *(arguments or map(str, SIZES))], check=True)


def measure(master: str, sizes: list[int]) -> None:
    cores = int(master[6:-1])
    world = World(live_servers.deployment(f"b{uuid4().hex[:12]}") | {"INLAKE_PARTITION_BY": "event"})
    world.register(SCHEMA)
    job = world.job(SCHEMA)
    lines = gzip.decompress((EXAMPLES / "tate/artworks.ndjson.gz").read_bytes()).splitlines()[:4700]
    label, settings = job.label, job.settings
    assert label is not None
    codec = asyncio.run(Codecs(job.schemas, settings).find(label.schema)).codec
    spark = open_session(master=master, conf=CONF)
    with tempfile.TemporaryDirectory(prefix="inlake-spark-bench-") as folder:
        for _ in range(3):
            cost_of(spark, world, Path(folder), [lines] * cores, WARM_UP)
        start = middle(SEVERAL, lambda: cost_of(spark, world, Path(folder), [lines[:1]] * cores, cores))
        cpu_of_start = [f"{seconds:.1f} s" for seconds in start[1:]]
        tell(master, "start", f"{start.clock:.1f}", "", *cpu_of_start, "", "")
        for size in sizes:
            before = codec_rate(codec, lines, cores)
            jobs = SEVERAL if size <= SMALL else 1
            of_size = partial(cost_of, spark, world, Path(folder), [lines], size)
            cost = middle(jobs, of_size).beyond(start)
            alone, rate = (before + codec_rate(codec, lines, cores)) / 2, size / cost.clock
            of_one = [f"{seconds / size * 1e6:.1f}" for seconds in cost[1:]]
            tell(
                master,
                f"{size:,}",
                f"{cost.clock:.3g}",
                f"{rate:,.0f}",
                *of_one,
                f"{alone:,.0f}",
                f"{rate / alone:.2f}",
            )
    spark.stop()


def tell(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


def middle(jobs: int, cost: Callable[[], Cost]) -> Cost:
    """The middle one of so many, by the clock."""
    return sorted(cost() for _ in range(jobs))[jobs // 2]


def cost_of(spark: object, world: World, folder: Path, files: list[list[bytes]], size: int) -> Cost:
    """What a job of so many records takes, in files of these lines over and over."""
    made = Path(tempfile.mkdtemp(dir=folder))
    for number, lines in enumerate(files):
        with (made / f"{number}.ndjson").open("wb") as out:
            out.writelines(lines[n % len(lines)] + b"\n" for n in range(size // len(files)))
    job, source = world.job(SCHEMA), JsonLines([str(made)])
    frame = source.frame(spark)  # type: ignore[arg-type]
    before, began = cpu(), time.monotonic()
    report = batch.ingest(frame, job, source, f"{folder}/rejects")
    clock, after = time.monotonic() - began, cpu()
    assert (report.accepted, report.rejected) == (size, 0), report.text()
    shutil.rmtree(made)
    return Cost(clock, *(of_all - so_far for of_all, so_far in zip(after, before, strict=True)))


def codec_rate(codec: Codec, lines: list[bytes], cores: int) -> float:
    """Records a second of the codec in a loop, in as many processes at once."""
    fork = get_context("fork")
    rates = fork.SimpleQueue()
    processes = [fork.Process(target=lambda: rates.put(rate_of(codec.encode_plain, lines))) for _ in range(cores)]
    for process in processes:
        process.start()
    total: float = sum(rates.get() for _ in processes)
    for process in processes:
        process.join()
    return total


def rate_of(encode: Callable[[bytes], object], lines: list[bytes]) -> float:
    began, count = time.monotonic(), 0
    while (took := time.monotonic() - began) < ALONE:
        for line in lines:
            encode(line)
        count += len(lines)
    return count / took


def cpu() -> tuple[float, float, float]:
    """CPU seconds so far: of Python workers and of the JVM, ended ones too, and of all else on this machine."""
    python = jvm = 0
    for pid in descendants(os.getpid()):
        try:
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
        except OSError:
            continue
        times = list(map(int, rest.split()[11:15]))
        if name.endswith("(java"):
            jvm += sum(times[:2])  # what it waited for are its Python workers
        else:
            python += sum(times)
    busy = list(map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]))
    rest_of_all = sum(busy) - busy[3] - busy[4] - python - jvm  # all but idle, and idle while a disk works
    return python / TICKS, jvm / TICKS, rest_of_all / TICKS


if __name__ == "__main__":
    main(sys.argv[1:])
