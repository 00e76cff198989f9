"""A file of the operator is read again when it changes, and a broken one changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inlake.access.reloaded import Reloaded


def number(path: Path) -> int:
    return int(path.read_text())


def changed(path: Path, text: str, reloaded: Reloaded[int]) -> None:
    path.write_text(text)
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 5_000_000_000))
    reloaded._looked -= 10


def test_a_change_is_seen_and_a_broken_file_leaves_what_was_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "number"
    path.write_text("1")
    reloaded = Reloaded(path, number)
    assert reloaded.current == 1
    changed(path, "2", reloaded)
    assert reloaded.current == 2
    changed(path, "two", reloaded)
    assert reloaded.current == 2
    assert "goes on being in force" in caplog.text
    path.unlink()
    reloaded._looked -= 10
    assert reloaded.current == 2
    changed(path, "3", reloaded)
    assert reloaded.current == 3


def test_between_two_looks_the_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "number"
    path.write_text("1")
    reloaded = Reloaded(path, number)
    path.write_text("22")
    assert reloaded.current == 1


def test_a_broken_file_is_none_to_begin_with(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        Reloaded(tmp_path / "absent", number)
