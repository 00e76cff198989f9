"""Files and names that stay, and locks: on a real disk, between real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from inlake.disk import lock, write_durably

HOLDER = """
import os, sys
from inlake.disk import lock
file = os.open(sys.argv[1], os.O_RDWR)
print(lock(file), flush=True)
sys.stdin.read()
os._exit(0)
"""


def test_a_file_is_replaced_whole_and_its_draft_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "ids.json"
    write_durably(path, b"one")
    write_durably(path, bytes(3 << 20))
    assert path.read_bytes() == bytes(3 << 20)
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_of_a_process_ends_with_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.touch()
    file = os.open(path, os.O_RDWR)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdin
        assert holder.stdout
        assert holder.stdout.readline() == b"True\n"
        assert not lock(file)
        holder.stdin.close()
    assert lock(file)
    os.close(file)
