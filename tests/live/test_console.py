"""The console in Chromium, on an embedded gateway: no other server is needed."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.command import Served, serving
from tests.gateways import NOTE

PROTO = """syntax = "proto3";
message Note {
  string title = 1;
  int32 year = 2;
  repeated string tags = 3;
}
"""
JSON_SCHEMA = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "year": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["title"],
}


def chromium() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    return found


KEY = "a key of the curator"
RIGHTS = """[[rule]]
who = ["token:curator"]
may = ["ingest", "read", "administer"]
"""


@pytest.mark.slow
def test_a_curator_does_what_there_is_to_do(node: Path, tmp_path: Path) -> None:
    browser = chromium()
    keys, rights, closed = tmp_path / "keys", tmp_path / "rights.toml", tmp_path / "closed"
    keys.write_text(f"curator:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
    rights.write_text(RIGHTS)
    closed.mkdir()
    with serving(tmp_path) as served, serving(closed, INLAKE_API_KEYS=str(keys), INLAKE_RIGHTS=str(rights)) as keyed:
        add_schemas(served)
        add_schemas(keyed)
        done = subprocess.run(
            ["node", "console.mjs", served.url, browser, keyed.url, KEY],
            cwd=node, capture_output=True, text=True, timeout=280,
        )  # fmt: skip
        print(done.stdout)
        assert done.returncode == 0, done.stdout + done.stderr


def add_schemas(served: Served) -> None:
    """One in each language."""
    (served.folder / "note.avsc").write_text(json.dumps(NOTE))
    (served.folder / "note.proto").write_text(PROTO)
    (served.folder / "note.json").write_text(json.dumps(JSON_SCHEMA))
    for language, file in (("avro", "note.avsc"), ("protobuf", "note.proto"), ("json", "note.json")):
        added = served.inlake("schemas", "add", f"note.{language}", file)
        assert added.returncode == 0, added.stderr
