"""`inlake upload`: what a person is told who stops it before anything is sent."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.answering import answering
from tests.command import environment, stopped_by_ctrl_c

SCHEMA = {
    "name": "scan", "version": 1, "type": "AVRO", "fields": [{"name": "uri", "type": "text"}], "resource_field": "uri",
}  # fmt: skip


def test_ctrl_c_while_all_is_checked_says_that_nothing_was_sent(tmp_path: Path) -> None:
    schema = (200, {"Content-Type": "application/json"}, json.dumps(SCHEMA).encode())
    command = [sys.executable, "-m", "inlake", "upload", "scan", "-"]
    with (
        answering(schema) as gateway,
        subprocess.Popen(
            command, cwd=tmp_path, env=environment(INLAKE_URL=gateway.url),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            preexec_fn=stopped_by_ctrl_c,  # noqa: PLW1509 - it calls into the system alone
        ) as process,
    ):  # fmt: skip
        end = time.monotonic() + 30
        while not gateway.requests:
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(1)  # the answer is read, and the list on stdin is waited for
        process.send_signal(signal.SIGINT)
        told, said = process.communicate(timeout=30)
    assert (process.returncode, told, said) == (130, b"", b"Stopped. Nothing was sent.\n")
    assert list(tmp_path.iterdir()) == []
