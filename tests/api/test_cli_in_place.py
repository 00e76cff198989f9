"""`inlake upload --in-place`: objects that are in the store already, with a table, and once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.test_cli_upload import SCAN, events, lines, uploaded
from tests.command import Served, environment, inlake, log_of, serving


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    (tmp_path / "scans" / "box").mkdir(parents=True)
    with serving(tmp_path, INLAKE_IN_PLACE="file:scans") as found:
        (tmp_path / "scan.avsc").write_text(json.dumps(SCAN))
        assert found.inlake("schemas", "add", "scan", "scan.avsc").returncode == 0
        yield found


def test_objects_get_their_events_without_a_copy_and_only_once(served: Served, tmp_path: Path) -> None:
    names = ["box/a 1.txt", "b.txt", "unnamed.txt", ".hidden"]
    for name in names:
        (tmp_path / "scans" / name).write_text(name)
    (tmp_path / "t.csv").write_text("title,year,file\nA,1,a 1.txt\nB,x,b.txt\nC,1,none.txt\n")
    command = ("--in-place", (tmp_path / "scans").as_uri(), "--table", "t.csv", "--destination", "once", "--json")
    done = uploaded(served, tmp_path, *command, "--receipts", "r.ndjson")
    assert {(line["file"], line["state"]) for line in lines(done.stdout)[:-1]} == {
        ("box/a 1.txt", "accepted"), ("b.txt", "wrong"), ("none.txt", "wrong"), ("unnamed.txt", "wrong"),
    }, done.stdout + done.stderr  # fmt: skip
    (event,) = events(served, "once")
    assert event["record"]["__resource_path__"] == (tmp_path / "scans" / "box" / "a 1.txt").as_uri()
    assert not (tmp_path / ".inlake" / "store" / "objects").exists()
    verified = inlake("verify", "r.ndjson", cwd=tmp_path, INLAKE_URL=served.url)
    assert verified.stdout.split() == ["verified", "1", "different", "0"]
    (tmp_path / "t.csv").write_text("title,year,file\nA,1,a 1.txt\nB,2,b.txt\nC,1,unnamed.txt\n")
    again = uploaded(served, tmp_path, *command)
    assert Counter(line["state"] for line in lines(again.stdout)[:-1]) == {"in already": 1, "accepted": 2}
    (tmp_path / "scans" / "b.txt").write_text("another")
    changed = uploaded(served, tmp_path, *command)
    assert Counter(line["state"] for line in lines(changed.stdout)[:-1]) == {"in already": 2, "changed": 1}
    assert len(events(served, "once")) == 3


def test_what_cannot_be_is_one_sentence(served: Served, tmp_path: Path) -> None:
    (tmp_path / "scans" / "a.txt").write_text("a")
    (tmp_path / "t.csv").write_text("title,year,file\nA,1,a.txt\n")
    for arguments, words in {
        ("file:///etc", "--table", "t.csv"): "is not below a prefix of INLAKE_IN_PLACE",
        (f"{(tmp_path / 'scans').as_uri()}/none", "--table", "t.csv"): "There is no object below",
        ((tmp_path / "scans").as_uri(),): "Name a table with --table, or a map of facts with --map.",
    }.items():
        done = uploaded(served, tmp_path, "--in-place", *arguments)
        assert (done.returncode in {1, 2}, done.stdout) == (True, ""), done.stderr
        assert words in done.stderr


@pytest.mark.slow
def test_killed_and_started_again_every_object_has_one_event(served: Served, tmp_path: Path) -> None:
    count = 600
    for n in range(count):
        (tmp_path / "scans" / f"{n:04}.txt").write_text(f"content {n}")
    rows = "".join(f"T {n},1,{n:04}.txt\n" for n in range(count))
    (tmp_path / "t.csv").write_text(f"title,year,file\n{rows}")
    command = [sys.executable, "-m", "inlake", "upload", "scan", "--in-place", (tmp_path / "scans").as_uri()]
    command += ["--table", "t.csv", "--destination", "kill"]
    for kill in range(3):  # each after one more request: an announcement, or what completes it
        before = log_of(served).count("/shipments")
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment(INLAKE_URL=served.url), stdout=subprocess.DEVNULL
        )
        while log_of(served).count("/shipments") == before and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        (tmp_path / "scans" / f"0000-{kill}.txt").write_text("comes between")
    last = subprocess.run(command, cwd=tmp_path, env=environment(INLAKE_URL=served.url), stdout=subprocess.DEVNULL)
    assert last.returncode == 1, "no row names the files that came between"
    found = events(served, "kill")
    assert Counter(event["record"]["title"] for event in found) == Counter(f"T {n}" for n in range(count))
