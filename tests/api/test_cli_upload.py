"""`inlake upload` against a real gateway process: a collection goes in, once, whatever happens on the way."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import pty
import random
import re
import signal
import subprocess
import sys
import termios
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import Served, environment, inlake, log_of, serving, stopped_by_ctrl_c

SCAN = {
    "type": "record",
    "name": "Scan",
    "fields": [
        {"name": "title", "type": "string"},
        {"name": "year", "type": ["null", "int"]},
        {"name": "__resource_path__", "type": ["null", "string"], "default": None},
    ],
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as found:
        (found.folder / "scan.avsc").write_text(json.dumps(SCAN))
        (found.folder / "plain.avsc").write_text(
            '{"type": "record", "name": "Plain", "fields": [{"name": "a", "type": "int"}]}'
        )
        for name in "scan", "plain":
            assert found.inlake("schemas", "add", name, f"{name}.avsc").returncode == 0
        yield found


def uploaded(served: Served, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return inlake("upload", "scan", *arguments, cwd=folder, INLAKE_URL=served.url)


def collection(folder: Path, files: dict[str, bytes], rows: str) -> Path:
    for name, content in files.items():
        path = folder / "scans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "scans.csv").write_text(rows)
    return folder


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def events(served: Served, destination: str) -> list[dict[str, Any]]:
    read = served.inlake("tail", "--from-start", "--json")
    return [event for event in lines(read.stdout) if event["key"] == f"scan/{destination}"]


def test_a_folder_goes_in_with_its_table_and_only_once(served: Served, tmp_path: Path) -> None:
    files = {"a.txt": b"first", "below/b.txt": b"", "c.txt": b"third"}
    folder = collection(tmp_path, files, "title,year,file\nA,1890,a.txt\nB,,b.txt\nC,3,./c.txt\n")
    command = ("scans", "--table", "scans.csv", "--destination", "once", "--receipts", "receipts.csv")
    done = uploaded(served, folder, *command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["accepted", "3"]
    with (folder / "receipts.csv").open(newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert {name: row["sha256"] for name, row in rows.items()} == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items()
    }
    assert {(e["record"]["title"], e["headers"]["ce_id"]) for e in events(served, "once")} == {
        ("A", rows["a.txt"]["id"]), ("B", rows["below/b.txt"]["id"]), ("C", rows["c.txt"]["id"]),
    }  # fmt: skip
    before = log_of(served).count("/ingress/validate")
    again = uploaded(served, folder, *command)
    assert (again.returncode, again.stdout.split()) == (0, ["in", "already", "3"])
    assert log_of(served).count("/ingress/validate") == before > 0  # what is in is not asked about again
    assert len(events(served, "once")) == 3
    with (folder / "receipts.csv").open(newline="") as file:
        assert {row["file"]: row for row in csv.DictReader(file)} == rows


def test_nothing_is_left_out_in_silence(served: Served, tmp_path: Path) -> None:
    files = {"a.txt": b"1", "b.txt": b"2", "x/same.txt": b"3", "y/same.txt": b"4", "unnamed.txt": b"5"}
    table = "title;year;file\nA;19th;a.txt\nB;1;b.txt\nS;1;same.txt\nT;2;y/same.txt\nM;3;missing.txt\nN;4;\nU;5;b.txt\n"
    folder = collection(tmp_path, files, table)
    (folder / "scans" / "broken").symlink_to("nowhere")
    os.mkfifo(folder / "scans" / "pipe")
    (folder / "scans" / ".hidden").write_text("")
    command = ("scans", "--table", "scans.csv", "--destination", "strict", "--json")
    checked = uploaded(served, folder, *command, "--check")
    assert checked.returncode == 1
    assert events(served, "strict") == []
    done = uploaded(served, folder, *command, "--rejects", "rejects.csv")
    assert done.returncode == 1
    *found, last = lines(done.stdout)
    assert {(line["row"], line["file"], line["state"]) for line in found} == {
        (2, "a.txt", "wrong"), (3, "b.txt", "accepted"), (4, "same.txt", "wrong"), (5, "y/same.txt", "accepted"),
        (6, "missing.txt", "wrong"), (7, "row 7", "wrong"), (8, "b.txt", "wrong"), (None, "unnamed.txt", "wrong"),
        (None, "x/same.txt", "wrong"), (None, "broken", "wrong"), (None, "pipe", "wrong"),
    }  # fmt: skip
    assert lines(checked.stdout)[:-1] == [line for line in found if line["state"] == "wrong"]
    assert last["summary"] == {"accepted": 2, "wrong": 9, "bytes": 2}
    with (folder / "rejects.csv").open(newline="", encoding="utf-8-sig") as file:
        rejects = list(csv.DictReader(file, delimiter=";"))
    assert [row["title"] for row in rejects] == ["A", "S", "M", "N", "U"]
    assert rejects[0]["inlake_reason"].startswith("column year: ")
    mended = (folder / "rejects.csv").read_text("utf-8-sig").replace("19th", "1890").replace(";same.txt", ";x/same.txt")
    (folder / "mended.csv").write_text("\n".join(mended.splitlines()[:3]))
    (folder / "scans" / "unnamed.txt").unlink()
    command = ("scans", "--table", "mended.csv", "--destination", "strict", "--json")
    assert lines(uploaded(served, folder, *command, "--check").stdout)[-1]["summary"]["in already"] == 2
    again = uploaded(served, folder, *command, "--receipts", "receipts.ndjson")
    states = {line["file"]: line["state"] for line in lines(again.stdout)[:-1]}
    assert states == {
        "a.txt": "accepted", "x/same.txt": "accepted", "b.txt": "in already", "y/same.txt": "in already",
        "broken": "wrong", "pipe": "wrong",
    }  # fmt: skip
    assert {line["file"] for line in lines((folder / "receipts.ndjson").read_text())} == {
        "a.txt",
        "x/same.txt",
        "b.txt",
        "y/same.txt",
    }


def test_a_record_beside_each_file_goes_with_it(served: Served, tmp_path: Path) -> None:
    names = ["n\nl.txt", "\U0001f3fa.txt", "x" * 240 + ".txt", "..a.txt", " blank .txt"]
    files = {name: name.encode() for name in names[:3] + names[4:]}
    folder = collection(tmp_path, files, "")
    for name in files:
        record = {"title": name, "year": None}
        (folder / "scans" / f"{name}.json").write_text(json.dumps(record, indent=2)) if len(name) < 240 else None
    (folder / "scans" / "alone.json").write_text("{}")
    done = uploaded(served, folder, "scans", "--destination", "beside", "--json")
    states = {line["file"]: line["state"] for line in lines(done.stdout)[:-1]}
    assert states == {
        names[0]: "accepted", names[1]: "accepted", names[2]: "wrong", names[4]: "accepted", "alone.json": "wrong",
    }  # fmt: skip
    assert {event["record"]["title"] for event in events(served, "beside")} == {names[0], names[1], names[4]}


def test_a_refused_record_names_its_cell_and_a_changed_file_is_named(served: Served, tmp_path: Path) -> None:
    folder = collection(tmp_path, {"a.txt": b"1", "b.txt": b"2"}, f"title,year,file\nA,{2**40},a.txt\nB,1,b.txt\n")
    command = ("scans", "--table", "scans.csv", "--destination", "changed")
    done = uploaded(served, folder, *command)
    assert done.returncode == 1
    assert "row 2, column B (year)" in done.stdout
    (folder / "scans" / "b.txt").write_bytes(b"another")
    again = uploaded(served, folder, *command)
    assert again.returncode == 1
    assert "Its file changed since it was sent" in again.stdout
    assert len(events(served, "changed")) == 1


def test_a_command_that_cannot_be_is_one_sentence(served: Served, tmp_path: Path) -> None:
    folder = collection(tmp_path, {"a.txt": b"1"}, "title,year,picture\nA,1,a.txt\n")
    for arguments, words in {
        ("scan", "absent"): "absent: there is no such file or folder",
        ("scan", "none/absent"): "none/absent: there is no such file or folder",
        ("scan", "scans", "--table", "scans.csv"): "Say which it is with --file-column",
        ("plain", "scans"): "plain has no field for the address of a binary",
        ("unknown", "scans"): "unknown",
    }.items():
        done = inlake("upload", *arguments, cwd=folder, INLAKE_URL=served.url)
        assert done.returncode in {1, 2}, done.stdout + done.stderr
        assert words in done.stderr
        assert done.stdout == ""
    assert [path.name for path in folder.iterdir() if "journal" in path.name] == []
    nothing = inlake("get", "nosuchpuuid", cwd=folder, INLAKE_URL=served.url)
    assert nothing.returncode == 2
    assert nothing.stderr.startswith("inlake: nosuchpuuid is neither the name of an object")


def test_what_went_in_is_verified_and_downloaded_under_its_names(served: Served, tmp_path: Path) -> None:
    files = {"a.txt": b"first" * 1000, "\u00e9t\u00e9.txt": b"second"}
    folder = collection(tmp_path, files, "title,year,file\nA,1,a.txt\nB,2,\u00e9t\u00e9.txt\n")
    command = ("scans", "--table", "scans.csv", "--destination", "back", "--receipts", "receipts.ndjson")
    assert uploaded(served, folder, *command).returncode == 0
    done = inlake("verify", "receipts.ndjson", cwd=folder, INLAKE_URL=served.url)
    assert (done.returncode, done.stdout.split()) == (0, ["verified", "2", "different", "0"]), done.stderr
    first = lines((folder / "receipts.ndjson").read_text())[0]
    whole = served.inlake("verify", folder / "receipts.ndjson", "--events")
    assert (whole.returncode, whole.stdout.split()) == (0, ["verified", "2", "different", "0"]), whole.stderr
    forged = {**first, "offset": 99, "uri": "file:///elsewhere"}, {**first, "id": "0" * 36}
    (folder / "forged.ndjson").write_text("\n".join(map(json.dumps, forged)))
    told = served.inlake("verify", folder / "forged.ndjson", "--events").stdout
    assert "The event says inlake_resource_uri: file:///" in told
    assert "and was at inlake.scan/0/99." in told
    assert f"There is no event {'0' * 36} in inlake.scan." in told
    by_event = served.inlake("get", first["id"], "--into", folder / "by event")
    assert (folder / "by event" / first["file"]).read_bytes() == files[first["file"]], by_event.stderr
    (folder / "back").mkdir()
    begun = files[first["file"]][:3]
    (folder / "back" / f".{first['puuid']}.part").write_bytes(begun)
    got = inlake("get", "receipts.ndjson", "--into", "back", cwd=folder, INLAKE_URL=served.url)
    assert got.returncode == 0, got.stderr
    assert {path.name: path.read_bytes() for path in (folder / "back").iterdir()} == files
    stored = served.folder / ".inlake" / "store" / "objects" / first["puuid"]
    (object_,) = stored.iterdir()
    object_.write_bytes(files[first["file"]].replace(b"s", b"x"))
    damaged = inlake("verify", "receipts.ndjson", cwd=folder, INLAKE_URL=served.url)
    assert (damaged.returncode, "The object's SHA-256 is" in damaged.stdout) == (1, True)


def test_lines_of_json_are_a_table_too(served: Served, tmp_path: Path) -> None:
    folder = collection(tmp_path, {"a.txt": b"1", "b.txt": b"2"}, "")
    wrong = '{"title": "B", "year": "1890", "file": "b.txt"}'
    (folder / "scans.ndjson").write_text(f'{{"title": "A", "year": 1890, "file": "a.txt"}}\n{wrong}\n')
    command = ("scans", "--table", "scans.ndjson", "--destination", "lines", "--rejects", "rejects.ndjson")
    done = uploaded(served, folder, *command)
    assert (done.returncode, done.stdout.split()[-4:]) == (1, ["accepted", "1", "rejected", "1"]), done.stderr
    assert "b.txt: rejected\n  row 2: /year: " in done.stdout
    assert (folder / "rejects.ndjson").read_text() == f"{wrong}\n"
    (folder / "rejects.ndjson").write_text(wrong.replace('"1890"', "1890"))
    mended = uploaded(served, folder, *command[:2], "rejects.ndjson", *command[3:5])
    assert (mended.returncode, mended.stdout.split()) == (0, ["accepted", "1", "in", "already", "1"]), mended.stdout
    assert [event["record"]["title"] for event in events(served, "lines")] == ["A", "B"]


def command(destination: str, jobs: int) -> list[str]:
    """The command line of an upload that a test stops."""
    options = ["--table", "scans.csv", "--destination", destination, "--jobs", str(jobs)]
    return [sys.executable, "-m", "inlake", "upload", "scan", "scans", *options]


def test_on_a_terminal_it_says_how_far_it_is_and_when_it_is_stopped_how_to_go_on(
    served: Served, tmp_path: Path
) -> None:
    files = {f"{n:03}.txt": os.urandom(2_000) for n in range(400)}
    rows = "".join(f"T {name},1,{name}\n" for name in files)
    folder = collection(tmp_path, files, f"title,year,file\n{rows}none,1,none.txt\n")
    screen, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 60))
    process = subprocess.Popen(
        command("tty", jobs=1),
        cwd=folder, env=environment(INLAKE_URL=served.url, TERM="xterm", COLUMNS="60"), stdin=terminal, stdout=terminal, stderr=terminal,
        preexec_fn=stopped_by_ctrl_c,  # noqa: PLW1509 - it calls into the system alone
    )  # fmt: skip
    os.close(terminal)
    seen, stopped = b"", False
    with contextlib.suppress(OSError):  # the end of a terminal
        while part := os.read(screen, 1 << 16):
            seen += part
            if re.search(rb"[1-9][0-9]?%", seen) and not stopped:  # some files are there, and none is told of
                process.send_signal(signal.SIGINT)
                stopped = True
    os.close(screen)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    assert process.wait() == 130, text
    bars = [line for line in re.split(r"[\r\n]+", text) if "%" in line]
    assert bars, text
    assert all(line.startswith("400 files ") and len(line) <= 60 for line in bars), bars
    assert "none.txt: wrong" in text
    assert " ".join(text.split()).endswith("the same command again sends the rest."), text
    again = uploaded(served, folder, "scans", "--table", "scans.csv", "--destination", "tty")
    assert (again.returncode, again.stderr.count("%")) == (1, 0)
    told = [
        re.findall(rf"{state} +([0-9]+)", said) for state, said in (("accepted", text), ("in already", again.stdout))
    ]
    assert told[0] == told[1], "what ended while it stopped is in its sums"
    assert Counter(event["record"]["title"] for event in events(served, "tty")) == Counter(
        f"T {name}" for name in files
    )


@pytest.mark.slow
def test_killed_and_started_again_every_file_is_one_event(served: Served, tmp_path: Path) -> None:
    files = {f"{n:03}.txt": os.urandom(2_000) for n in range(300)}
    rows = "".join(f"T {name},1,{name}\n" for name in files)
    folder = collection(tmp_path, files, f"title,year,file\n{rows}")
    pause, kills = random.Random(7), 0
    while True:
        process = subprocess.Popen(
            command("kill", jobs=4), cwd=folder, env=environment(INLAKE_URL=served.url), stdout=subprocess.DEVNULL
        )
        try:
            code = process.wait(timeout=pause.uniform(0.5, 1.5) * 1.2**kills)
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            assert kills < 30
    assert (code, kills > 0) == (0, True)
    found = events(served, "kill")
    assert Counter(event["record"]["title"] for event in found) == Counter(f"T {name}" for name in files)
    digests = {f"T {name}": hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert {e["record"]["title"]: e["headers"]["inlake_resource_sha256"] for e in found} == digests
