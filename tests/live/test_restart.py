"""Two gateways behind nginx are restarted in turn, under load: not one request fails."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.command import Served, inlake, log_of, serving, start, wait_until_alive
from tests.nginx import nginx, nginx_program

pytestmark = pytest.mark.slow
SCHEMA = '{"type": "record", "name": "N", "fields": [{"name": "n", "type": "int"}, {"name": "__resource_path__", "type": ["null", "string"], "default": null}]}'
DELAY = 2
ROUNDS = int(os.environ.get("INLAKE_TEST_RESTARTS", "1"))
"""How often each of the two is restarted; more than once with two workers each, too."""


def stop(served: Served) -> None:
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(60) == 0, log_of(served)


@contextlib.contextmanager
def sending(url: str, ca: Path, clients: int = 6) -> Iterator[list[tuple[int, str]]]:
    """Clients that send records and small binaries without a pause: status and id of each answer, or 0 and why not."""
    told: list[tuple[int, str]] = []
    over = threading.Event()

    def run(seed: int) -> None:
        with httpx2.Client(verify=ssl.create_default_context(cafile=str(ca)), timeout=60, trust_env=False) as client:
            n = seed
            while not over.is_set():
                n += clients
                try:
                    if n % 5:
                        answer = client.post(f"{url}/ingress/record-json?schema=n", json={"n": n})
                    else:
                        parts: Any = {"record": (None, f'{{"n": {n}}}'), "file": ("a", os.urandom(50_000))}
                        answer = client.post(f"{url}/ingress/record-json-and-binary?schema=n", files=parts)
                    told.append((answer.status_code, answer.json()["id"] if answer.status_code == 201 else answer.text))
                except (httpx2.HTTPError, ValueError) as error:
                    told.append((0, repr(error)))

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield told
    finally:
        over.set()
        for thread in threads:
            thread.join(90)


def wait_for_more(told: list[tuple[int, str]], count: int = 100) -> None:
    wanted, end = len(told) + count, time.monotonic() + 60
    while len(told) < wanted:
        assert time.monotonic() < end, told[-5:]
        time.sleep(0.05)


@pytest.mark.parametrize("workers", ["1"] if ROUNDS == 1 else ["1", "2"])
def test_a_rolling_restart_under_load_fails_no_request(tmp_path: Path, workers: str) -> None:
    nginx_program()
    (tmp_path / "n.avsc").write_text(SCHEMA)
    assert inlake("schemas", "add", "n", tmp_path / "n.avsc", cwd=tmp_path).returncode == 0
    settings = {
        "INLAKE_STOP_DELAY": str(DELAY),
        "INLAKE_ROOT_PATH": "/inlake",
        "INLAKE_TRUSTED_PROXIES": "unix",
        "INLAKE_WORKERS": workers,
        "INLAKE_ALLOW_ANONYMOUS": "true",
        "INLAKE_URL": "http://127.0.0.1",
    }
    sockets = [tmp_path / "a.sock", tmp_path / "b.sock"]
    running = [start(tmp_path, **settings, INLAKE_UNIX_SOCKET=str(path)) for path in sockets]
    try:
        for served in running:
            wait_until_alive(served)
        with nginx(tmp_path, *sockets) as (url, ca), sending(url, ca) as told:
            for which in [0, 1] * ROUNDS:
                wait_for_more(told)
                stop(running[which])
                wait_for_more(told, 20)  # by the other one alone
                running[which] = start(tmp_path, **settings, INLAKE_UNIX_SOCKET=str(sockets[which]))
                wait_until_alive(running[which])
            wait_for_more(told)
    finally:
        for served in running:
            served.process.terminate()
            served.process.wait(60)
    print(f"{len(told)} requests, {2 * ROUNDS} restarts")
    assert Counter(status for status, _ in told).keys() == {201}, [one for one in told if one[0] != 201][:10]
    assert not any(path.exists() for path in sockets), "nothing is left of them"
    events = map(json.loads, inlake("tail", "--from-start", "--json", cwd=tmp_path).stdout.splitlines())
    assert {id_ for _, id_ in told} == {event["headers"]["ce_id"] for event in events}


def test_a_gateway_that_stops_says_so_and_still_answers_for_a_while(tmp_path: Path) -> None:
    with serving(tmp_path, INLAKE_STOP_DELAY="6") as served, httpx2.Client(trust_env=False, timeout=30) as client:
        assert client.get(f"{served.url}/health/ready").json()["status"] == "ready"
        served.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 20
        while (ready := client.get(f"{served.url}/health/ready")).status_code == 200 and time.monotonic() < end:
            time.sleep(0.05)
        ready = client.get(f"{served.url}/health/ready")  # the one before may have begun while nobody had said stop
        assert (ready.status_code, ready.json()["status"]) == (503, "stopping")
        assert ready.headers["connection"] == "close"
        assert ready.headers["retry-after"] == "5"
        assert client.get(f"{served.url}/health/live").status_code == 200, "it takes new connections"
        assert served.process.wait(60) == 0
