"""One `Idempotency-Key` again and again: over restarts, two processes, at once, and over SIGKILL at any moment."""

from __future__ import annotations

import itertools
import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.command import Served, free_port, start, wait_until_alive
from tests.gateways import form
from tests.witness import Deployment, Seen, check, embedded, on_servers, wait_until_settled

REPEATS = int(os.environ.get("INLAKE_TEST_REPEATS", "12"))
KILLS = int(os.environ.get("INLAKE_TEST_KILLS", "1"))
SETTINGS = {
    "INLAKE_UPLOAD_TIMEOUT": "2",
    "INLAKE_SWEEP_SECONDS": "1",
    "INLAKE_BUS_TIMEOUT": "5",
    "INLAKE_LOG_LEVEL": "warning",
}
SETTLED = 30
# tests/api/test_idempotency_crashes.py dies at every step on the embedded default
DEPLOYMENTS = [embedded, pytest.param(on_servers, marks=pytest.mark.live)]
Deploy = Callable[..., AbstractContextManager[Deployment]]


def gateway(d: Deployment, port: int | None = None) -> Served:
    port = port or free_port()
    served = start(d.folder, **d.variables, INLAKE_PORT=str(port), INLAKE_URL=f"http://127.0.0.1:{port}")
    wait_until_alive(served)
    return served


def end(*gateways: Served) -> None:
    for served in gateways:
        served.process.terminate()
    for served in gateways:
        assert served.process.wait(60) == 0


@dataclass
class Request:
    """What is sent with one key, and every answer to it."""

    key: str
    path: str
    body: bytes
    content_type: str
    answers: Counter[bytes] = field(default_factory=Counter)
    """Those that are final, whole."""
    statuses: Counter[int] = field(default_factory=Counter)
    """All; 0: the connection was lost."""

    def send(self, client: httpx2.Client, url: str) -> bool:
        """Whether it is answered now."""
        headers = {"idempotency-key": self.key, "content-type": self.content_type}
        try:
            answer = client.post(f"{url}/ingress/{self.path}", content=self.body, headers=headers)
        except httpx2.TransportError:
            self.statuses[0] += 1
            return False
        self.statuses[answer.status_code] += 1
        if answer.status_code == 201:
            self.answers[answer.content] += 1
        return answer.status_code == 201


def record(n: int) -> Request:
    return Request(f"r-{n}", "record-json?schema=note", b'{"n": %d}' % n, "application/json")


def stream(n: int) -> Request:
    body = b"".join(b'{"n": %d}\n' % line for line in range(50))
    return Request(f"s-{n}", "record-json?schema=note", body, "application/x-ndjson")


def binary(n: int, size: int = 1 << 20) -> Request:
    parts = ("record", b'{"n": %d}' % n, None, None), ("file", random.Random(n).randbytes(size), "a.bin", None)
    body, content_type = form(*(parts if n % 2 else parts[::-1]), boundary="a-boundary-of-its-own")
    return Request(f"b-{n}", "record-json-and-binary?schema=note", body, content_type)


def receipts(body: bytes) -> list[dict[str, Any]]:
    """Those of an answer."""
    return [line for line in map(json.loads, body.splitlines()) if "id" in line]


@pytest.mark.timeout(120 + REPEATS)
@pytest.mark.parametrize("deploy", DEPLOYMENTS)
def test_one_key_makes_one_event_and_one_receipt_however_often_it_is_sent(tmp_path: Path, deploy: Deploy) -> None:
    """Over two processes, eight clients at once, one of the processes stopped and started in the middle."""
    with deploy(tmp_path, **SETTINGS) as d:
        port = free_port()
        restarted, other = gateway(d, port), gateway(d)
        requests = [record(1), stream(2), binary(3, 100_000)]
        turns = itertools.cycle([restarted.url, other.url])
        with httpx2.Client(timeout=60, trust_env=False) as client, ThreadPoolExecutor(8) as pool:

            def send(request: Request) -> None:
                request.send(client, next(turns))

            for half in range(2):
                if half:
                    end(restarted)
                    restarted = gateway(d, port)
                list(pool.map(send, requests * (REPEATS // 2)))
        end(restarted, other)
        for request in requests:
            assert request.statuses.keys() <= {201, 409}, request.statuses
            assert sum(request.statuses.values()) == REPEATS // 2 * 2
            assert len(request.answers) == 1, "one receipt"
        events = d.witness.events()
        told = [r["id"] for request in requests for body in request.answers for r in receipts(body)]
        assert sorted(event.header("ce_id") for event in events) == sorted(told), "each event once"
        print(REPEATS, "times:", [dict(request.statuses) for request in requests], len(events), "events")


@pytest.mark.timeout(180 + 20 * KILLS)
@pytest.mark.parametrize("deploy", DEPLOYMENTS if KILLS > 1 else DEPLOYMENTS[1:])
def test_a_request_sent_until_it_is_answered_makes_one_event_though_its_process_is_killed(
    tmp_path: Path, deploy: Deploy
) -> None:
    with deploy(tmp_path, **SETTINGS) as d:
        port, chance = free_port(), random.Random(6)
        served = gateway(d, port)
        numbers, stop = itertools.count(1), threading.Event()
        sent: list[Request] = []

        def persist(make: Callable[[int], Request]) -> None:
            with httpx2.Client(timeout=60, trust_env=False) as client:
                while not stop.is_set():
                    request = make(next(numbers))
                    sent.append(request)
                    give_up = time.monotonic() + 60
                    while not request.send(client, served.url):
                        assert time.monotonic() < give_up, request.statuses
                        time.sleep(0.02)

        with ThreadPoolExecutor(4) as pool:
            clients = [pool.submit(persist, make) for make in (record, stream, binary, binary)]
            try:
                for _ in range(KILLS):
                    time.sleep(chance.uniform(0.2, 1.5))
                    served.process.kill()
                    served.process.wait()
                    served = gateway(d, port)
            finally:
                stop.set()
            for persisting in clients:
                persisting.result()
        with httpx2.Client(timeout=60, trust_env=False) as client:
            for request in sent:
                assert request.send(client, served.url), request.statuses
        wait_until_settled(d.witness, SETTLED)
        end(served)
        events = d.witness.events()
        print(KILLS, "kills:", len(sent), "requests,", check([], d.witness, settled=True))
        check_each(sent, events)


def check_each(sent: list[Request], events: list[Seen]) -> None:
    """Every request has one answer, every event of it is on the bus, where the receipt says, and no other is."""
    places = {event[:3]: event.header("ce_id") for event in events}
    told = set[str]()
    for request in sent:
        assert request.statuses.keys() <= {0, 201, 409, 503}, request.statuses
        assert len(request.answers) == 1, f"{request.key}: one receipt"
        [body] = request.answers
        for receipt in receipts(body):
            assert places[receipt["topic"], receipt["partition"], receipt["offset"]] == receipt["id"]
            told.add(receipt["id"])
    assert {event.header("ce_id") for event in events} == told
