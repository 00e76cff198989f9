"""API keys of a file."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from inlake.access.keys import ApiKeys
from inlake.errors import Unauthorized


def line(name: str, key: str) -> str:
    return f"{name}:{hashlib.sha256(key.encode()).hexdigest()}\n"


def test_a_key_that_is_taken_out_lets_nobody_in_any_more(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("# who: what\n\n" + line("museum", "old"))
    keys = ApiKeys(path)
    assert keys.principal("old") == "token:museum"
    path.write_text(line("museum", "new"))
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 5_000_000_000))
    keys._keys._looked -= 10
    assert keys.principal("new") == "token:museum"
    with pytest.raises(Unauthorized):
        keys.principal("old")
