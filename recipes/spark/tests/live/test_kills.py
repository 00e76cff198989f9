"""A stream whose JVM and Python workers are killed, and started again: every record has its event, and no other."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from confluent_kafka import KafkaException

from inlake_spark.ids import Ids
from recipes.spark.tests.world import NOTE, ROOT, World

pytestmark = [
    pytest.mark.live,
    pytest.mark.timeout(3000),
    pytest.mark.skipif("INLAKE_TEST_SPARK_FULL" not in os.environ, reason="minutes: INLAKE_TEST_SPARK_FULL=1 runs it"),
]
RECORDS, FILES, KILLS = 200_000, 40, 5


def test_a_stream_that_is_killed_makes_every_event_and_no_other(world: World, tmp_path: Path) -> None:
    world.register_text("note", NOTE)
    landing = tmp_path / "landing"
    landing.mkdir()
    expected = set()
    for n in range(FILES):
        file, at = landing / f"{n:03}.ndjson", 0
        ids = Ids(b"note", f"file:{file}")
        each = RECORDS // FILES
        lines = [b'{"title": "%d of %d"}' % (m, n) for m in range(each)]
        for line in lines:
            expected.add(ids.of(at, line))
            at += len(line) + 1
        file.write_bytes(b"\n".join(lines) + b"\n")
    killed: list[str] = []
    for victim in itertools.islice(itertools.cycle(["java", "worker"]), KILLS):
        with streaming(world, tmp_path, landing) as process:
            kill(process, victim, published(world) + 1, world)
            killed.append(victim)
    with streaming(world, tmp_path, landing, "--once") as process:
        assert process.wait(900) == 0, log(tmp_path)
    messages = world.messages(world.topic("note"))
    assert {message.id for message in messages} == expected
    print(f"{len(messages):,} messages of {len(expected):,} events after SIGKILL to {', '.join(killed)}")


def kill(process: subprocess.Popen[bytes], victim: str, least: int, world: World) -> None:
    """SIGKILL once there are so many messages; it happens in the midst of the next ones."""
    ends = time.monotonic() + 600
    while published(world) < least and process.poll() is None:
        assert time.monotonic() < ends
        time.sleep(0.1)
    assert process.poll() is None, "it ended before it was killed: there is nothing left to do"
    found = [pid for pid in descendants(process.pid) if is_a(pid, victim)]
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert found
    if victim == "worker":
        time.sleep(3)  # its task is tried again by another one


@contextmanager
def streaming(world: World, folder: Path, landing: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command, as an operator's supervisor runs it; a failed task is tried four times."""
    command = [sys.executable, "-m", "inlake_spark", "stream", "note", str(landing), "--master", "local[2,4]"]
    command += [
        "--rejects",
        f"{folder}/rejects",
        "--checkpoint",
        f"{folder}/checkpoint",
        "--json",
        "--most",
        "3",
        *more,
    ]
    command += ["--conf", "spark.ui.enabled=false", "--conf", "spark.sql.files.maxPartitionBytes=64k"]
    environment = {**os.environ, **world.environment}
    with (folder / "log").open("ab") as out:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out, start_new_session=True)
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            for pid in descendants(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait(30)


def log(folder: Path) -> str:
    return (folder / "log").read_text()[-5000:]


def published(world: World) -> int:
    try:
        return world.count(world.topic("note"))
    except (KafkaException, KeyError):
        return 0


def descendants(pid: int) -> list[int]:
    """All processes below one."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry.name))
    found, left = [], [pid]
    while left:
        below = children.get(left.pop(), [])
        found += below
        left += below
    return found


def is_a(pid: int, victim: str) -> bool:
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
        if victim == "java":
            return words[0].endswith("java")
        parent = (Path(f"/proc/{pid}/stat").read_text()).rpartition(")")[2].split()[1]
        above = Path(f"/proc/{parent}/cmdline").read_bytes().decode().split("\0")
        return "pyspark.daemon" in words and "pyspark.daemon" in above
    return False
