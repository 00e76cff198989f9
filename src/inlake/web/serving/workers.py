"""Several processes on one port: each with its own socket (SO_REUSEPORT), restarted when it dies, stopped together."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from multiprocessing.reduction import DupFd
from typing import Any, NamedTuple

from inlake.settings import Settings

log = logging.getLogger("inlake.web")
QUICK_DEATH = 5.0
"""Seconds: a worker that dies younger than this is restarted after a pause, so that a fault at start is no storm."""
Work = Callable[[Settings, Mapping[str, str], "Shared", int], None]
Attempt = Callable[[Settings, Mapping[str, str]], str]


class SharedFile:
    """A file without a name, of zeros, which the workers have from their parent."""

    def __init__(self, size: int) -> None:
        """Raises `OSError`."""
        with tempfile.TemporaryFile() as file:
            file.truncate(size)
            self.descriptor = os.dup(file.fileno())

    def __reduce__(self) -> tuple[Any, ...]:
        """The parts that a worker makes its own of, when it is started."""
        return _received, (DupFd(self.descriptor),)


def _received(inherited: Any) -> SharedFile:
    file = SharedFile.__new__(SharedFile)
    file.descriptor = inherited.detach()
    return file


class Shared(NamedTuple):
    """All that the workers have from their parent."""

    held: socket.socket
    """Holds the port; a Unix socket takes the connections of all."""
    usage: SharedFile
    """The table that the quotas count in."""
    metrics: SharedFile
    """The memory that each counts its requests in."""


def run_workers(
    work: Work, settings: Settings, environment: Mapping[str, str], shared: Shared, leave: Callable[[Settings], None]
) -> None:
    """Run `settings.workers` processes of `work(settings, environment, shared, number)` until SIGINT or SIGTERM.

    Then `leave(settings)` is called, and all are stopped. A process that is started anew has the number of the one
    before it.

    The kernel spreads connections over their sockets evenly. One socket shared by all would not do: it once gave one of
    two workers 84 % of the work.
    """
    context = multiprocessing.get_context("spawn")  # a fork would share librdkafka's threads and locks
    stopping = False

    def stop(*signalled: Any) -> None:  # noqa: ARG001
        nonlocal stopping
        stopping = True
        leave(settings)
        for process, _ in workers:
            if process.is_alive():
                process.terminate()

    def start(number: int) -> tuple[SpawnProcess, float]:
        process = context.Process(target=work, args=(settings, environment, shared, number))
        process.start()
        return process, time.monotonic()

    workers = [start(number) for number in range(settings.workers)]
    for number in signal.SIGINT, signal.SIGTERM:
        signal.signal(number, stop)
    while not stopping:
        wait([process.sentinel for process, _ in workers], timeout=0.5)
        for i, (process, born) in enumerate(workers):
            if process.is_alive() or stopping:
                continue
            log.error("worker %s ended with %s and is started anew", process.pid, process.exitcode)
            if time.monotonic() - born < QUICK_DEATH:
                time.sleep(1)
            workers[i] = start(i)
    for process, _ in workers:
        process.terminate()
        process.join(settings.stop_delay + settings.shutdown_seconds + 10)
        if process.is_alive():
            log.error("worker %s did not stop in time and is killed", process.pid)
            process.kill()


def try_once(attempt: Attempt, settings: Settings, environment: Mapping[str, str]) -> str:
    """The text that `attempt(settings, environment)` returns in a process of its own, whose memory is free afterwards.

    Raises `SystemExit` when that process fails: it has said why.
    """
    context = multiprocessing.get_context("spawn")
    answers, answer = context.Pipe(duplex=False)
    process = context.Process(target=_try, args=(attempt, settings, environment, answer))
    process.start()
    answer.close()
    try:
        told: str = answers.recv()
    except EOFError:
        process.join()
        raise SystemExit(process.exitcode or 1) from None
    process.join()
    return told


def _try(attempt: Attempt, settings: Settings, environment: Mapping[str, str], answer: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all: the parent ends
    answer.send(attempt(settings, environment))


def end_with_parent() -> None:
    """Stop this worker when its parent is gone, also when that was killed: orphans would hold the port."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def reserve_port(host: str, port: int, family: socket.AddressFamily) -> socket.socket:
    """A socket that holds the port for the workers and takes no connection itself. Raises `OSError` if it is taken."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:  # without SO_REUSEPORT: is anybody else there?
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        probe.listen(1)
        port = probe.getsockname()[1]
    held = socket.socket(family, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind((host, port))
    return held
