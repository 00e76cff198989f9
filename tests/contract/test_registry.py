"""The contract of the Registry port, run against every adapter of it."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from time import perf_counter

import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference

from inlake.errors import InvalidSchema, SchemaNotFound
from inlake.ports import Registry
from inlake.registry.confluent.registry import ConfluentRegistry
from inlake.registry.directory.registry import DirectoryRegistry
from tests.live_servers import SCHEMA_REGISTRY_URL, require

PROTO = 'syntax = "proto3";\npackage inlake.test;\nmessage Artwork {\n  string title = 1;\n}\n'
JSON = json.dumps({"type": "object", "properties": {"title": {"type": "string"}}})


def avro(record: str, **fields: str) -> Schema:
    """An Avro record whose fields are text, or another record where its name is given."""
    listed = [
        {"name": name, "type": kind} | ({"default": ""} if kind == "string" else {}) for name, kind in fields.items()
    ]
    return Schema(json.dumps({"type": "record", "name": record, "fields": listed}, separators=(",", ":")), "AVRO")


def referring(schema: Schema, *references: SchemaReference) -> Schema:
    return Schema(schema.schema_str, schema.schema_type, list(references))


@pytest.fixture
def subject() -> str:
    return f"inlake.test-{uuid.uuid4().hex}"


@pytest.fixture(params=["directory", pytest.param("confluent", marks=pytest.mark.live)])
async def registry(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Registry]:
    made: Registry
    if request.param == "directory":
        made = DirectoryRegistry(tmp_path / "schemas", ttl=0.2)
    else:
        require("the schema registry", SCHEMA_REGISTRY_URL)
        made = ConfluentRegistry(SCHEMA_REGISTRY_URL, ttl=0.2)
    yield made
    await made.close()


async def test_a_registered_schema_is_found_as_the_latest_by_version_and_by_id(
    registry: Registry, subject: str
) -> None:
    schema = avro("Artwork", title="string")
    registered = await registry.register(subject, schema)
    assert (registered.subject, registered.version, registered.schema) == (subject, 1, schema)
    assert await registry.find(subject) == registered
    assert await registry.find(subject, 1) == registered
    assert registered.schema_id is not None
    assert (await registry.find_by_id(registered.schema_id))[0] == schema


async def test_the_latest_follows_a_new_version_and_the_old_one_stays(registry: Registry, subject: str) -> None:
    first = await registry.register(subject, avro("Artwork", title="string"))
    assert (await registry.find(subject)).version == 1
    second = await registry.register(subject, avro("Artwork", title="string", artist="string"))
    assert second.version == 2
    assert second.schema_id != first.schema_id
    assert await registry.find(subject) == second
    assert await registry.find(subject, 1) == first


async def test_a_version_that_another_process_adds_is_seen_after_the_latest_expires(
    registry: Registry, subject: str, tmp_path: Path
) -> None:
    other = (
        DirectoryRegistry(tmp_path / "schemas")
        if isinstance(registry, DirectoryRegistry)
        else ConfluentRegistry(SCHEMA_REGISTRY_URL)
    )
    with pytest.raises(SchemaNotFound):
        await registry.find(subject)
    await other.register(subject, avro("Artwork", title="string"))
    await asyncio.sleep(0.25)
    assert (await registry.find(subject)).version == 1
    await other.register(subject, avro("Artwork", title="string", artist="string"))
    await asyncio.sleep(0.25)
    assert (await registry.find(subject)).version == 2
    await other.close()


async def test_an_unknown_name_version_or_id_is_not_found(registry: Registry, subject: str) -> None:
    with pytest.raises(SchemaNotFound, match=f"inlake schemas add {subject} FILE"):
        await registry.find(subject)
    with pytest.raises(SchemaNotFound, match="inlake schemas add"):
        await registry.find(subject, 1)
    with pytest.raises(SchemaNotFound):
        await registry.versions(subject)
    await registry.register(subject, avro("Artwork", title="string"))
    for version in (2, 0, -1, 2**40):
        with pytest.raises(SchemaNotFound, match=f"no version {version}"):
            await registry.find(subject, version)
    for schema_id in (2**31 - 7, 2**40, -1):
        with pytest.raises(SchemaNotFound, match=str(schema_id)):
            await registry.find_by_id(schema_id)


async def test_the_same_schema_twice_is_one_version(registry: Registry, subject: str) -> None:
    schema = avro("Artwork", title="string")
    assert await registry.register(subject, schema) == await registry.register(subject, schema)
    assert await registry.versions(subject) == [1]


async def test_the_same_schema_under_two_subjects_has_one_id(registry: Registry, subject: str) -> None:
    schema = avro(f"Artwork{uuid.uuid4().hex}", title="string")
    first = await registry.register(subject, schema)
    second = await registry.register(f"{subject}-again", schema)
    assert first.schema_id == second.schema_id
    assert second.subject == f"{subject}-again"


async def test_subjects_and_versions_are_sorted(registry: Registry, subject: str) -> None:
    names = [f"{subject}.{end}" for end in ("b", "a-2", "a.1", "C_3")]
    for name in names:
        await registry.register(name, avro("Artwork", title="string"))
    for count in range(2, 12):
        await registry.register(names[0], avro("Artwork", **{f"f{i}": "string" for i in range(count)}))
    assert [name for name in await registry.subjects() if name.startswith(subject)] == sorted(names)
    assert await registry.versions(names[0]) == list(range(1, 12))
    assert (await registry.find(names[0])).version == 11


@pytest.mark.parametrize(("kind", "text"), [("PROTOBUF", PROTO), ("JSON", JSON)])
async def test_protobuf_and_json_schemas_come_back_as_they_were(
    registry: Registry, subject: str, kind: str, text: str
) -> None:
    registered = await registry.register(subject, Schema(text, kind))
    assert registered.schema == Schema(text, kind)
    assert (await registry.find(subject)).schema == Schema(text, kind)
    assert await registry.find_by_id(registered.schema_id or 0) == (Schema(text, kind), [])


async def test_references_are_found_also_indirect_ones_each_once_the_deepest_first(
    registry: Registry, subject: str
) -> None:
    place = avro("Place", name="string")
    await registry.register(f"{subject}.place", place)
    to_place = SchemaReference("Place", f"{subject}.place", 1)
    person = referring(avro("Person", name="string", born="Place"), to_place)
    await registry.register(f"{subject}.person", person)
    to_person = SchemaReference("Person", f"{subject}.person", 1)
    artwork = referring(avro("Artwork", artist="Person", where="Place"), to_person, to_place)
    registered = await registry.register(subject, artwork)
    assert registered.schema == artwork
    found = await registry.references((await registry.find(subject)).schema)
    assert found == [("Place", place), ("Person", person)]
    assert await registry.find_by_id(registered.schema_id or 0) == (artwork, found)
    assert await registry.references(place) == []


async def test_protobuf_imports_are_references(registry: Registry, subject: str) -> None:
    await registry.register(f"{subject}.artwork", Schema(PROTO, "PROTOBUF"))
    text = 'syntax = "proto3";\npackage inlake.test;\nimport "artwork.proto";\nmessage Room {\n  Artwork one = 1;\n}\n'
    room = Schema(text, "PROTOBUF", [SchemaReference("artwork.proto", f"{subject}.artwork", 1)])
    await registry.register(subject, room)
    assert (await registry.find(subject)).schema == room
    assert await registry.references(room) == [("artwork.proto", Schema(PROTO, "PROTOBUF"))]


async def test_a_missing_reference_is_named(registry: Registry, subject: str) -> None:
    schema = referring(avro("Artwork", where="Place"), SchemaReference("Place", f"{subject}.place", 1))
    with pytest.raises(InvalidSchema, match=f"'Place', which is '{subject}.place' version 1"):
        await registry.references(schema)
    with pytest.raises((InvalidSchema, SchemaNotFound)):
        await registry.register(subject, schema)


async def test_avro_that_is_not_json_is_refused(registry: Registry, subject: str) -> None:
    for text in ("{no", "", "\ud800"):
        with pytest.raises(InvalidSchema):
            await registry.register(subject, Schema(text, "AVRO"))
    with pytest.raises(SchemaNotFound):
        await registry.find(subject)


async def test_many_look_ups_at_once_give_one_answer(registry: Registry, subject: str) -> None:
    registered = await registry.register(subject, avro("Artwork", title="string"))
    found = await asyncio.gather(*[registry.find(subject) for _ in range(200)])
    assert all(one is found[0] for one in found)
    assert found[0] == registered


async def test_a_cancelled_look_up_does_not_take_the_answer_from_the_others(registry: Registry, subject: str) -> None:
    registered = await registry.register(subject, avro("Artwork", title="string"))
    first, second = asyncio.create_task(registry.find(subject)), asyncio.create_task(registry.find(subject))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == registered
    assert first.cancelled() or await asyncio.wait([first])


async def test_a_look_up_of_what_is_known_costs_next_to_nothing(registry: Registry, subject: str) -> None:
    await registry.register(subject, avro("Artwork", title="string"))
    for version in (None, 1):
        await registry.find(subject, version)
        costs = []
        for _ in range(5):
            start = perf_counter()
            for _ in range(1_000):
                await registry.find(subject, version)
            costs.append((perf_counter() - start) * 1_000)
        assert min(costs) < 20, "microseconds for one look-up; under one on a quiet machine"


async def test_a_registry_that_is_there_passes_its_check(registry: Registry) -> None:
    await registry.check()
