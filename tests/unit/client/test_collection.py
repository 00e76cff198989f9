"""A collection that is sent a second time: which items are as they were, without a look at their bytes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from inlake.client.collection import apart, filled
from inlake.client.files import UNNAMED, Item, Placed, with_sidecars
from inlake.client.journal import File
from inlake.client.tables import Fault

RECORD = b'{"title":"A"}'
DIGEST = hashlib.sha256(RECORD).hexdigest()
OTHER = hashlib.sha256(b"{}").hexdigest()


def went_in(path: Path, record: str = DIGEST) -> File:
    found = path.stat()
    return File(path.name, found.st_size, found.st_mtime_ns, "", record)


def test_what_is_in_as_it_was_is_told_from_what_is_new_or_changed(tmp_path: Path) -> None:
    for name in "same", "unnamed", "longer", "touched", "other record", "gone", "wrong", "new":
        (tmp_path / name).write_bytes(b"12345")
    items = [Item(path.name, path, RECORD) for path in sorted(tmp_path.iterdir())]
    items = [
        item._replace(record=None, faults=(UNNAMED,)) if item.name == "unnamed"
        else item._replace(faults=(Fault("empty_cell", "It is empty."),)) if item.name == "wrong" else item
        for item in items
    ]  # fmt: skip
    files = [went_in(item.path, OTHER if item.name == "other record" else DIGEST) for item in items if item.path]
    files = [file for file in files if file.name != "new"]
    (tmp_path / "longer").write_bytes(b"123456")
    os.utime(tmp_path / "longer", ns=(0, next(file.modified for file in files if file.name == "longer")))
    os.utime(tmp_path / "touched", ns=(0, 1))
    (tmp_path / "gone").unlink()
    same, others = apart(items, [*files, File("deleted long ago", 1, 1, "", DIGEST)])
    assert [item.name for item in same] == ["same", "unnamed"]
    assert [item.name for item in others] == ["gone", "longer", "new", "other record", "touched", "wrong"]


def test_an_item_is_as_it_was_also_by_its_record_as_it_was_written_formerly(tmp_path: Path) -> None:
    (tmp_path / "scan").write_bytes(b"12345")
    item, sent = Item("scan", tmp_path / "scan", b'{"b":1,"a":2}'), went_in(tmp_path / "scan")
    assert [apart([one], [sent])[0] for one in (item, item._replace(former=RECORD))] == [
        [],
        [item._replace(former=RECORD)],
    ]


def test_an_object_in_place_is_known_by_its_uri_size_and_time() -> None:
    objects = [Placed("s3://b/1", 5, 7), Placed("s3://b/2", 5, 7), Placed("s3://b/3", 6, 7)]
    items = [Item(placed.uri[-1], None, RECORD, placed=placed) for placed in objects]
    files = [File("s3://b/1", 5, 7, "", DIGEST), File("s3://b/3", 5, 7, "", DIGEST), File("2", 5, 7, "", DIGEST)]
    same, others = apart(items, files)
    assert ([item.name for item in same], [item.name for item in others]) == (["1"], ["2", "3"])


def test_a_field_that_is_null_is_filled_and_the_rest_of_the_text_stays() -> None:
    record = b'{"n": 12345678901234567.891, "a/b~c": null, "s": "\\u00e9"}'
    assert filled(record, "a/b~c", b'"p"') == b'{"n": 12345678901234567.891, "a/b~c": "p", "s": "\\u00e9"}'


def test_a_record_that_is_nested_too_deep_is_a_fault_of_its_file_and_ends_nothing(tmp_path: Path) -> None:
    deep = b'{"__resource_path__": null, "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    (tmp_path / "scan.tif").write_bytes(b"x")
    (tmp_path / "scan.tif.json").write_bytes(deep)
    [item] = with_sidecars({path.name: path for path in tmp_path.iterdir()})
    assert item.record is None
    assert [fault.detail for fault in item.faults] == ["Its record scan.tif.json is nested too deep."]
    assert filled(deep, "__resource_path__") == deep
