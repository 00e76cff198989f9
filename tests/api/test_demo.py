"""`make demo` runs this file: real records and a mesh in, events out, and nothing left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.command import EXAMPLES, environment


def test_the_demo_shows_records_and_a_mesh_as_events_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "demo.py"],
        cwd=tmp_path,
        env=environment(TMPDIR=str(tmp_path), INLAKE_TOPIC="of-the-user-{schema}"),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("201  inlake.tate.") == 25
    assert "/dateRange/startYear" in done.stdout
    assert "inlake_resource_sha256: 0738b5e8608fed74" in done.stdout
    assert len(done.stdout.splitlines()) < 130
    assert list(tmp_path.iterdir()) == []
