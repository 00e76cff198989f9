"""A record is made of a map and the facts of its file."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from inlake.client.files import Placed
from inlake.client.tables import Field, Map, Shape, TableError, read_map
from inlake.client.template import FACTS, Template

FIELDS = (Field("title", "text", required=True), Field("bytes", "integer"), Field("note", "text"))
SHAPE = Shape("scan", 1, "AVRO", Field("", "record", required=True, fields=FIELDS))


def map_of(tmp_path: Path, text: str) -> Map:
    path = tmp_path / "map.toml"
    path.write_text(text)
    return read_map(path)


def records(template: Template, files: dict[str, Any]) -> dict[str, Any]:
    return {item.name: json.loads(item.record) for item in template.items(files) if item.record}


def test_every_fact_of_a_file_can_be_a_field(tmp_path: Path) -> None:
    file = tmp_path / "a.b.TIF"
    file.write_bytes(b"scan")
    os.utime(file, (86_400, 86_400))
    wanted = {
        "file.path": "box/a.b.TIF", "file.name": "a.b.TIF", "file.stem": "a.b", "file.extension": "TIF",
        "file.folder": "box", "file.size": "4", "file.media_type": "image/tiff",
        "file.modified": "1970-01-02T00:00:00Z", "file.sha256": hashlib.sha256(b"scan").hexdigest(),
    }  # fmt: skip
    assert set(wanted) == set(FACTS)
    for fact, value in wanted.items():
        template = Template(SHAPE, map_of(tmp_path, f'[columns]\n"{fact}" = "/title"\n'))
        assert records(template, {"box/a.b.TIF": file}) == {"box/a.b.TIF": {"title": value}}


def test_constants_and_what_all_files_share_stand_beside_them(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"12345")
    text = (
        '[constants]\n"/title" = "Glass negative"\n[columns]\n"file.size" = "/bytes"\n"Source-Organization" = "/note"\n'
    )
    template = Template(SHAPE, map_of(tmp_path, text), {"Source-Organization": "Museum", "Bag-Size": "1"})
    assert records(template, {"x": file}) == {"x": {"title": "Glass negative", "bytes": 5, "note": "Museum"}}
    alone = Template(SHAPE, map_of(tmp_path, '[constants]\n"/title" = "t"\n'))
    assert records(alone, {"x": file}) == {"x": {"title": "t"}}


def test_an_object_in_place_has_facts_too(tmp_path: Path) -> None:
    template = Template(SHAPE, map_of(tmp_path, '[columns]\n"file.stem" = "/title"\n"file.size" = "/bytes"\n'))
    assert records(template, {"a.tif": Placed("s3://b/a.tif", 7, 0)}) == {"a.tif": {"title": "a", "bytes": 7}}


def test_what_is_no_fact_is_told_and_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"There is no 'file.colour'"):
        Template(SHAPE, map_of(tmp_path, '[columns]\n"file.colour" = "/title"\n'))
    template = Template(SHAPE, map_of(tmp_path, '[columns]\n"file.stem" = "/title"\n"file.size" = "/bytes"\n'))
    (item,) = template.items({"gone": tmp_path / "gone"})
    assert (item.record, item.faults[0].code) == (None, "unreadable")
