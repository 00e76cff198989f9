"""Which core measures and which is measured, and what this machine is called in the tables."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import confluent_kafka

import inlake
from benchmarks.records import ROOT

PACKAGES = ("uvicorn", "uvloop", "msgspec", "jsonschema-rs", "confluent-kafka", "obstore")
PASSED_ON = "BENCHMARK_CORES"
"""Tells a program that was started on the other cores which cores there are."""


def cores() -> list[int]:
    """The cores this benchmark may use; the first is the server's, the others are the load's and Kafka's."""
    told = os.environ.get(PASSED_ON)
    return [int(core) for core in told.split(",")] if told else sorted(os.sched_getaffinity(0))


def server_core() -> int:
    return cores()[0]


def leave_the_servers_core() -> None:
    """Move this process, and what it starts from now on, to the other cores (where there is more than one)."""
    os.environ[PASSED_ON] = ",".join(map(str, cores()))
    os.sched_setaffinity(0, cores()[1:] or cores())


def on_the_servers_core(command: Sequence[str]) -> list[str]:
    """The command, pinned; `taskset` becomes it, so that the process id is its own."""
    return ["taskset", "-c", str(server_core()), *command]


def describe(seconds: float) -> str:
    """One paragraph of Markdown: what was measured, on what, when; `seconds`: how long each case took."""
    librdkafka, _ = confluent_kafka.libversion()
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"Inlake {inlake.__version__} on {datetime.now(UTC):%Y-%m-%d}: {len(cores())} cores of {_processor()}, "
        f"{_memory_gib():.0f} GiB, {platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"{packages}, librdkafka {librdkafka}, Kafka {_pinned('KAFKA_VERSION')}, versitygw "
        f"{_pinned('VERSITYGW_VERSION')}. Core {server_core()} was the server's. {seconds:g} s for each case. Load of "
        f"the machine before the start: {os.getloadavg()[0]:.1f}."
    )


def _pinned(variable: str) -> str:
    """A version that services.sh installs."""
    pinned = (ROOT / "services" / "lib" / "settings.sh").read_text()
    found = re.search(rf"^{variable}=\$\{{{variable}:-(.+?)\}}", pinned, re.MULTILINE)
    assert found
    return os.environ.get(variable, found[1])


def _processor() -> str:
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
