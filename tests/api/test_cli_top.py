"""`inlake top`: what a gateway does now, for a person, for a pipe and for a program."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from inlake.cli.commands.top import Look, report
from inlake.cli.figures import read
from tests.command import Served, environment, free_port, inlake, serving, stopped_by_ctrl_c


@pytest.fixture(scope="module")
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A gateway that gets records that fit, and some that do not, without a pause."""
    folder = tmp_path_factory.mktemp("top")
    over = threading.Event()
    with serving(folder) as served:
        (folder / "n.avsc").write_text('{"type": "record", "name": "N", "fields": [{"name": "n", "type": "int"}]}')
        assert served.inlake("schemas", "add", "n", folder / "n.avsc").returncode == 0

        def send() -> None:
            with httpx2.Client(trust_env=False, timeout=30) as client:
                while not over.is_set():
                    for value in 1, 2, "x":
                        client.post(f"{served.url}/ingress/record-json?schema=n", json={"n": value})
                    time.sleep(0.02)

        sending = threading.Thread(target=send)
        sending.start()
        try:
            yield served
        finally:
            over.set()
            sending.join()


def test_a_pipe_gets_one_report_without_a_control_character(busy: Served) -> None:
    done = busy.inlake("top", "--every", "1")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{busy.url}  ready\n" in done.stdout
    line = next(line for line in done.stdout.splitlines() if line.startswith("/ingress/record-json "))
    good, refused, failed = map(float, line.replace(",", "").split()[1:4])
    assert good > refused > 0 == failed
    assert re.search(r"records/s +[\d.,]+ accepted, 0 pending, [\d.,]+ rejected, 0 failed\n", done.stdout)
    assert re.search(r"rejects/s +[\d.]+ wrong_type\n", done.stdout)
    assert done.stdout.isascii()
    assert all(c.isprintable() or c == "\n" for c in done.stdout)


def test_a_program_gets_a_json_object_a_report(busy: Served) -> None:
    done = busy.inlake("top", "--every", "0.5", "--json", "-n", "2")
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(reports) == 2
    for told in reports:
        (route,) = [route for route in told["routes"] if route["route"] == "/ingress/record-json"]
        assert told["status"] == "ready"
        assert not {"/metrics", "/health/ready"} & {each["route"] for each in told["routes"]}, "nobody else asks"
        assert told["requests_limit"] == 1000
        assert told["records_per_second"]["accepted"] == pytest.approx(route["good_per_second"])
        assert 0 < route["half_seconds"] <= route["p99_seconds"] < 10


@pytest.mark.parametrize("columns", [60, 200])
def test_on_a_terminal_the_report_stays_in_its_place_until_ctrl_c(busy: Served, columns: int) -> None:
    primary, secondary = pty.openpty()
    size = environment(**busy.variables, COLUMNS=str(columns), LINES="24", TERM="xterm")
    command = [sys.executable, "-m", "inlake", "top", "--every", "0.5"]
    process = subprocess.Popen(
        command,
        stdin=secondary,
        stdout=secondary,
        stderr=secondary,
        env=size,
        cwd=busy.folder,
        preexec_fn=stopped_by_ctrl_c,  # noqa: PLW1509 - it calls into the system alone
    )
    os.close(secondary)
    shown, end = b"", time.monotonic() + 60
    while shown.count(b"requests/s") < 2 and time.monotonic() < end:
        if select.select([primary], [], [], 1)[0]:
            shown += os.read(primary, 10_000)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    os.close(primary)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert text.count("requests/s") >= 2
    assert max(map(len, text.replace("\r", "\n").splitlines())) <= columns


def test_a_gateway_that_is_not_there_and_a_server_that_is_none_are_said(busy: Served, tmp_path: Path) -> None:
    nobody = inlake("top", "--url", f"http://127.0.0.1:{free_port()}", cwd=tmp_path)
    assert nobody.returncode == 3
    assert "inlake: " in nobody.stderr
    elsewhere = inlake("top", "--url", f"{busy.url}/docs", cwd=tmp_path)
    assert elsewhere.returncode == 2
    assert "has no figures of a gateway" in elsewhere.stderr


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    path = "/ingress/" + "a" * 100
    text = f'inlake_requests_total{{route="{path}",status="200"}} %s\ninlake_requests_limit 1000\n'
    before, now = (Look(read(text % value, value), "ready") for value in (1, 2_000_001))
    lines = report("http://127.0.0.1:8000", now, before, width)
    assert max(map(len, lines)) <= width
    assert "…" in lines[-1]


def test_what_waits_in_the_outbox_has_a_line() -> None:
    text = "inlake_outbox_events 7\ninlake_outbox_oldest_seconds 61\ninlake_requests_limit 1000\n"
    look = Look(read(text, 1.0), "not ready; bus: Kafka is away")
    lines = report("http://127.0.0.1:8000", look, look, 80)
    assert lines[0].endswith("not ready; bus: Kafka is away")
    assert "outbox     7 events wait, the oldest for 61 s" in lines
