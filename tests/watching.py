"""The memory of a gateway's process while something is done to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from tests.command import Served

MIB = 1 << 20


@contextmanager
def watched(served: Served, what: str, *, lines: int = 0, most: int = 50 * MIB) -> Iterator[None]:
    """The gateway takes at most so many bytes more than it has now. Prints that, and what a line of a stream costs."""
    gateway, done = psutil.Process(served.process.pid), threading.Event()
    idle = peak = gateway.memory_info().rss

    def look() -> None:
        nonlocal peak
        while not done.wait(0.05):
            peak = max(peak, gateway.memory_info().rss)

    looking = threading.Thread(target=look)
    looking.start()
    began, used, written = time.monotonic(), sum(gateway.cpu_times()[:2]), gateway.io_counters().write_bytes
    try:
        yield
    finally:
        done.set()
        looking.join()
    seconds, used = time.monotonic() - began, sum(gateway.cpu_times()[:2]) - used
    written = gateway.io_counters().write_bytes - written
    rate = ""
    if lines:
        rate = f"{lines:,} lines, {lines / seconds:,.0f}/s, {used / lines * 1e6:.1f} us of processor and {written // lines:,} bytes to disk each; "
    print(f"{what}: {seconds:.1f} s, {rate}memory {idle / MIB:.0f} MiB, at most {(peak - idle) / MIB:.0f} MiB more")
    assert peak - idle < most
