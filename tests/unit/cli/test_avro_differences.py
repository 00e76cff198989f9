"""What differs between two schemas, for those who send and those who read."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest
from fastavro.read import SchemaResolutionError

from inlake.cli.avro_differences import Difference, avro_differences
from inlake.errors import RecordRejected
from inlake.formats.avro.codec import AvroCodec
from tests.command import EXAMPLES, inlake

Schema = dict[str, Any]


def record(*fields: Schema, **members: Any) -> Schema:
    return {"type": "record", "name": "R", "fields": list(fields), **members}


def field(type_: Any, name: str = "f", **members: Any) -> Schema:
    return {"name": name, "type": type_, **members}


def enum(*symbols: str, **members: Any) -> Schema:
    return {"type": "enum", "name": "E", "symbols": list(symbols), **members}


def differences(old: Schema, new: Schema) -> list[Difference]:
    return avro_differences([json.dumps(old)], [json.dumps(new)])


CASES = {
    "widened": (record(field("int")), record(field("long")), '{"f": 1}', '{"f": 5}'),
    "narrowed": (record(field("long")), record(field("int")), '{"f": 99999999999}', '{"f": 5}'),
    "to text": (record(field("int")), record(field("string")), '{"f": 1}', '{"f": "x"}'),
    "new with default": (record(), record(field("int", default=3)), "{}", "{}"),
    "new without default": (record(), record(field("int")), "{}", '{"f": 1}'),
    "gone": (record(field("int"), field("int", "g")), record(field("int", "g")), '{"f":1,"g":1}', '{"g": 1}'),
    "gone with default": (record(field("int", default=1)), record(), '{"f": 1}', "{}"),
    "renamed": (record(field("int")), record(field("int", "g", aliases=["f"])), '{"f": 1}', '{"g": 1}'),
    "symbol gone": (record(field(enum("A", "B"))), record(field(enum("A"))), '{"f": "B"}', '{"f": "A"}'),
    "symbol new": (record(field(enum("A"))), record(field(enum("A", "B"))), '{"f": "A"}', '{"f": "B"}'),
    "symbol gone with default": (record(field(enum("A", "B"))), record(field(enum("A", default="A"))), '{"f": "B"}', '{"f": "A"}'),
    "null too": (record(field("int")), record(field(["null", "int"])), '{"f": 1}', '{"f": null}'),
    "null no longer": (record(field(["null", "int"])), record(field("int")), '{"f": null}', '{"f": 1}'),
    "items": (record(field({"type": "array", "items": "int"})), record(field({"type": "array", "items": "long"})), '{"f": [1]}', '{"f": [5]}'),
    "values": (record(field({"type": "map", "values": "int"})), record(field({"type": "map", "values": "string"})), '{"f": {"a": 1}}', '{"f": {"a": "x"}}'),
    "size": (record(field({"type": "fixed", "name": "F", "size": 1})), record(field({"type": "fixed", "name": "F", "size": 2})), '{"f": "a"}', '{"f": "ab"}'),
}  # fmt: skip
"""Two schemas, and for each a record that shows what the difference does."""


@pytest.mark.parametrize("name", CASES)
def test_what_is_said_of_a_difference_is_what_the_gateway_and_another_reader_do(name: str) -> None:
    old, new, old_record, new_record = CASES[name]
    (found,) = differences(old, new)
    assert found.accepted == fits(new, old_record)
    assert found.reads_old == readable(old, new, old_record)
    assert found.reads_new == readable(new, old, new_record)


def fits(schema: Schema, text: str) -> bool:
    codec = AvroCodec(json.dumps(schema))
    try:
        codec.encode(codec.read(text.encode()))
    except RecordRejected:
        return False
    return True


def readable(writer: Schema, reader: Schema, text: str) -> bool:
    codec = AvroCodec(json.dumps(writer))
    payload = codec.encode(codec.read(text.encode()))
    try:
        fastavro.schemaless_reader(io.BytesIO(payload), writer, reader)
    except SchemaResolutionError:
        return False
    return True


def test_a_schema_differs_from_itself_in_nothing() -> None:
    for path in (EXAMPLES / "schemas" / "avro").glob("*.avsc"):
        texts = [(EXAMPLES / "schemas" / "avro" / "rights.avsc").read_text()] * (path.stem == "digital_object")
        texts.append(path.read_text())
        assert avro_differences(texts, texts) == []


def test_every_pair_of_real_schemas_can_be_compared() -> None:
    rights, *others = sorted(EXAMPLES.glob("schemas/avro/*.avsc"), key=lambda path: path.stem != "rights")
    texts = [[rights.read_text(), path.read_text()] for path in others]
    for a, b in itertools.permutations(texts, 2):
        assert avro_differences(a, b)


def test_docs_and_order_of_fields_do_not_count() -> None:
    a = record(field("int"), field("int", "g"))
    b = record(field("int", "g", doc="x"), field("int"), doc="y")
    assert differences(a, b) == []


def test_a_recursive_schema_is_compared_to_its_end() -> None:
    a, b = (record(field(["null", "R"]), field(kind, "g"), namespace="m") for kind in ("int", "long"))
    assert [found.place for found in differences(a, b)] == ["/g"]


def test_a_change_in_a_reference_is_found() -> None:
    old, new = (json.dumps({"type": "enum", "name": "m.E", "symbols": symbols}) for symbols in (["A"], ["A", "B"]))
    text = json.dumps(record(field("E"), namespace="m"))
    (found,) = avro_differences([old, text], [new, text])
    assert (found.place, found.change) == ("/f", "a new symbol, B")


@pytest.mark.parametrize(
    ("a", "b", "change", "reads"),
    [
        (field("long"), field({"type": "long", "logicalType": "timestamp-millis"}), "long is now long (timestamp-millis)", True),
        (field({"type": "bytes", "logicalType": "decimal", "precision": 4}), field({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}), "bytes (decimal(4, 0)) is now bytes (decimal(4, 2))", False),
        (field("int", default=1), field("int", default=2), "default 1 is now default 2", True),
        (field("int", default=1), field("int"), "default 1 is now without default", True),
        (field({"type": "fixed", "name": "F", "size": 1}), field({"type": "fixed", "name": "G", "size": 1}), "F is now called G", False),
    ],
)  # fmt: skip
def test_other_changes_are_named(a: Schema, b: Schema, change: str, reads: bool) -> None:
    (found,) = differences(record(a), record(b))
    assert (found.change, found.reads_old, found.reads_new) == (change, reads, reads)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.avsc").write_text(json.dumps(record(field("int"))))
    (tmp_path / "b.avsc").write_text(json.dumps(record(field("int"), field("int", "g", default=1))))
    return tmp_path


def test_a_person_sees_each_difference_and_the_whole(folder: Path) -> None:
    done = inlake("schemas", "compare", "a.avsc", "b.avsc", cwd=folder)
    assert done.returncode == 1
    assert done.stdout.splitlines()[1].split() == ["/g", "a", "new", "field,", "default", "1", "yes", "yes", "yes"]
    assert "Readers with A read events written with B: yes" in done.stdout
    same = inlake("schemas", "compare", "a.avsc", "a.avsc", cwd=folder)
    assert (same.returncode, same.stdout) == (0, "They mean the same.\n")


def test_versions_of_the_registry_are_compared_with_each_other_and_with_files(folder: Path) -> None:
    assert inlake("schemas", "add", "note", "a.avsc", "b.avsc", cwd=folder).returncode == 0
    done = inlake("schemas", "compare", "note:1", "note", "--json", cwd=folder)
    difference, last = map(json.loads, done.stdout.splitlines())
    assert difference["place"] == "/g"
    assert last["summary"] == {"differences": 1, "accepted": True, "reads_old": True, "reads_new": True}
    assert inlake("schemas", "compare", "note:2", "b.avsc", cwd=folder).returncode == 0


def test_other_languages_are_compared_line_by_line(folder: Path) -> None:
    for name, text in ("a", '{"type":"object"}'), ("b", '{ "type":\n"array" }'), ("c", '{"type":  "object"}'):
        (folder / f"{name}.json").write_text(text)
    done = inlake("schemas", "compare", "a.json", "b.json", cwd=folder)
    assert '-  "type": "object"\n+  "type": "array"\n' in done.stdout
    assert done.returncode == 1
    assert inlake("schemas", "compare", "a.json", "c.json", cwd=folder).returncode == 0


@pytest.mark.parametrize(
    ("a", "b", "sentence"),
    [
        ("a.avsc", "absent.avsc", "absent.avsc: there is no such file"),
        ("a.avsc", "c.json", "there is nothing to compare"),
        ("a.avsc", "note:x", "write NAME or NAME:VERSION"),
        ("a.avsc", "broken.avsc", "broken.avsc: The schema is invalid"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(folder: Path, a: str, b: str, sentence: str) -> None:
    (folder / "c.json").write_text("{}")
    (folder / "broken.avsc").write_text('{"type": "record", "name": "R"}')
    done = inlake("schemas", "compare", a, b, cwd=folder)
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.returncode == 2


def test_a_dry_run_says_what_would_be_added_and_adds_nothing(folder: Path) -> None:
    planned = inlake("schemas", "add", "note", "a.avsc", "b.avsc", "a.avsc", "--dry-run", cwd=folder)
    assert planned.stdout.splitlines() == [
        "note version 1 would be added, AVRO",
        "note version 2 would be added, AVRO",
        "note version 1 is there already, AVRO",
    ]
    assert "No schemas yet" in inlake("schemas", "list", cwd=folder).stdout
    (folder / "broken.avsc").write_text('{"type": "record", "name": "R"}')
    assert inlake("schemas", "add", "note", "broken.avsc", "--dry-run", cwd=folder).returncode == 1
