"""A disk that is full: refused and told, nothing corrupted, and it goes on when there is room again."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest

from tests.command import serving
from tests.load import KIB, MIB, Load
from tests.witness import Files, check, embedded, wait_until_settled

pytestmark = pytest.mark.slow
LINES = 120_000
LINE_BYTES = 400


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of `size` bytes."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs"]
    mounted = subprocess.run(["mount", *options, folder], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a file system can be mounted by root only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def wait_for_a_refusal(load: Load, kind: str) -> None:
    end = time.monotonic() + 60
    while not any(answer.kind == kind and answer.status == 507 for answer in load.answers):
        assert time.monotonic() < end, load.statuses()
        time.sleep(0.05)


def test_a_full_disk_is_told_and_corrupts_nothing_and_is_over_when_there_is_room(tmp_path: Path) -> None:
    quick = {"INLAKE_UPLOAD_TIMEOUT": "4", "INLAKE_BUS_TIMEOUT": "3", "INLAKE_SWEEP_SECONDS": "1"}
    with small_disk(tmp_path / "disk", 12 * MIB) as disk, embedded(tmp_path, disk=disk, **quick) as d:
        filler = disk / "filler"
        filler.write_bytes(bytes(5 * MIB))
        with serving(tmp_path, **d.variables) as served:
            kinds = ("record", "stream", "binary", "binary")
            with Load(served.url, clients=4, largest=512 * KIB, kinds=kinds) as load:
                for kind in "binary", "record":
                    wait_for_a_refusal(load, kind)
            assert load.statuses().keys() <= {201, 207, 503, 507}, load.statuses()
            print(dict(load.statuses()), check(load.accepted, d.witness, settled=False))
            filler.unlink()
            with Load(served.url, clients=1, largest=8 * KIB, kinds=("record", "binary")) as again:
                for kind in "binary", "record":
                    again.wait_for(3, kind)
            wait_until_settled(d.witness, 30)
        check(load.accepted + again.accepted, d.witness, settled=True)
        assert isinstance(d.witness, Files)
        assert d.witness.integrity() == "ok"


def test_receipts_that_find_no_room_on_the_disk_are_counted(tmp_path: Path) -> None:
    """httpx reads nothing of the answer before all is sent: the receipts must wait somewhere."""
    settings = {"TMPDIR": str(tmp_path / "disk"), "INLAKE_WINDOW_RECORDS": "20"}
    with small_disk(tmp_path / "disk", MIB), embedded(tmp_path, disk=None, **settings) as d:
        lines = b"".join((b'{"n":%d}' % n).ljust(LINE_BYTES) + b"\n" for n in range(LINES))
        body = (lines[at : at + 64 * KIB] for at in range(0, len(lines), 64 * KIB))
        with serving(tmp_path, **d.variables) as served:
            url, headers = f"{served.url}/ingress/record-json?schema=note", {"content-type": "application/x-ndjson"}
            answer = httpx2.post(url, content=body, headers=headers, timeout=120)
        *receipts, last = map(json.loads, answer.text.splitlines())
        assert answer.status_code == 207
        assert last["complete"]
        assert last["summary"]["accepted"] == LINES
        assert last["receipts_left_out"] > 0
        assert len(receipts) + last["receipts_left_out"] == LINES
        assert len(d.witness.events()) == LINES


def test_a_full_store_can_be_emptied_and_says_how_full_it_is(tmp_path: Path) -> None:
    """An upload that fills it; then it is asked for, given up, and there is room again."""
    quick = {"INLAKE_SWEEP_SECONDS": "1", "INLAKE_UPLOAD_TIMEOUT": "3", "INLAKE_BUS_TIMEOUT": "1"}
    tus = {"tus-resumable": "1.0.0"}
    with small_disk(tmp_path / "disk", 24 * MIB) as disk, embedded(tmp_path, disk=None, **quick) as d:
        d.variables["INLAKE_STORE"] = f"file:{disk}/store"
        with serving(tmp_path, **d.variables) as served, httpx2.Client(base_url=served.url, timeout=30) as client:
            wait_for((disk / "store/.inlake/reserve/15").exists)
            made = client.post("/uploads", headers={**tus, "upload-length": str(60 * MIB)})
            upload = f"/uploads/{made.headers['location'].rpartition('/')[2]}"
            patch = {**tus, "upload-offset": "0", "content-type": "application/offset+octet-stream"}
            assert client.patch(upload, headers=patch, content=bytes(60 * MIB)).status_code == 507
            ready = client.get("/health/ready")
            assert ready.status_code == 503
            assert ready.json()["checks"]["store"]["code"] == "out_of_space"
            assert "bytes are free" in ready.json()["checks"]["store"]["detail"]
            assert client.head(upload, headers=tus).status_code == 200
            assert client.delete(upload, headers=tus).status_code == 204
            assert shutil.disk_usage(disk).free > 20 * MIB
            assert client.get("/health/ready").status_code == 200


def test_an_event_is_published_once_when_the_store_is_full_before_that_is_noted(tmp_path: Path) -> None:
    quick = {"INLAKE_SWEEP_SECONDS": "1", "INLAKE_BUS_TIMEOUT": "1"}
    parts = {"record": (None, b'{"n": 1}', "application/json"), "file": ("a.bin", b"bytes", "a/b")}
    with small_disk(tmp_path / "disk", 24 * MIB) as disk, embedded(tmp_path, disk=None, **quick) as d:
        d.variables["INLAKE_STORE"] = f"file:{disk}/store"
        with serving(tmp_path, **d.variables) as served:
            wait_for((disk / "store/.inlake/reserve/15").exists)
            block = os.statvfs(disk).f_frsize
            with (disk / "fill").open("wb") as filler:
                filler.write(bytes(shutil.disk_usage(disk).free - 5 * block))
            answer = httpx2.post(f"{served.url}/ingress/record-json-and-binary?schema=note", files=parts, timeout=30)
            assert answer.status_code == 201, answer.text
            time.sleep(4)
            metrics = httpx2.get(f"{served.url}/metrics").text
        assert 'inlake_sweep_total{what="finished"}' not in metrics.replace('what="finished"} 0', "")


def wait_for(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
