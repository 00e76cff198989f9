"""The page /docs in Chromium, on a fresh embedded gateway with the example schemas: each Execute works, twice."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.command import EXAMPLES, serving
from tests.live.test_console import chromium

SCHEMAS = EXAMPLES / "schemas" / "avro"


@pytest.mark.slow
def test_each_execute_of_a_fresh_page_works_twice(node: Path, tmp_path: Path) -> None:
    browser = chromium()
    with serving(tmp_path) as served:
        for name, file, *reference in (
            ("tate.artwork", "tate_artwork.avsc"),
            ("heritage.rights", "rights.avsc"),
            (
                "heritage.digital_object",
                "digital_object.avsc",
                "--reference",
                "example.heritage.Rights=heritage.rights:1",
            ),
        ):
            added = served.inlake("schemas", "add", name, SCHEMAS / file, *reference)
            assert added.returncode == 0, added.stderr
        done = subprocess.run(
            ["node", "docs.mjs", served.url, browser], cwd=node, capture_output=True, text=True, timeout=280
        )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["elsewhere"] == []
    pressed = found["pressed"]
    assert pressed.pop("POST /promises application/json", None) in (None, [501, 501])  # a folder takes nothing directly
    assert len(pressed) >= 18, pressed
    wrong = {name: answers for name, answers in pressed.items() if not set(answers) <= {200, 201, 204}}
    assert wrong == {}
