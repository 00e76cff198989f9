"""The benchmark works, and does not flatter: it stops at a wrong answer, and a server that stalls is not spared."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from time import process_time

import pytest
from benchmarks import growth, report
from benchmarks.cases import Case, Figures
from benchmarks.load import LoadError, Pool, percentile, post
from benchmarks.targets import Run, verdicts

from tests.docs.pages import ROOT

OK = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}"
REQUEST = post("/x", "application/json", [b"{}"], b"HTTP/1.1 201 ")


@pytest.fixture
def port() -> Iterator[int]:
    """A server that answers each request at once, the fifth after 0.2 s and the tenth with 500."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_answer, args=(listening,), daemon=True).start()
        yield listening.getsockname()[1]


def _answer(listening: socket.socket) -> None:
    client, _ = listening.accept()
    with client:
        for n in range(1, 11):
            if not client.recv(10_000):
                return
            if n == 5:
                time.sleep(0.2)
            client.sendall(OK if n < 10 else b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n")


@pytest.mark.slow
def test_all_of_it_runs_and_prints_its_tables() -> None:
    command = [sys.executable, "-m", "benchmarks", "--tiny", "--embedded"]
    page = report.PAGE.read_text()
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": "src"}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    for words in (
        "| single, flat, avro, embedded |",
        "| stream, flat, avro, embedded |",
        "| hello-world POST, beside flat avro embedded |",
    ):
        assert words in done.stdout
    assert report.PAGE.read_text() == page  # only a whole run goes there


@pytest.mark.slow
def test_two_commits_are_loaded_in_turn() -> None:
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "--tiny",
        "--embedded",
        "--against",
        "HEAD",
        "--only",
        "single flat avro",
    ]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": "src"}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    row = re.search(r"^\| single flat avro embedded \| (\S+) \| (\S+) \| (\S+) \|", done.stdout, re.MULTILINE)
    assert row, done.stdout
    then, now, ratio = map(float, row.groups())
    assert then > 0 < now
    assert 0.3 < ratio < 3  # the same code, but for what is not yet committed


def test_a_wrong_answer_stops_the_load(port: int) -> None:
    with pytest.raises(LoadError, match="500 Oh"), Pool(port, 1, [REQUEST]) as pool:
        pool.saturate(5)


def test_requests_that_a_stall_held_up_count_from_when_they_were_due(port: int) -> None:
    with Pool(port, 1, [REQUEST]) as pool:
        times = pool.pace(rate=50, seconds=0.17)
    assert len(times) == 9
    assert percentile(times[:4], 0.99) < 100
    assert percentile(times[4:7], 0.0) > 100  # the fifth, and those that were due while it waited


def test_a_target_is_judged_by_its_worst_case() -> None:
    slow, quick = Case("stream", "flat", "avro", "kafka"), Case("ndjson-1000", "flat", "avro", "kafka")
    run = Run()
    for case, records in ((slow, 140_000), (quick, 160_000)):
        run.cases[case] = Figures(records, cpu_us=6, server=1, client=0.1, memory=90, most_memory=99)
    found = {verdict.what: verdict for verdict in verdicts(run)}
    rate = found["NDJSON, avro, Kafka, flat: records/s on one core"]
    cpu = found["NDJSON, avro, Kafka, flat: CPU for a record, us"]
    assert (rate.worst, rate.met, cpu.met) == ("140,000 (stream flat avro kafka)", False, True)


async def test_what_grows_faster_than_what_is_asked_for_is_found() -> None:
    def using(seconds: float) -> growth.Work:
        async def work() -> None:
            end = process_time() + seconds
            while process_time() < end:
                pass

        return work

    async def quadratic(_: growth.Site, count: int) -> tuple[int, growth.Work]:
        return count, using(1e-6 * count**2)

    async def linear(_: growth.Site, count: int) -> tuple[int, growth.Work]:
        return count, using(5e-5 * count)

    assert [(await growth.grown("x", case, 200)).met for case in (quadratic, linear)] == [False, True]


@pytest.mark.slow
async def test_each_case_of_growth_runs() -> None:
    told: list[str] = []
    rows = await growth.measure(0.01, told.append)
    assert len(rows) == len(told) == len(growth.CASES) + 3
    assert growth.table(rows).count("\n| ") == len(rows) + 1


def test_the_page_has_a_place_for_each_section() -> None:
    page = report.PAGE.read_text()
    for section in ("gateway", "uploads", "growth"):
        assert page.count(f"<!-- {section}: written by make bench -->") == page.count(f"<!-- {section}: end -->") == 1
