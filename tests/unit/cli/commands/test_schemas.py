"""`inlake schemas add`: what goes into the registry, and what is refused before it does."""

from __future__ import annotations

import json
from pathlib import Path

from tests.answering import answering
from tests.command import inlake

ENUM = 'syntax = "proto3"; package museum; enum Role { UNKNOWN = 0; MAKER = 1; }'
PERSON = 'syntax = "proto3"; package museum; import "museum/role.proto"; message Person { Role role = 1; }'


def test_a_proto_without_messages_is_added_for_others_to_import(tmp_path: Path) -> None:
    (tmp_path / "role.proto").write_text(ENUM)
    (tmp_path / "person.proto").write_text(PERSON)
    added = inlake("schemas", "add", "museum.role", "role.proto", cwd=tmp_path)
    assert (added.returncode, added.stderr) == (0, "")
    assert (
        added.stdout
        == "museum.role version 1, id 1, PROTOBUF (no message in it: for others to import), in dir:.inlake/schemas\n"
    )
    reference = "--reference=museum/role.proto=museum.role:1"
    added = inlake("schemas", "add", "museum.person", "person.proto", reference, cwd=tmp_path)
    assert (added.returncode, added.stdout) == (
        0,
        "museum.person version 1, id 2, PROTOBUF, in dir:.inlake/schemas\n",
    ), added.stderr


def test_a_broken_proto_without_messages_is_refused(tmp_path: Path) -> None:
    (tmp_path / "role.proto").write_text(ENUM.replace("UNKNOWN = 0", "UNKNOWN = 1"))
    added = inlake("schemas", "add", "museum.role", "role.proto", cwd=tmp_path)
    assert added.returncode == 1
    assert "line 1" in added.stderr
    assert not list(tmp_path.glob(".inlake/schemas/museum.role/*"))


def test_a_dry_run_shows_the_lines_that_differ_and_adds_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.avsc").write_text('{"type": "record", "name": "A", "fields": [{"name": "year", "type": "int"}]}')
    (tmp_path / "b.avsc").write_text('{"type":"record","name":"A","fields":[{"name":"year","type":"string"}]}\n')
    assert inlake("schemas", "add", "a", "a.avsc", cwd=tmp_path).returncode == 0
    planned = inlake("schemas", "add", "a", "b.avsc", "a.avsc", "--dry-run", cwd=tmp_path)
    assert planned.returncode == 0, planned.stderr
    first, *changed, last = planned.stdout.splitlines()
    assert (first, last) == ("a version 2 would be added, AVRO", "a version 1 is there already, AVRO")
    assert changed[:2] == ["--- a version 1", "+++ the new one"]
    assert [line for line in changed[2:] if line[0] in "+-"] == ['-      "type": "int"', '+      "type": "string"']
    assert [path.name for path in tmp_path.glob(".inlake/schemas/a/*.avsc")] == ["1.avsc"]


def test_data_that_is_taken_for_a_schema_is_doubted(tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text('{"title": "Spot", "year": 1890}')
    (tmp_path / "any.json").write_text('{"title": "Spot", "type": "object"}')
    done = inlake("schemas", "add", "a", "record.json", cwd=tmp_path)
    assert done.returncode == 2
    assert "record.json: no keyword of JSON Schema is in it" in done.stderr
    assert inlake("schemas", "add", "a", "any.json", cwd=tmp_path).returncode == 0


def test_the_schemas_of_a_gateway_are_listed_without_a_registry() -> None:
    entry = {"name": "tate.artist", "subject": "tate.artist-value", "language": "AVRO", "versions": [1, 2], "id": 7}
    text = json.dumps({"schemas": [entry]}).encode()
    with answering((200, {"Content-Type": "application/json"}, text)) as gateway:
        done = inlake("schemas", "list", "--url", gateway.url, code="sys.modules['confluent_kafka'] = None")
    assert done.returncode == 0, done.stderr
    assert "tate.artist" in done.stdout
