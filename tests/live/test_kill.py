"""SIGKILL under load, again and again: what was answered 201 is there and whole, and nothing is left open."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from tests.command import Served, free_port, start, wait_until_alive
from tests.gateways import form
from tests.load import Load
from tests.witness import Deployment, Servers, check, embedded, on_servers, wait_until_settled

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("INLAKE_TEST_KILLS", "3"))
UPLOAD_TIMEOUT = 5
SETTINGS = {
    "INLAKE_UPLOAD_TIMEOUT": str(UPLOAD_TIMEOUT),
    "INLAKE_SWEEP_SECONDS": "1",
    "INLAKE_BUS_TIMEOUT": "5",
    "INLAKE_LOG_LEVEL": "warning",
}
SETTLED = 4 * UPLOAD_TIMEOUT + 10
"""Seconds: an expired promise is removed a second time after twice the upload time-out."""
Deploy = Callable[..., AbstractContextManager[Deployment]]


def gateway(d: Deployment, port: int) -> Served:
    served = start(d.folder, **d.variables, INLAKE_PORT=str(port), INLAKE_URL=f"http://127.0.0.1:{port}")
    wait_until_alive(served)
    return served


def end(served: Served) -> None:
    served.process.terminate()
    assert served.process.wait(60) == 0


@pytest.mark.timeout(120 + 20 * KILLS)
@pytest.mark.parametrize("deploy", [embedded, pytest.param(on_servers, marks=pytest.mark.live)])
def test_nothing_answered_is_lost_and_nothing_is_left_when_the_gateway_is_killed(
    tmp_path: Path, deploy: Deploy
) -> None:
    with deploy(tmp_path, **SETTINGS) as d:
        port, chance = free_port(), random.Random(7)
        served = gateway(d, port)
        try:
            with Load(served.url) as load:
                for _ in range(KILLS):
                    time.sleep(chance.uniform(0.1, 1.5))
                    served.process.kill()
                    served.process.wait()
                    served = gateway(d, port)
                load.wait_for(1, "binary")
            wait_until_settled(d.witness, SETTLED)
        finally:
            end(served)
        assert load.statuses().keys() <= {0, 201, 207, 503}, load.statuses()
        assert load.statuses()[0] >= KILLS, "requests were in flight when it died"
        print(
            KILLS, "kills:", check(load.accepted, d.witness, settled=True), dict(load.statuses()), leftovers(d.witness)
        )


@pytest.mark.timeout(120)
def test_killed_workers_are_replaced_and_end_with_their_parent(tmp_path: Path) -> None:
    with embedded(tmp_path, disk=None, **SETTINGS, INLAKE_WORKERS="2") as d:
        port = free_port()
        served = gateway(d, port)
        try:
            with Load(served.url) as load:
                for _ in range(3):
                    load.wait_for(1, "binary")
                    workers(served)[0].kill()
                load.wait_for(1, "binary")
                orphans = workers(served)
                served.process.kill()
                served.process.wait()
                _, alive = psutil.wait_procs(orphans, timeout=30)
                assert not alive, "the port must be free for the next start"
                served = gateway(d, port)
                load.wait_for(1, "binary")
            wait_until_settled(d.witness, SETTLED)
        finally:
            served.process.terminate()
        assert served.process.wait(60) == 0
        assert load.statuses().keys() <= {0, 201, 207, 503}, load.statuses()
        print(check(load.accepted, d.witness, settled=True), dict(load.statuses()))


def workers(served: Served) -> list[psutil.Process]:
    """The processes that take requests, as soon as there are two."""
    while True:
        with contextlib.suppress(psutil.NoSuchProcess):  # one dies meanwhile
            children = psutil.Process(served.process.pid).children()
            found = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
            if len(found) == 2:
                return found
        time.sleep(0.1)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("deploy", [embedded, pytest.param(on_servers, marks=pytest.mark.live)])
def test_a_gateway_that_slept_through_its_upload_leaves_the_place_to_who_has_it_now(
    tmp_path: Path, deploy: Deploy
) -> None:
    with deploy(tmp_path, **SETTINGS) as d, ThreadPoolExecutor(1) as client:
        sleeper, awake = gateway(d, free_port()), gateway(d, free_port())
        wake = threading.Event()
        try:
            late = client.submit(upload, sleeper, b"of the sleeper", wake)
            while not any(key.endswith("/1.json") for key in d.witness.all_keys()):  # `uploading`: the place is its own
                time.sleep(0.1)
            sleeper.process.send_signal(signal.SIGSTOP)
            now = time.monotonic()
            while (answer := upload(awake, b"of the other", None)).status_code == 409:
                assert time.monotonic() < now + SETTLED
                time.sleep(0.5)
            assert answer.status_code == 201, answer.text
        finally:
            sleeper.process.send_signal(signal.SIGCONT)
            wake.set()
            answer = late.result()
            end(sleeper)
            end(awake)
        # 503 if it fell asleep within a question to the store, whose time is over when it wakes
        assert answer.status_code in {410, 503}, answer.text
        assert d.witness.data("place") == b"of the other"
        check([], d.witness, settled=False)


def upload(served: Served, content: bytes, wake: threading.Event | None) -> httpx2.Response:
    """A record with a binary at a place that the client names; with `wake` the end of the body waits for it."""
    record = ("record", b'{"n": 1, "__resource_path__": "place"}', None, None)
    body, content_type = form(record, ("file", content, "a.bin", None))

    def halves() -> Iterator[bytes]:
        yield body[:-30]
        if wake:
            wake.wait(2 * SETTLED)
        yield body[-30:]

    url = f"{served.url}/ingress/record-json-and-binary?schema=note"
    return httpx2.post(url, content=halves(), headers={"content-type": content_type}, timeout=2 * SETTLED)


def leftovers(witness: Any) -> str:
    if isinstance(witness, Servers):
        return f"{witness.unfinished()} unfinished multipart uploads"
    temporary = [key for key in witness.all_keys() if key.startswith(".inlake/tmp/")]
    assert temporary == [], "the next process removes the temporary files of a dead one"
    return "no temporary files"


@pytest.mark.live
@pytest.mark.timeout(180)
def test_of_two_gateways_on_one_store_the_living_one_finishes_what_the_dead_one_left(tmp_path: Path) -> None:
    with on_servers(tmp_path, **SETTINGS) as d:
        dying, living = gateway(d, free_port()), gateway(d, free_port())
        try:
            with Load(living.url, clients=4) as here:
                for _ in range(3):
                    with Load(dying.url, clients=4) as there:
                        time.sleep(2)
                        dying.process.kill()
                        dying.process.wait()
                    here.accepted += there.accepted
                    dying = gateway(d, free_port())
                dying.process.kill()
                dying.process.wait()
                here.wait_for(3, "binary")
            wait_until_settled(d.witness, SETTLED)
        finally:
            end(living)
        assert here.statuses().keys() <= {201, 207}, "nobody gives up the uploads of a living process"
        print(check(here.accepted, d.witness, settled=True), dict(here.statuses()))
