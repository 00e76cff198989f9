"""Files below a folder into which others write: nothing beside it is read, whatever they put into it, and when."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from inlake.store.folder import beneath

LOOKS = 3_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "a.tif").write_bytes(b"secret")
    root = tmp_path / "root"
    (root / "box" / "inner").mkdir(parents=True)
    (root / "box" / "a.tif").write_bytes(b"ours")
    return root


SWAP = """
import os, sys
folder, aside, other = sys.argv[1:]
print("ready", flush=True)
while True:
    os.rename(folder, aside)
    os.symlink(other, folder)
    os.unlink(folder)
    os.rename(aside, folder)
"""


@contextmanager
def swapped(folder: Path, other: Path) -> Iterator[None]:
    """While the block runs, another process puts a link to the other one in the place of the folder, and takes it away."""
    command = [sys.executable, "-c", SWAP, str(folder), str(folder.with_name(".aside")), str(other)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()


def content(root: Path, *names: str) -> bytes | None:
    file = beneath.open_file(root, names)
    if file is None:
        return None
    with os.fdopen(file, "rb") as opened:
        return opened.read()


def test_a_link_that_takes_a_folders_place_meanwhile_leads_nowhere(root: Path) -> None:
    read: set[bytes | None] = set()
    sizes: set[int | None] = set()
    with swapped(root / "box", root.parent / "secrets"):
        end, looks = time.monotonic() + 30, 0
        while looks < LOOKS or (len(read) < 2 and time.monotonic() < end):  # a busy machine may stop the other process
            looks += 1
            found = beneath.facts(root, ["box", "a.tif"])
            read.add(content(root, "box", "a.tif"))
            sizes |= {found and found.size, *(each.size for each in beneath.walk(root, ["box"]))}
    assert read <= {None, b"ours"}
    assert sizes <= {None, len(b"ours")}
    assert len(read) == 2, "it was there at times, and at times a link was"


def test_what_is_no_file_is_none(root: Path) -> None:
    os.mkfifo(root / "pipe")
    (root / "link.tif").symlink_to(root / "box" / "a.tif")
    (root / "circle").symlink_to("circle")
    (root / "linked").symlink_to(root / "box")
    for names in (["pipe"], ["link.tif"], ["circle"], ["circle", "a"], ["linked", "a.tif"], ["box"], ["none"], ["none", "a"], ["box", "a.tif", "b"]):  # fmt: skip
        assert content(root, *names) is None, names
        assert beneath.facts(root, names) is None, names
    assert [*beneath.walk(root, ["linked"])] == [*beneath.walk(root, ["none"])] == []
    assert [found.key for found in beneath.walk(root, [])] == ["box/a.tif"]


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    assert beneath.facts(tmp_path / "none", ["a"]) is None
    assert [*beneath.walk(tmp_path / "none", [])] == []


def test_nothing_stays_open(root: Path) -> None:
    before = opened()
    for _ in range(20):
        content(root, "box", "a.tif")
        beneath.facts(root, ["none", "a"])
        walk = beneath.walk(root, [])
        next(walk)
        walk.close()
    assert opened() == before


def opened() -> int:
    """How many files this process has open, where the system tells."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0
