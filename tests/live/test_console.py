"""The console in Chromium, on an embedded gateway: no other server is needed."""

from __future__ import annotations

import hashlib
import json
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from PIL import Image

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


OBJ = """v -1 -1 0
v 1 -1 0
v 0 1 0
v 0 0 1
f 1 2 3
f 1 2 4
f 2 3 4
f 3 1 4
"""
STL = """solid form
facet normal 0 -0.7 0.7
outer loop
vertex -1 -1 0
vertex 1 -1 0
vertex 0 0 1
endloop
endfacet
facet normal 0.7 0.5 0.5
outer loop
vertex 1 -1 0
vertex 0 1 0
vertex 0 0 1
endloop
endfacet
endsolid form
"""


def glb() -> bytes:
    """Three sides of a pyramid as binary glTF."""
    points = struct.pack("<12f", -1, -1, 0, 1, -1, 0, 0, 1, 0, 0, 0, 1)
    sides = struct.pack("<12H", 0, 1, 3, 1, 2, 3, 2, 0, 3, 0, 2, 1)
    about = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorFactor": [0.7, 0.1, 0.1, 1], "metallicFactor": 0}}],
        "buffers": [{"byteLength": 72}],
        "bufferViews": [{"buffer": 0, "byteLength": 48}, {"buffer": 0, "byteOffset": 48, "byteLength": 24}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3", "min": [-1, -1, 0], "max": [1, 1, 1]},
            {"bufferView": 1, "componentType": 5123, "count": 12, "type": "SCALAR"},
        ],
    }
    text = json.dumps(about).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", 72, 0x004E4942) + points + sides
    return struct.pack("<III", 0x46546C67, 2, 12 + len(chunks)) + chunks


@pytest.mark.slow
def test_files_are_seen_and_a_table_that_does_not_fit_reads_well(node: Path, tmp_path: Path) -> None:
    browser, files = chromium(), tmp_path / "files"
    files.mkdir()
    (files / "cube.glb").write_bytes(glb())
    (files / "form.obj").write_text(OBJ)
    (files / "form.stl").write_text(STL)
    (files / "broken.stl").write_bytes(b"nothing")
    Image.new("RGB", (2400, 1200), "teal").save(files / "scan.tif")
    with serving(tmp_path) as served:
        (tmp_path / "note.avsc").write_text(json.dumps(NOTE))
        assert served.inlake("schemas", "add", "note", "note.avsc").returncode == 0
        command = ["node", "files.mjs", served.url, browser, str(files)]
        done = subprocess.run(command, cwd=node, capture_output=True, text=True, timeout=280)
        print(done.stdout)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_pages_are_quick_safe_and_used_by_keyboard_alone(node: Path, tmp_path: Path) -> None:
    browser = chromium()
    keys, rights, closed = tmp_path / "keys", tmp_path / "rights.toml", tmp_path / "closed"
    keys.write_text(f"curator:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
    rights.write_text(RIGHTS)
    closed.mkdir()
    with serving(tmp_path) as served, serving(closed, INLAKE_API_KEYS=str(keys), INLAKE_RIGHTS=str(rights)) as keyed:
        add_schemas(served)
        add_schemas(keyed)
        changed = {**NOTE, "fields": [*NOTE["fields"], {"name": "maker", "type": ["null", "string"], "default": None}]}
        (tmp_path / "changed.avsc").write_text(json.dumps(changed))
        assert served.inlake("schemas", "add", "note.avro", "changed.avsc").returncode == 0
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
