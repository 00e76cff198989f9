"""What a record costs in Spark, beside the codec alone: `make spark-bench ARGS="10000 100000 1000000"`.

CPU is that of Spark's JVM and Python workers, Kafka's not among it; the codec is measured in this process, before and
after each job, since a machine that others use too is never twice the same.
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
SIZES = (10_000, 100_000)
WARM_UP = 10_000
TICKS = os.sysconf("SC_CLK_TCK")


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["in"]:
        measure(arguments[1], [int(size) for size in arguments[2:]])
        return
    print("| master | records | s | records/s | CPU us a record | codec alone, us | codec by job, CPU |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for master in ("local[1]", "local[2]"):
        subprocess.run([sys.executable, __file__, "in", master, *(arguments or map(str, SIZES))], check=True)


def measure(master: str, sizes: list[int]) -> None:
    world = World(live_servers.deployment(f"b{uuid4().hex[:12]}") | {"INLAKE_PARTITION_BY": "event"})
    world.register(SCHEMA)
    job = world.job(SCHEMA)
    lines = gzip.decompress((EXAMPLES / "tate/artworks.ndjson.gz").read_bytes()).splitlines()[:4700]
    label, settings = job.label, job.settings
    assert label is not None
    codec = asyncio.run(Codecs(job.schemas, settings).find(label.schema)).codec
    spark = open_session(master=master, conf={"spark.ui.enabled": "false", "spark.sql.files.maxPartitionBytes": "16m"})
    with tempfile.TemporaryDirectory(prefix="inlake-spark-bench-") as folder:
        run(spark, world.job(SCHEMA), Path(folder), lines, WARM_UP)
        for size in sizes:
            before = codec_us(codec, lines)
            started = cpu()
            seconds = run(spark, world.job(SCHEMA), Path(folder), lines, size)
            job_us = (cpu() - started) / size * 1e6
            alone = (before + codec_us(codec, lines)) / 2
            told = (master, f"{size:,}", f"{seconds:.1f}", f"{size / seconds:,.0f}", f"{job_us:.1f}", f"{alone:.1f}")
            print(f"| {' | '.join(told)} | {alone / job_us:.2f} |", flush=True)
    spark.stop()


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


def cpu() -> float:
    """CPU seconds of all processes below this one, ended ones too."""
    total = 0
    for pid in descendants(os.getpid()):
        try:
            words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, words[11:15]))
    return total / TICKS


if __name__ == "__main__":
    main(sys.argv[1:])
