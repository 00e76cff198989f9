"""`inlake send`: what a person is told when it does not come to its end."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from inlake.client import Client
from inlake.client.collection import target
from inlake.client.gateway import Address
from inlake.client.journal import Journal
from tests.answering import Answering, answering
from tests.command import environment, inlake, stopped_by_ctrl_c

NDJSON = {"Content-Type": "application/x-ndjson"}
RECEIPT = {"line": 1, "status": 201, "id": "x", "key": "scan", "topic": "t", "partition": 0, "offset": 1}
SUMMARY = {"summary": {"accepted": 2, "pending": 0, "rejected": 0, "failed": 0}, "complete": True}
TWO = (201, NDJSON, b"".join(json.dumps(line).encode() + b"\n" for line in (RECEIPT, RECEIPT | {"line": 2}, SUMMARY)))
HTML = {"Content-Type": "text/html"}


def begun(gateway: Answering, *options: str) -> subprocess.Popen[bytes]:
    """A command that has sent two lines and has its pipe open."""
    process = subprocess.Popen(
        [sys.executable, "-m", "inlake", "send", "scan", "--retry", "0", *options],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(INLAKE_URL=gateway.url),
        preexec_fn=stopped_by_ctrl_c,  # noqa: PLW1509 - it calls into the system alone
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(b"{}\n{}\n")
    process.stdin.flush()
    end = time.monotonic() + 30
    while not gateway.requests:
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(0.3)  # the answer is read
    return process


def test_ctrl_c_names_the_last_confirmed_line_and_how_to_go_on() -> None:
    with answering(TWO) as gateway, begun(gateway) as process:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "lines 1 to 2 are confirmed" in " ".join(said.decode().split())
    assert "begin with line 3" in said.decode()


def test_a_gateway_that_is_lost_is_named_with_the_last_confirmed_line() -> None:
    with answering(TWO, (502, HTML, b"<html>")) as gateway, begun(gateway) as process:
        _, said = process.communicate(b"{}\n", timeout=30)
    assert process.returncode == 3
    assert "reaches no gateway behind it" in said.decode()
    assert "lines 1 to 2 are confirmed" in said.decode()


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("scans.ndjson", "begin with line 3 (tail -n +3)"),
        ("my scans.ndjson.gz", "begin with line 3 (gunzip -c 'my scans.ndjson.gz' | tail -n +3)"),
        ("scans.json", "begin with record 3"),
        ("scans.csv", "rows up to 4 are confirmed; what became of row 5"),
        ("scans.csv.gz", "To go on: start the same command again."),
    ],
)
def test_how_to_go_on_is_said_for_each_kind_of_file(name: str, how: str, tmp_path: Path) -> None:
    table = ".csv" in name
    record = json.dumps({"title": "x" * 2_500_000})  # a batch holds one
    text = "title\n" + f"{'x' * 2_500_000}\n" * 5 if table else f"{record}\n" * 5
    (tmp_path / name).write_bytes(gzip.compress(text.encode(), 1) if name.endswith(".gz") else text.encode())
    schema = {
        "name": "scan", "version": 1, "type": "AVRO", "fields": [{"name": "title", "type": "text", "required": True}],
    }  # fmt: skip
    told = [(200, {"Content-Type": "application/json"}, json.dumps(schema).encode())] if table else []
    one = {**SUMMARY, "summary": {**SUMMARY["summary"], "accepted": 1}}  # type: ignore[dict-item]
    yes = (201, NDJSON, b"".join(json.dumps(line).encode() + b"\n" for line in (RECEIPT, one)))
    with answering(*told, yes, yes, *[yes] * table, (502, HTML, b"<html>")) as gateway:
        options = ("--retry", "0", "--rejects", "rejects.csv")  # a run that goes on would write over them
        done = inlake("send", "scan", name, *options, cwd=tmp_path, INLAKE_URL=gateway.url)
    assert done.returncode == 3, done.stderr
    assert how in " ".join(done.stderr.split())


def test_the_journal_of_a_file_goes_on(tmp_path: Path) -> None:
    (tmp_path / "r.ndjson").write_text((json.dumps({"title": "x" * 2_500_000}) + "\n") * 3)
    one = {**SUMMARY, "summary": {**SUMMARY["summary"], "accepted": 1}}  # type: ignore[dict-item]
    yes = (201, NDJSON, b"".join(json.dumps(line).encode() + b"\n" for line in (RECEIPT, one)))
    with answering(yes, (502, HTML, b"<html>"), yes, yes) as gateway:
        lost = inlake("send", "scan", "r.ndjson", "--retry", "0", cwd=tmp_path, INLAKE_URL=gateway.url)
        assert "start the same command again" in " ".join(lost.stderr.split())
        done = inlake("send", "scan", "r.ndjson", "--retry", "0", cwd=tmp_path, INLAKE_URL=gateway.url)
        assert done.returncode == 0, done.stderr
        keys = [headers["Idempotency-Key"] for _, headers, _ in gateway.requests]
    assert (keys[1] == keys[2], len(set(keys))) == (True, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["r.ndjson"]


def test_a_journal_stays_when_the_same_command_cannot_even_begin(tmp_path: Path) -> None:
    (tmp_path / "r.ndjson").write_text((json.dumps({"title": "x" * 2_500_000}) + "\n") * 3)
    one = {**SUMMARY, "summary": {**SUMMARY["summary"], "accepted": 1}}  # type: ignore[dict-item]
    yes = (201, NDJSON, b"".join(json.dumps(line).encode() + b"\n" for line in (RECEIPT, one)))
    lost = (502, HTML, b"<html>")
    expired = (401, {"Content-Type": "application/problem+json"}, b'{"status": 401, "code": "unauthorized"}')
    with answering(lost, expired, yes, lost, expired, expired, yes, yes) as gateway:
        codes = [
            inlake("send", "scan", "r.ndjson", "--retry", "0", cwd=tmp_path, INLAKE_URL=gateway.url).returncode
            for _ in range(5)
        ]
        keys = [headers["Idempotency-Key"] for _, headers, _ in gateway.requests]
    assert codes == [3, 1, 3, 1, 1]
    assert len(set(keys[:3])) == 1
    assert len(set(keys[3:])) == 1
    assert inlake("send", "scan", "r.ndjson", cwd=tmp_path, INLAKE_URL=gateway.url).returncode == 3, "nothing listens"
    (journal,) = (path for path in tmp_path.iterdir() if "journal" in path.name)
    assert sqlite3.connect(journal).execute("SELECT lines, sending FROM streams").fetchall() == [(1, 2)]


def test_rows_that_fail_again_are_not_sent_under_another_key(tmp_path: Path) -> None:
    (tmp_path / "scans.csv").write_text("title\na\nb\n")
    schema = {
        "name": "scan", "version": 1, "type": "AVRO", "fields": [{"name": "title", "type": "text", "required": True}],
    }  # fmt: skip
    shape = (200, {"Content-Type": "application/json"}, json.dumps(schema).encode())
    away = {"line": 2, "status": 503, "code": "bus_unavailable", "detail": "Kafka does not answer."}
    one = {"summary": {"accepted": 1, "pending": 0, "rejected": 0, "failed": 1}, "complete": True}
    failed = (201, NDJSON, b"".join(json.dumps(line).encode() + b"\n" for line in (RECEIPT, away, one)))
    command, codes = ("send", "scan", "scans.csv", "--retry", "0"), []
    with answering(shape, failed, failed, failed, TWO, shape) as gateway:
        for _ in range(4):
            done = inlake(*command, cwd=tmp_path, INLAKE_URL=gateway.url)
            codes.append(done.returncode)
            if len(codes) == 2:
                assert done.stderr.startswith("inlake: scans.csv: 1 row of an earlier run failed again"), done.stderr
                assert "Kafka does not answer." in done.stderr
        keys = [headers["Idempotency-Key"] for asked, headers, _ in gateway.requests if asked.startswith("POST")]
    assert (codes, len(keys), len(set(keys))) == ([3, 3, 3, 0], 4, 1)
    assert "2 rows are in already" in done.stderr


def test_lines_behind_a_batch_with_failed_ones_wait_for_the_next_run(tmp_path: Path) -> None:
    (tmp_path / "r.ndjson").write_text((json.dumps({"title": "x" * 2_500_000}) + "\n") * 2)
    away = {"line": 1, "status": 503, "code": "bus_unavailable", "detail": "Kafka does not answer."}
    no = {"summary": {"accepted": 0, "pending": 0, "rejected": 0, "failed": 1}, "complete": True}
    yes = {"summary": {"accepted": 1, "pending": 0, "rejected": 0, "failed": 0}, "complete": True}
    failed, good = (
        (201, NDJSON, b"".join(json.dumps(line).encode() + b"\n" for line in told))
        for told in ((away, no), (RECEIPT, yes))
    )
    command = "send", "scan", "r.ndjson", "--retry", "0"
    with answering(failed, good) as gateway:
        first = inlake(*command, cwd=tmp_path, INLAKE_URL=gateway.url)
        assert (first.returncode, len(gateway.requests)) == (3, 1)
        assert "r.ndjson: line 1 failed, later ones were not sent." in first.stderr
        with (tmp_path / "r.ndjson").open("a") as file:
            file.write('{"title": "new"}\n')
        assert inlake(*command, cwd=tmp_path, INLAKE_URL=gateway.url).returncode == 0
        keys = [headers["Idempotency-Key"].strip('"').partition("-")[2] for _, headers, _ in gateway.requests]
    assert keys == ["1-1", "1-1", "2-3"]
    assert [path.name for path in tmp_path.iterdir()] == ["r.ndjson"]


@pytest.mark.parametrize("options", [(), ("--journal", "../j")])
def test_a_table_is_known_however_its_path_is_typed(tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "museum").mkdir()
    (tmp_path / "museum" / "scans.csv").write_text("title\na\nb\n")
    schema = {
        "name": "scan", "version": 1, "type": "AVRO", "fields": [{"name": "title", "type": "text", "required": True}],
    }  # fmt: skip
    shape = (200, {"Content-Type": "application/json"}, json.dumps(schema).encode())
    with answering(shape, TWO, shape) as gateway:
        for typed in "scans.csv", "../museum/scans.csv", tmp_path / "museum" / "scans.csv":
            done = inlake("send", "scan", typed, *options, cwd=tmp_path / "museum", INLAKE_URL=gateway.url)
            assert done.returncode == 0, done.stderr
        assert [asked for asked, _, _ in gateway.requests if asked.startswith("POST")] == [gateway.requests[1][0]]
    assert "2 rows are in already" in done.stderr


def test_a_column_that_is_moved_sends_no_row_again(tmp_path: Path) -> None:
    names = "title", "maker"
    schema = {
        "name": "scan", "version": 1, "type": "AVRO",
        "fields": [{"name": name, "type": "text", "required": True} for name in names],
    }  # fmt: skip
    shape = (200, {"Content-Type": "application/json"}, json.dumps(schema).encode())
    by_title, by_maker = "title,maker\na,x\nb,y\n", "maker,title\nx,a\ny,b\n"
    with answering(shape, TWO, shape) as gateway:
        for table in by_title, by_maker, by_title:
            (tmp_path / "scans.csv").write_text(table)
            done = inlake("send", "scan", "scans.csv", cwd=tmp_path, INLAKE_URL=gateway.url)
            assert (done.returncode, "2 rows are in already" in done.stderr) == (0, len(gateway.requests) > 2)
        assert [body for asked, _, body in gateway.requests if asked.startswith("POST")] == [
            b'{"title":"a","maker":"x"}\n{"title":"b","maker":"y"}\n'
        ]
        (tmp_path / "old.csv").write_text(by_maker)
        to = Address("scan")
        with Client(gateway.url) as client, Journal(tmp_path / "j", target(client, to)) as journal:
            of_before = b'{"maker":"x","title":"a"}', b'{"maker":"y","title":"b"}'
            journal.confirm("old.csv", "", [hashlib.sha256(record).digest()[:16] for record in of_before])
        done = inlake("send", "scan", "old.csv", "--journal", "j", cwd=tmp_path, INLAKE_URL=gateway.url)
    assert (done.returncode, "2 rows are in already" in done.stderr) == (0, True), done.stderr


def test_a_redirect_is_no_yes(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"title": "x"}')
    (tmp_path / "a.tif").write_text("hello")
    with answering((301, {"Location": "https://inlake.museum.example/"}, b"")) as other:
        done = inlake("send", "scan", "r.json", "--binary", "a.tif", cwd=tmp_path, INLAKE_URL=other.url)
    assert done.returncode == 3
    assert "https://inlake.museum.example/" in done.stderr
    assert done.stdout == ""


def test_what_is_not_sent_is_said_before_anything_is(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text("{}")
    for name in "a.tif", "b.tif", "records.zip", "t.bz2":
        (tmp_path / name).write_text("")
    (tmp_path / "folder").mkdir()
    for arguments, words in {
        (
            "r.json",
            "--binary",
            "a.tif",
            "--binary",
            "b.tif",
        ): "One record goes with one --binary; 2 binaries are named.",
        ("r.json", "--binary", "folder"): "folder: this is a folder; name the files in it.",
        ("folder",): "folder: this is a folder",
        ("records.zip",): "records.zip: unpack it, and name the files in it.",
        ("t.bz2",): "t.bz2: write `bunzip2 -c t.bz2 | inlake send SCHEMA`.",
    }.items():
        done = inlake("send", "scan", *arguments, cwd=tmp_path, INLAKE_URL="http://127.0.0.1:9")
        assert (done.returncode, done.stderr.startswith(f"inlake: {words}")) == (2, True), done.stderr


def test_address_and_key_come_from_the_file_env_too(tmp_path: Path) -> None:
    with answering(TWO) as gateway:
        (tmp_path / ".env").write_text(f"INLAKE_URL={gateway.url}\nINLAKE_TOKEN='s3cr3t'\n")
        done = inlake("send", "scan", cwd=tmp_path, stdin=b"{}\n{}\n")
        assert done.returncode == 0, done.stderr
        assert gateway.requests[0][1]["Authorization"] == "Bearer s3cr3t"
        inlake("send", "scan", "--token", "other", cwd=tmp_path, stdin=b"{}\n{}\n")
        assert gateway.requests[1][1]["Authorization"] == "Bearer other"


def test_a_token_is_in_no_message(tmp_path: Path) -> None:
    for token in "s3cr3t\rkey", "s3cr3t\u00fc":
        done = inlake("send", "scan", stdin=b"{}\n", INLAKE_URL="http://127.0.0.1:9", INLAKE_TOKEN=token)
        assert done.returncode == 2
        assert "s3cr3t" not in done.stdout + done.stderr


def test_a_file_whose_name_is_not_utf8_is_sent(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/St\xfcck.tif"
    try:
        Path(os.fsdecode(name)).write_bytes(b"hello")
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    (tmp_path / "r.json").write_text("{}")
    receipt = {key: value for key, value in RECEIPT.items() if key not in {"line", "status"}}
    with answering((201, {"Content-Type": "application/json"}, json.dumps(receipt).encode())) as gateway:
        done = inlake("send", "scan", "r.json", "--binary", os.fsdecode(name), cwd=tmp_path, INLAKE_URL=gateway.url)
    assert done.returncode == 0, done.stderr
    assert 'filename="St\u00fcck.tif"'.encode() in gateway.requests[0][2]
