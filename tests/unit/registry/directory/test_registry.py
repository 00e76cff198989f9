"""What only the registry in a folder has: files made by hand, ids that outlive them, several processes."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference

from inlake.errors import BadName, Conflict, InvalidSchema, RegistryUnavailable, SchemaNotFound
from inlake.registry.directory.registry import DirectoryRegistry
from inlake.registry.references import find_references

ARTWORK = '{"type": "record", "name": "Artwork", "fields": [{"name": "title", "type": "string"}]}'
OTHER = '{"type": "record", "name": "Artwork", "fields": []}'
PROTO = 'syntax = "proto3";\nmessage Artwork { string title = 1; }\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "schemas"


@pytest.fixture
async def registry(root: Path) -> AsyncIterator[DirectoryRegistry]:
    registry = DirectoryRegistry(root, ttl=0)
    yield registry
    await registry.close()


def drop(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("file", "text", "kind"),
    [
        ("tate.artwork.avsc", ARTWORK, "AVRO"),
        ("tate.artwork.proto", PROTO, "PROTOBUF"),
        ("tate.artwork.json", "{}", "JSON"),
    ],
)
async def test_a_loose_file_is_version_1(
    registry: DirectoryRegistry, root: Path, file: str, text: str, kind: str
) -> None:
    drop(root / file, text)
    found = await registry.find("tate.artwork")
    assert (found.version, found.schema_id, found.schema) == (1, 1, Schema(text, kind))
    assert await registry.subjects() == ["tate.artwork"]
    assert await registry.versions("tate.artwork") == [1]
    assert await registry.find_by_id(1) == (Schema(text, kind), [])


async def test_files_dropped_in_a_folder_are_versions(registry: DirectoryRegistry, root: Path) -> None:
    drop(root / "artwork/2.avsc", ARTWORK)
    drop(root / "artwork/10.proto", PROTO)
    drop(root / "artwork/README.md", "no schema")
    drop(root / "artwork/03.avsc", "no version")
    assert await registry.versions("artwork") == [2, 10]
    assert (await registry.find("artwork")).schema.schema_type == "PROTOBUF"
    assert (await registry.find("artwork", 2)).schema.schema_str == ARTWORK
    with pytest.raises(SchemaNotFound, match="no version 1"):
        await registry.find("artwork", 1)


async def test_references_written_by_hand_are_read(registry: DirectoryRegistry, root: Path) -> None:
    drop(root / "place.avsc", ARTWORK)
    drop(root / "artwork/1.avsc", ARTWORK)
    drop(root / "artwork/1.references.json", '[{"name": "Place", "subject": "place", "version": 1}]')
    schema = (await registry.find("artwork")).schema
    assert schema.references == [SchemaReference("Place", "place", 1)]
    assert await registry.references(schema) == [("Place", Schema(ARTWORK))]
    assert (await registry.find("artwork")).schema_id != (await registry.find("place")).schema_id


async def test_a_registered_schema_is_a_plain_file_with_its_references_beside_it(
    registry: DirectoryRegistry, root: Path
) -> None:
    await registry.register("place", Schema(PROTO, "PROTOBUF"))
    reference = SchemaReference("place.proto", "place", -1)
    registered = await registry.register("artwork", Schema(f"\ufeff{PROTO}", "PROTOBUF", [reference]))
    assert (root / "artwork/1.proto").read_text() == PROTO
    listed = json.loads((root / "artwork/1.references.json").read_text())
    assert listed == [{"name": "place.proto", "subject": "place", "version": 1}], "the latest is pinned to its number"
    assert registered.schema.references == [SchemaReference("place.proto", "place", 1)]
    assert sorted(path.name for path in root.iterdir()) == ["artwork", "ids.json", "ids.json~lock", "place"]


async def test_an_edited_version_gets_a_new_id_and_the_old_id_is_still_found(
    registry: DirectoryRegistry, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = drop(root / "artwork.avsc", ARTWORK)
    before = await registry.find("artwork")
    path.write_text(OTHER)
    with caplog.at_level(logging.WARNING):
        after = await registry.find("artwork")
    assert (before.schema_id, after.schema_id) == (1, 2)
    assert "artwork.avsc was changed" in caplog.text
    path.unlink()
    fresh = DirectoryRegistry(root)
    assert await fresh.find_by_id(1) == (Schema(ARTWORK), [])
    assert await fresh.find_by_id(2) == (Schema(OTHER), [])
    await fresh.close()


async def test_an_id_is_never_used_again(registry: DirectoryRegistry, root: Path) -> None:
    for number in range(3):
        path = drop(root / "artwork.proto", f"// {number}\n{PROTO}")
        assert (await registry.find("artwork")).schema_id == number + 1
        path.unlink()
        with pytest.raises(SchemaNotFound):
            await registry.find("artwork")


async def test_a_changed_file_is_seen_when_the_time_is_over_and_not_before(root: Path) -> None:
    registry = DirectoryRegistry(root, ttl=0.3)
    path = drop(root / "artwork.avsc", ARTWORK)
    first = await registry.find("artwork")
    path.write_text(OTHER)
    assert await registry.find("artwork") is first
    await asyncio.sleep(0.35)
    assert (await registry.find("artwork")).schema.schema_str == OTHER
    await registry.close()


async def test_an_unchanged_file_gives_the_same_object(registry: DirectoryRegistry, root: Path) -> None:
    drop(root / "artwork.avsc", ARTWORK)
    assert await registry.find("artwork") is await registry.find("artwork")


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("artwork.avsc", b"{no", r"artwork\.avsc is not JSON"),
        ("artwork.json", b"[" * 100_000, r"artwork\.json is not JSON"),
        ("artwork.avsc", b'"\xff"', r"artwork\.avsc is not UTF-8"),
        ("artwork.proto", b" \n", r"artwork\.proto is empty"),
        ("artwork/4.avsc", b"", r"artwork/4\.avsc is empty"),
    ],
)
async def test_a_broken_file_is_named(
    registry: DirectoryRegistry, root: Path, file: str, content: bytes, sentence: str
) -> None:
    drop(root / file, "").write_bytes(content)
    with pytest.raises(InvalidSchema, match=sentence):
        await registry.find("artwork")


@pytest.mark.parametrize(
    "text", ["{", '{"name": 1}', '[{"name": "Place"}]', '[{"name": 1, "subject": "place", "version": 1}]', "[1]", "3"]
)
async def test_broken_references_are_named(registry: DirectoryRegistry, root: Path, text: str) -> None:
    drop(root / "artwork/1.avsc", ARTWORK)
    drop(root / "artwork/1.references.json", text)
    with pytest.raises(InvalidSchema, match=r"artwork/1\.references\.json is not a list of references"):
        await registry.find("artwork")


async def test_two_files_for_one_version_are_refused(registry: DirectoryRegistry, root: Path) -> None:
    drop(root / "artwork/1.avsc", ARTWORK)
    drop(root / "artwork/1.json", "{}")
    with pytest.raises(InvalidSchema, match=r"1\.avsc and artwork/1\.json are both version 1"):
        await registry.find("artwork")
    drop(root / "loose.avsc", ARTWORK)
    drop(root / "loose.proto", PROTO)
    with pytest.raises(InvalidSchema, match="both version 1"):
        await registry.find("loose")


async def test_a_loose_file_beside_a_folder_of_its_name_is_refused(registry: DirectoryRegistry, root: Path) -> None:
    drop(root / "artwork/1.avsc", ARTWORK)
    drop(root / "artwork.avsc", ARTWORK)
    with pytest.raises(InvalidSchema, match=r"artwork\.avsc stands beside the folder artwork/"):
        await registry.find("artwork")


async def test_a_loose_file_has_room_for_one_version(registry: DirectoryRegistry, root: Path) -> None:
    drop(root / "artwork.avsc", ARTWORK)
    assert (await registry.register("artwork", Schema(ARTWORK))).version == 1
    with pytest.raises(Conflict, match=r"move artwork\.avsc to artwork/1\.avsc first"):
        await registry.register("artwork", Schema(OTHER))


async def test_the_file_of_the_ids_is_no_schema_but_a_schema_may_be_called_ids(
    registry: DirectoryRegistry, root: Path
) -> None:
    await registry.register("artwork", Schema(ARTWORK))
    with pytest.raises(SchemaNotFound):
        await registry.find("ids")
    await registry.register("ids", Schema("{}", "JSON"))
    assert await registry.subjects() == ["artwork", "ids"]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "a b", "é", "a\n", "x" * 201])
async def test_a_name_that_is_no_name_never_reaches_the_disk(
    registry: DirectoryRegistry, root: Path, name: str
) -> None:
    for call in (registry.find(name), registry.versions(name), registry.register(name, Schema(ARTWORK))):
        with pytest.raises(BadName):
            await call
    assert not root.exists()


async def test_schemas_that_cannot_be_kept_are_refused(registry: DirectoryRegistry) -> None:
    missing = [SchemaReference("Place", "place", 1)]
    for schema in (Schema(ARTWORK, "XML"), Schema("", "PROTOBUF"), Schema(ARTWORK, "AVRO", missing)):
        with pytest.raises(InvalidSchema):
            await registry.register("artwork", schema)


async def test_references_that_go_in_a_circle_are_refused(registry: DirectoryRegistry, root: Path) -> None:
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        drop(root / name / "1.avsc", ARTWORK)
        drop(root / name / "1.references.json", json.dumps([{"name": other.upper(), "subject": other, "version": 1}]))
    with pytest.raises(InvalidSchema, match="circle: B -> C -> A -> B"):
        await registry.references((await registry.find("a")).schema)


async def test_references_without_end_are_refused(registry: DirectoryRegistry, root: Path) -> None:
    for number in range(120):
        drop(root / f"s{number}/1.avsc", ARTWORK)
        link = [{"name": f"N{number + 1}", "subject": f"s{number + 1}", "version": 1}]
        drop(root / f"s{number}/1.references.json", json.dumps(link))
    with pytest.raises(InvalidSchema, match="nests them deeper than 100"):
        await find_references((await registry.find("s0")).schema, registry.find)


async def test_an_empty_folder_passes_the_check_and_a_file_in_its_place_does_not(tmp_path: Path) -> None:
    registry = DirectoryRegistry(tmp_path / "new" / "schemas")
    assert await registry.subjects() == []
    await registry.check()
    await registry.close()
    blocked = DirectoryRegistry(drop(tmp_path / "file", ""))
    with pytest.raises(RegistryUnavailable, match="cannot be used"):
        await blocked.check()
    with pytest.raises(RegistryUnavailable):
        await blocked.register("artwork", Schema(ARTWORK))
    await blocked.close()


async def test_a_broken_file_of_ids_is_no_reason_to_give_new_ones(registry: DirectoryRegistry, root: Path) -> None:
    drop(root / "ids.json", '{"schemas": {"1": ')
    drop(root / "artwork.avsc", ARTWORK)
    for call in (registry.find("artwork"), registry.find_by_id(1), registry.check()):
        with pytest.raises(RegistryUnavailable, match=r"ids\.json is broken, restore it from a backup"):
            await call


async def test_the_last_known_answer_stands_while_the_folder_cannot_be_used(
    registry: DirectoryRegistry, root: Path
) -> None:
    path = drop(root / "artwork.avsc", ARTWORK)
    known = await registry.find("artwork")
    path.write_text(OTHER)
    drop(root / "ids.json", "broken")
    assert await registry.find("artwork") is known


async def test_processes_that_register_at_once_never_share_an_id_or_a_version(
    registry: DirectoryRegistry, root: Path
) -> None:
    program = textwrap.dedent("""
        import asyncio, sys
        from pathlib import Path
        from confluent_kafka.schema_registry import Schema
        from inlake.registry.directory.registry import DirectoryRegistry

        async def main(root, who):
            registry = DirectoryRegistry(Path(root))
            for number in range(10):
                await registry.register("shared", Schema(f"// {who} {number}", "PROTOBUF"))
                await registry.register("same", Schema(f"// {number}", "PROTOBUF"))

        asyncio.run(main(*sys.argv[1:]))
    """)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    running = [subprocess.Popen([sys.executable, "-c", program, root, who], env=environment) for who in "abc"]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert await registry.versions("shared") == list(range(1, 31))
    assert await registry.versions("same") == list(range(1, 11))
    found = [await registry.find(name, v) for name in ("shared", "same") for v in await registry.versions(name)]
    assert {one.schema_id for one in found} == set(range(1, 41))


async def test_a_file_that_stands_where_the_folder_was_is_told_and_not_taken_for_an_empty_one(root: Path) -> None:
    registry = DirectoryRegistry(root, ttl=0)
    root.write_text("")
    for answer in (registry.subjects(), registry.check(), registry.find("tate.artwork")):
        with pytest.raises(RegistryUnavailable, match="cannot be used"):
            await answer
    await registry.close()


def part_and_whole(root: Path) -> Path:
    """Two schemas, one of which refers to the other; the file of the other."""
    drop(root / "whole/1.avsc", OTHER)
    drop(root / "whole/1.references.json", '[{"name": "Part", "subject": "part", "version": 1}]')
    return drop(root / "part/1.avsc", ARTWORK)


async def test_what_refers_to_an_edited_schema_gets_a_new_id_and_the_old_one_keeps_its_texts(
    registry: DirectoryRegistry, root: Path
) -> None:
    part = part_and_whole(root)
    drop(root / "museum/1.avsc", '"bytes"')
    drop(root / "museum/1.references.json", '[{"name": "Whole", "subject": "whole", "version": 1}]')
    before = await registry.find("museum")
    part.write_text('"long"')
    after = await registry.find("museum")
    assert before.schema == after.schema
    assert before.schema_id != after.schema_id
    part.write_text('"double"')
    fresh = DirectoryRegistry(root)
    for found, text in ((before, ARTWORK), (after, '"long"')):
        schema, references = await fresh.find_by_id(found.schema_id or 0)
        assert schema == found.schema
        assert [(name, each.schema_str) for name, each in references] == [("Part", text), ("Whole", OTHER)]
    await fresh.close()


async def test_ids_given_before_references_were_noted_stay(registry: DirectoryRegistry, root: Path) -> None:
    part_and_whole(root)
    whole = {"schema": OTHER, "schemaType": "AVRO", "references": [{"name": "Part", "subject": "part", "version": 1}]}
    part = {"schema": ARTWORK, "schemaType": "AVRO", "references": []}
    drop(root / "ids.json", json.dumps({"schemas": {"7": whole, "9": part}}, indent=1))
    assert (await registry.find_by_id(7))[1] == [("Part", Schema(ARTWORK))]
    assert ((await registry.find("whole")).schema_id, (await registry.find("part")).schema_id) == (7, 9)
    assert json.loads((root / "ids.json").read_text())["schemas"]["7"]["refers_to"] == [9]


async def test_what_a_crash_left_of_a_line_of_ids_is_cut_off(registry: DirectoryRegistry, root: Path) -> None:
    for number in range(3):
        await registry.register("artwork", Schema(f"// é {number}\n{PROTO}", "PROTOBUF"))
    whole = (root / "ids.json").read_bytes()
    line = b',\n"4": {"schema": "\xc3\xa9", "schemaType": "PROTOBUF", "references": []}\n}}\n'
    for length in range(1, len(line)):
        (root / "ids.json").write_bytes(whole[:-4] + line[:length] + whole[len(whole) - 4 + length :])
        fresh = DirectoryRegistry(root)
        assert [(await fresh.find("artwork", version)).schema_id for version in (1, 2, 3)] == [1, 2, 3]
        assert list(json.loads((root / "ids.json").read_text())["schemas"]) in (["1", "2", "3"], ["1", "2", "3", "4"])
        await fresh.close()


async def test_an_id_costs_as_much_among_many_as_among_few(registry: DirectoryRegistry, root: Path) -> None:
    """What is written, in bytes: a line, and not the file."""
    sizes = []
    for number in range(60):
        await registry.register(f"s{number}", Schema(f"// {number:03}\n{PROTO}", "PROTOBUF"))
        sizes.append((root / "ids.json").stat().st_size)
    assert len({after - before for before, after in pairwise(sizes[20:])}) == 1
    inode = (root / "ids.json").stat().st_ino
    await registry.register("last", Schema(ARTWORK))
    assert (root / "ids.json").stat().st_ino == inode, "the file is added to, not written again"
