"""Several processes on one port, on the embedded default: work is shared, a dead one is replaced, all stop together."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from pathlib import Path

import httpx2
import psutil
import pytest

from tests.command import inlake, serving

pytestmark = pytest.mark.slow

SCHEMA = '{"type": "record", "name": "N", "fields": [{"name": "n", "type": "int"}]}'


def workers(parent: int) -> list[psutil.Process]:
    """The processes that listen, without the one that multiprocessing keeps beside them."""
    return [p for p in psutil.Process(parent).children() if "spawn_main" in " ".join(_command(p))]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has just died
        return []


def test_workers_share_the_work_and_a_dead_one_is_replaced(tmp_path: Path) -> None:
    with serving(tmp_path, INLAKE_WORKERS="2") as served:
        (tmp_path / "n.avsc").write_text(SCHEMA)
        assert served.inlake("schemas", "add", "n", tmp_path / "n.avsc").returncode == 0
        ids: list[str] = []

        def send() -> None:
            for n in range(50):
                answer = httpx2.post(f"{served.url}/ingress/record-json?schema=n", json={"n": n}, timeout=30)
                assert answer.status_code == 201
                ids.append(answer.json()["id"])

        clients = [threading.Thread(target=send) for _ in range(4)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert len(set(ids)) == 200
        assert served.inlake("tail", "--from-start", "--json").stdout.count("\n") == 200
        before = workers(served.process.pid)
        assert len(before) == 2
        parent = psutil.Process(served.process.pid).memory_info().rss
        assert all(parent < 0.6 * p.memory_info().rss for p in before), "the parent only watches"
        assert all(sum(p.cpu_times()[:2]) > 0.5 for p in before)
        os.kill(before[0].pid, signal.SIGKILL)
        end = time.monotonic() + 20
        while len(alive := workers(served.process.pid)) < 2 or before[0] in alive:
            assert time.monotonic() < end
            time.sleep(0.1)
        for _ in range(20):
            assert httpx2.get(f"{served.url}/health/live", timeout=10).status_code == 200
        children = psutil.Process(served.process.pid).children(recursive=True)
    _, left = psutil.wait_procs(children, timeout=5)  # what multiprocessing keeps beside them ends a little later
    assert not left, "they stop together"


def test_a_port_that_is_taken_is_said_also_with_workers(tmp_path: Path) -> None:
    with serving(tmp_path, INLAKE_WORKERS="2") as served:
        done = inlake("serve", cwd=tmp_path, INLAKE_WORKERS="2", INLAKE_PORT=served.url.rpartition(":")[2])
        assert done.returncode != 0
        assert "INLAKE_PORT" in done.stderr


def test_workers_count_quotas_together_exactly(tmp_path: Path) -> None:
    with serving(tmp_path, INLAKE_WORKERS="2", INLAKE_QUOTA_PRINCIPAL="requests=60") as served:
        statuses: list[int] = []

        def send() -> None:
            for _ in range(25):  # a connection each: the kernel spreads them over the workers
                answer = httpx2.get(f"{served.url}/schemas", timeout=30)
                statuses.append(answer.status_code)

        clients = [threading.Thread(target=send) for _ in range(4)]
        began = time.monotonic()
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        assert time.monotonic() - began < 60, "within the minute"
        assert statuses.count(200) == 60
        assert statuses.count(429) == 40


def test_any_worker_tells_the_metrics_of_all_and_of_one_that_was_killed(tmp_path: Path) -> None:
    def told() -> float:
        text = httpx2.get(f"{served.url}/metrics", timeout=30).text
        found = re.findall(r'^inlake_requests_total\{route="/schemas",status="200"\} (\d+)', text, re.MULTILINE)
        return sum(map(int, found))

    with serving(tmp_path, INLAKE_WORKERS="2") as served:
        for _ in range(40):  # a connection each
            assert httpx2.get(f"{served.url}/schemas", timeout=30).status_code == 200
        assert {told() for _ in range(10)} == {40}
        before = workers(served.process.pid)
        os.kill(before[0].pid, signal.SIGKILL)
        end = time.monotonic() + 60
        while len(alive := workers(served.process.pid)) < 2 or before[0] in alive:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert told() == 40
