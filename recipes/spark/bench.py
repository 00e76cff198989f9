"""What a record costs in Spark, beside the codec alone: `make spark-bench ARGS="10000 100000 1000000"`.

CPU is that of Spark's JVM and Python workers, Kafka's not among it; the codec is measured in this process, before and
after each job, since a machine that others use too is never twice the same. What a job costs that has one record is its
start, told first and taken off the others.
"""

from __future__ import annotations

import asyncio
import gzip
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from inlake.codecs import Codecs
from inlake.ports import Codec
from inlake_spark import batch
from inlake_spark.job import Job
from inlake_spark.session import open_session
from inlake_spark.sources.lines import JsonLines

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests import live_servers  # noqa: E402

from recipes.spark.tests.live.test_kills import descendants  # noqa: E402
from recipes.spark.tests.world import EXAMPLES, World  # noqa: E402

SCHEMA = "tate.artwork"
SIZES = (10_000, 100_000, 1_000_000)
WARM_UP = 10_000
COLUMNS = (
    "master",
    "records",
    "s",
    "records/s",
    "CPU of a record, us",
    "of it Python",
    "codec alone, us",
    "codec by job, CPU",
    "the same, clock",
)
TICKS = os.sysconf("SC_CLK_TCK")


class Cost(NamedTuple):
    """What a job took, in seconds: by the clock, and of CPU."""

    clock: float
    python: float
    jvm: float

    def beyond(self, start: Cost) -> Cost:
        return Cost(*(of_all - of_start for of_all, of_start in zip(self, start, strict=True)))

    @property
    def cpu(self) -> float:
        return self.python + self.jvm


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
    spark = open_session(master=master, conf={"spark.ui.enabled": "false"})
    with tempfile.TemporaryDirectory(prefix="inlake-spark-bench-") as folder:
        for _ in range(3):
            cost_of(spark, world, Path(folder), lines, WARM_UP)
        start = min(cost_of(spark, world, Path(folder), lines, cores) for _ in range(3))
        print(
            f"| {master} | start | {start.clock:.1f} | | {start.cpu:.1f} s | {start.python:.1f} s | | | |", flush=True
        )
        for size in sizes:
            before = codec_us(codec, lines)
            cost = cost_of(spark, world, Path(folder), lines, size).beyond(start)
            alone = (before + codec_us(codec, lines)) / 2
            us, rate = cost.cpu / size * 1e6, size / cost.clock
            told = (
                master,
                f"{size:,}",
                f"{cost.clock:.1f}",
                f"{rate:,.0f}",
                f"{us:.1f}",
                f"{cost.python / size * 1e6:.1f}",
            )
            ratios = (f"{alone:.1f}", f"{alone / us:.2f}", f"{rate * alone / cores / 1e6:.2f}")
            print(f"| {' | '.join(told + ratios)} |", flush=True)
    spark.stop()


def cost_of(spark: object, world: World, folder: Path, lines: list[bytes], size: int) -> Cost:
    """What a job of so many records takes."""
    job, before = world.job(SCHEMA), cpu()
    seconds, after = run(spark, job, folder, lines, size), cpu()
    return Cost(seconds, after["python"] - before["python"], after["java"] - before["java"])


def run(spark: object, job: Job, folder: Path, lines: list[bytes], size: int) -> float:
    """Seconds that the job took."""
    file = folder / f"{size}-{uuid4().hex}.ndjson"
    with file.open("wb") as out:
        for n in range(size):
            out.write(lines[n % len(lines)] + b"\n")
    source = JsonLines([str(file)])
    frame = source.frame(spark)  # type: ignore[arg-type]
    report = batch.ingest(frame, job, source, f"{folder}/rejects")
    assert (report.accepted, report.rejected) == (size, 0), report.text()
    file.unlink()
    return report.seconds


def codec_us(codec: Codec, lines: list[bytes]) -> float:
    """CPU microseconds a record, of the codec in a loop."""
    started = time.process_time()
    for line in lines:
        codec.encode_plain(line)
    return (time.process_time() - started) / len(lines) * 1e6


def cpu() -> dict[str, float]:
    """CPU seconds of the processes below this one, ended ones too: `java`, and `python` for all others."""
    total = {"java": 0.0, "python": 0.0}
    for pid in descendants(os.getpid()):
        try:
            name, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
        except OSError:
            continue
        # what the JVM waited for are its Python workers
        own = 13 if name.endswith("(java") else 15
        total["java" if own == 13 else "python"] += sum(map(int, rest.split()[11:own])) / TICKS
    return total


if __name__ == "__main__":
    main(sys.argv[1:])
