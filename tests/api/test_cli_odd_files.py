"""`inlake upload` of a folder as nobody would wish it: each file that is odd is named, and the rest goes in."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.test_cli_upload import SCAN, collection, events, lines, uploaded
from tests.command import Served, environment, inlake, log_of, serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as found:
        (found.folder / "scan.avsc").write_text(json.dumps(SCAN))
        assert found.inlake("schemas", "add", "scan", "scan.avsc").returncode == 0
        yield found


def test_each_odd_file_is_named_and_the_rest_goes_in(served: Served, tmp_path: Path) -> None:
    long, latin, lines_in = "x" * 251 + ".txt", os.fsdecode(b"caf\xe9.txt"), "two\nlines \U0001f3fa.txt"
    good = {
        long: b"long",
        lines_in: b"line",
        "a..b.txt": b"dots",
        "empty.txt": b"",
        "box/same.txt": b"1",
        "e/same.txt": b"2",
        "f/same.txt": b"3",
    }
    shown = {**good, "caf\u00e9.txt": b"latin", "link.txt": b"dots"}
    rows = "".join(f'"{name}",1,"{name}"\n' for name in shown)
    table = f'title,year,file\n{rows}"up",1,"../outside.txt"\n"twice",1,empty.txt\n"none",1,absent.txt\n"which",1,same.txt\n'
    folder = collection(tmp_path, good, table)
    scans = folder / "scans"
    (scans / latin).write_bytes(b"latin")
    (scans / "link.txt").symlink_to("a..b.txt")
    (scans / "broken.txt").symlink_to("nowhere")
    (scans / "folder link").symlink_to(tmp_path)
    (scans / "unnamed.txt").write_bytes(b"")
    (tmp_path / "outside.txt").write_bytes(b"outside")
    os.mkfifo(scans / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.open(scans, os.O_RDONLY)  # a path of a socket is short
        listening.bind(f"/proc/self/fd/{here}/socket.txt")
        os.close(here)
    command = ("scans", "--table", "scans.csv", "--destination", "odd", "--receipts", "r.csv", "--json")
    done = uploaded(served, folder, *command)
    *found, last = lines(done.stdout)
    states = {line["file"]: line["state"] for line in found if line["row"] != 12}
    assert {name for name, state in states.items() if state == "accepted"} == set(shown), done.stdout
    assert {name for name, state in states.items() if state == "wrong"} == {
        "../outside.txt", "absent.txt", "same.txt", "broken.txt", "folder link", "pipe.txt", "socket.txt", "unnamed.txt",
    }  # fmt: skip
    assert last["summary"]["accepted"] + last["summary"]["wrong"] == len(found) == len(shown) + 9
    with (folder / "r.csv").open(newline="", encoding="utf-8") as file:
        assert {row["file"]: row["sha256"] for row in csv.DictReader(file)} == {
            name: hashlib.sha256(content).hexdigest() for name, content in shown.items()
        }
    named = {event["headers"]["inlake_resource_filename"] for event in events(served, "odd")}
    assert {"caf%C3%A9.txt", "two%0Alines%20%F0%9F%8F%BA.txt"} <= named
    (folder / "back").mkdir()
    got = inlake("get", "r.csv", "--into", "back", cwd=folder, INLAKE_URL=served.url)
    assert got.returncode == 0, got.stderr
    assert sorted(path.read_bytes() for path in (folder / "back").iterdir()) == sorted(shown.values())


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="root alone can be somebody else (setpriv)"
)
def test_what_may_not_be_read_is_named(served: Served, tmp_path: Path) -> None:
    folder = collection(tmp_path, {"a.txt": b"1", "b.txt": b"2"}, "title,year,file\nA,1,a.txt\nB,1,b.txt\n")
    (folder / "scans" / "a.txt").chmod(0)
    for path in (tmp_path, *tmp_path.parents[:3]):
        path.chmod(0o755)
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-m", "inlake", "upload"]
    arguments = ["scan", "scans", "--table", "scans.csv", "--check", "--json"]
    run = [*command, *arguments]
    done = subprocess.run(run, cwd=folder, env=environment(INLAKE_URL=served.url), capture_output=True, text=True)
    if "No module named" in done.stderr or "Permission denied: '/" in done.stderr:
        pytest.skip("nobody but root reads the folder of this Python")
    assert [(line["file"], line["state"]) for line in lines(done.stdout)[:-1]] == [("a.txt", "wrong")], done.stderr
    assert "Permission denied" in done.stdout


def test_a_file_that_grows_while_it_is_sent_is_named_and_what_is_in_is_whole(served: Served, tmp_path: Path) -> None:
    folder = collection(tmp_path, {"log.txt": b"begin" * 200_000}, "title,year,file\nLog,1,log.txt\n")
    stop = threading.Event()

    def grow() -> None:
        while not stop.is_set():
            with (folder / "scans" / "log.txt").open("ab") as file:
                file.write(b"more")
            time.sleep(0.001)

    growing = threading.Thread(target=grow)
    growing.start()
    try:
        done = uploaded(served, folder, "scans", "--table", "scans.csv", "--destination", "grows", "--json")
    finally:
        stop.set()
        growing.join()
    (line, _) = lines(done.stdout)
    assert (done.returncode, line["state"]) in {(1, "changed"), (1, "wrong")}
    assert line["faults"][0]["code"] == "file_changed"
    whole = (folder / "scans" / "log.txt").read_bytes()
    for event in events(served, "grows"):
        size = int(event["headers"]["inlake_resource_size"])
        assert event["headers"]["inlake_resource_sha256"] == hashlib.sha256(whole[:size]).hexdigest()


def test_a_file_that_becomes_shorter_while_it_is_sent_is_named_and_not_in(served: Served, tmp_path: Path) -> None:
    folder = collection(
        tmp_path, {"log.bin": b"", "other.txt": b"other"}, "title,year,file\nL,1,log.bin\nO,1,other.txt\n"
    )
    whole = os.urandom(1 << 20) * 60
    (folder / "scans" / "log.bin").write_bytes(whole)
    before, done = log_of(served).count("POST /shipments "), threading.Event()

    def shorten() -> None:
        while log_of(served).count("POST /shipments ") == before and not done.is_set():
            time.sleep(0.001)
        os.truncate(folder / "scans" / "log.bin", 1_000_000)

    shortening = threading.Thread(target=shorten)
    shortening.start()
    try:
        sent = uploaded(served, folder, "scans", "--table", "scans.csv", "--destination", "shrinks", "--json")
    finally:
        done.set()
        shortening.join()
    *found, _ = lines(sent.stdout)
    states = {line["file"]: line for line in found}
    assert (sent.returncode, states["other.txt"]["state"]) == (1, "accepted"), sent.stdout
    # `changed` if all of it was sent before it became shorter
    assert states["log.bin"]["state"] in {"wrong", "changed"}
    assert states["log.bin"]["faults"][0]["code"] == "file_changed"
    digests = {
        event["record"]["title"]: event["headers"]["inlake_resource_sha256"] for event in events(served, "shrinks")
    }
    assert digests.pop("O") == hashlib.sha256(b"other").hexdigest()
    assert digests in ({}, {"L": hashlib.sha256(whole).hexdigest()})
