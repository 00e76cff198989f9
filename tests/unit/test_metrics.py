"""Metrics of several processes in one answer: sums, what a process that died has left, and the text format."""

from __future__ import annotations

import multiprocessing
import os
import signal

from inlake.metrics import SLOT, Metrics
from inlake.web.serving.workers import SharedFile

RESULT = (("result", "accepted"),)


def numbers(text: str) -> dict[str, float]:
    """Each sample by its name with its labels."""
    samples = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    return {name: float(number) for name, _, number in samples}


def _count(file: SharedFile, own: int, times: int) -> None:
    metrics = Metrics(file.descriptor, slots=3, own=own)
    metrics.gauge("in_flight", "Now.", lambda: 2)
    for _ in range(times):
        metrics.counter("records_total", "Records.", RESULT).value += 1
        metrics.histogram("seconds", "Time.").observe(0.004)
    metrics.tell()
    os.kill(os.getpid(), signal.SIGKILL)


def _run(*arguments: object) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_count, args=arguments)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_each_process_tells_the_sums_of_all_and_a_new_one_goes_on_where_a_killed_one_was() -> None:
    file = SharedFile(3 * SLOT)
    _run(file, 1, 100)
    _run(file, 2, 10)
    _run(file, 1, 5)
    metrics = Metrics(file.descriptor, slots=3, own=0)
    metrics.counter("records_total", "Records.", RESULT).value += 1
    metrics.counter("records_total", "Records.", (("result", "failed"),)).value += 1
    metrics.gauge("in_flight", "Now.", lambda: 1)
    found = numbers(metrics.text())
    assert found['records_total{result="accepted"}'] == 116
    assert found['records_total{result="failed"}'] == 1
    assert found["in_flight"] == 5
    assert found["seconds_count"] == 115
    assert found['seconds_bucket{le="0.0025"}'] == 0
    assert found['seconds_bucket{le="0.005"}'] == 115
    assert round(found["seconds_sum"], 3) == 0.46


def test_a_counter_that_another_process_adds_later_is_in_the_sum() -> None:
    file = SharedFile(2 * SLOT)
    first, second = (Metrics(file.descriptor, slots=2, own=own) for own in (0, 1))
    assert "late_total" not in first.text()
    second.counter("late_total", "Late.").value += 7
    assert numbers(first.text())["late_total"] == 7
