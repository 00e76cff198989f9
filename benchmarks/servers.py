"""The processes that are measured: each on the server's core, with what it used read from /proc."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import psutil
from confluent_kafka.admin import AdminClient

from benchmarks.machine import on_the_servers_core
from benchmarks.records import ROOT

START_SECONDS = 30
MIB = 1 << 20
_CPUCLOCK_SCHED = 2
"""With the pid, the number of a process's CPU clock on Linux, as clock_getcpuclockid(3) makes it."""


class ServerError(Exception):
    """A server that is measured did not start or stop as it must; the message is its log."""


@dataclass(frozen=True, slots=True)
class Server:
    """A process and the port it listens on."""

    pid: int
    port: int

    def cpu(self) -> float:
        """Seconds of all its threads so far, user and system, where /proc counts in hundredths."""
        return time.clock_gettime(~self.pid << 3 | _CPUCLOCK_SCHED)

    def memory(self) -> float:
        """MiB resident now."""
        return float(psutil.Process(self.pid).memory_info().rss) / MIB

    def most_memory(self) -> float:
        """MiB resident at its most, since its start or since `forget_most`."""
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        assert found
        return int(found[1]) / 1024

    def forget_most(self) -> None:
        """Begin anew with the most (proc(5), clear_refs)."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def ask(self, path: str) -> bytes:
        """GET; the body of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        try:
            connection.request("GET", path)
            return connection.getresponse().read()
        finally:
            connection.close()


@contextlib.contextmanager
def running(
    command: Sequence[str], folder: Path, variables: Mapping[str, str], port: int, alive: str = "/health/live"
) -> Iterator[Server]:
    """The command on the server's core while the block runs, from when it answers at `alive`."""
    log = folder / "server.log"
    with log.open("wb") as out:
        process = subprocess.Popen(on_the_servers_core(command), cwd=folder, env=variables, stdout=out, stderr=out)
    server = Server(process.pid, port)
    try:
        _wait(server, process, alive, log)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(server: Server, process: subprocess.Popen[bytes], alive: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError):
            server.ask(alive)
            return
        time.sleep(0.02)
    raise ServerError(log.read_text()[-3000:])


def clean_environment(variables: Mapping[str, str], tree: Path = ROOT) -> dict[str, str]:
    """This process's environment without its settings of Inlake, with these variables, and with Inlake from `tree`."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("INLAKE_")}
    return {**own, "PYTHONPATH": f"{tree / 'src'}{os.pathsep}{ROOT}", "PYTHONUNBUFFERED": "1", **variables}


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def deployment(bus: str, tree: Path = ROOT) -> Iterator[tuple[Path, dict[str, str]]]:
    """An empty folder and the environment of a gateway on `bus`, `embedded` or `kafka`, with all schemas registered.

    The gateway is that of `tree`, which registers the schemas too. Events and topics go when the block ends. The
    folder is in build/, on a real disk: /tmp may be memory.
    """
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    folder, own = Path(tempfile.mkdtemp(dir=build)), f"bench-{uuid.uuid4().hex[:12]}"
    variables = {
        "INLAKE_BUS": f"sqlite:{folder}/events.db",
        "INLAKE_STORE": f"file:{folder}/store",
        "INLAKE_REGISTRY": f"dir:{folder}/schemas",
        "INLAKE_SUBJECT": f"{own}.{{schema}}",
        "INLAKE_TOPIC": f"{own}.{{schema}}",
    }
    if bus == "kafka":
        variables |= {
            "INLAKE_BUS": f"kafka://{os.environ['KAFKA_BOOTSTRAP']}",
            "INLAKE_REGISTRY": os.environ["SCHEMA_REGISTRY_URL"],
            "INLAKE_KAFKA_CREATE_TOPICS": "true",
        }
    environment = clean_environment(variables, tree)
    try:
        subprocess.run([sys.executable, "-m", "benchmarks.records"], cwd=folder, env=environment, check=True)
        yield folder, environment
    finally:
        shutil.rmtree(folder)
        if bus == "kafka":
            _delete_topics(own)


@contextlib.contextmanager
def gateway(
    bus: str, settings: Mapping[str, str] = MappingProxyType({}), *, measured: bool = False, tree: Path = ROOT
) -> Iterator[Server]:
    """`inlake serve` on a deployment of its own; `measured`: with the clock in its event loop."""
    with deployment(bus, tree) as (folder, environment):
        port = free_port()
        program = ["benchmarks.measured"] if measured else ["inlake", "serve"]
        own = {**environment, **settings, "INLAKE_PORT": str(port)}
        with running([sys.executable, "-m", *program], folder, own, port) as server:
            yield server


def _delete_topics(own: str) -> None:
    admin = AdminClient({"bootstrap.servers": os.environ["KAFKA_BOOTSTRAP"]})
    topics = [name for name in admin.list_topics(timeout=10).topics if name.startswith(own)]
    for deleted in admin.delete_topics(topics).values() if topics else ():
        deleted.result()
