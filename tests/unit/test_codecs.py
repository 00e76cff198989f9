"""Compiled schemas and refusals are remembered, apart from each other and each a bounded number."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from confluent_kafka.schema_registry import RegisteredSchema, Schema

from inlake.codecs import LOOK_AGAIN, Codecs
from inlake.errors import BadParameter, SchemaChanged
from inlake.ports import Registry
from inlake.settings import Settings, load
from inlake.wiring import connect_registry

PROTO = 'syntax = "proto3"; message Note { string title = 1; } message Letter { string sender = 1; }'


@pytest.fixture
async def found(tmp_path: Path) -> AsyncIterator[Codecs]:
    settings = Settings(registry=f"dir:{tmp_path}")  # type: ignore[call-arg]
    registry = connect_registry(settings)
    await registry.register("note", Schema(PROTO, "PROTOBUF"))
    yield Codecs(registry, settings, cached=3)
    await registry.close()


async def test_those_who_want_a_schema_at_the_same_time_share_one_compilation(found: Codecs) -> None:
    first, *others = await asyncio.gather(*(found.find("note") for _ in range(20)))
    assert all(other is first for other in others)
    assert await found.find("note") is first


async def test_messages_that_a_client_makes_up_push_no_schema_out(found: Codecs) -> None:
    note, letter = await found.find("note"), await found.find("note", None, "Letter")
    for number in range(5):
        with pytest.raises(BadParameter, match=f"no message made.up{number}"):
            await found.find("note", None, f"made.up{number}")
    assert await found.find("note") is note
    assert await found.find("note", None, "Letter") is letter


async def test_a_message_that_is_not_there_is_refused_again_and_again(found: Codecs) -> None:
    for _ in range(2):
        with pytest.raises(BadParameter, match="it has Note, Letter"):
            await found.find("note", None, "Photo")


async def test_who_gives_up_takes_the_schema_from_nobody_else(found: Codecs) -> None:
    first, second = (asyncio.create_task(found.find("note")) for _ in range(2))
    while not first.done():
        await asyncio.sleep(0)
        first.cancel()
    assert (await second).topic == "inlake.note"


def avro(kind: str, name: str = "x") -> str:
    return json.dumps({"type": "record", "name": "R", "fields": [{"name": name, "type": kind}]})


class Changing:
    """A registry as one that is emptied and filled again: every look gives what it says now, under the one id."""

    def __init__(self) -> None:
        self.schema = Schema(avro("int"))
        self.referred: list[tuple[str, Schema]] = []

    async def find(self, subject: str, version: int | None = None) -> RegisteredSchema:
        return RegisteredSchema(subject, version or 1, 7, None, self.schema)

    async def references(self, schema: Schema) -> list[tuple[str, Schema]]:
        assert schema is self.schema
        return self.referred


@pytest.fixture
def changing() -> Changing:
    return Changing()


@pytest.fixture
def codecs(changing: Changing) -> Codecs:
    return Codecs(cast("Registry", changing), load({}))


async def test_an_id_whose_text_changed_is_refused_until_the_old_text_is_back(
    codecs: Codecs, changing: Changing
) -> None:
    before = await codecs.find("note")
    changing.schema = Schema(avro("string"))
    for name, version in (("note", None), ("note", 1), ("letter", None)):
        with pytest.raises(SchemaChanged, match=r"The id 7 of the schema .* had another text before"):
            await codecs.find(name, version)
    changing.schema = Schema(avro("int"))
    assert await codecs.find("note") is before


async def test_another_gateway_takes_what_the_registry_says(codecs: Codecs, changing: Changing) -> None:
    await codecs.find("note")
    changing.schema = Schema(avro("string"))
    restarted = Codecs(cast("Registry", changing), load({}))
    assert (await restarted.find("note")).codec.encode_plain(b'{"x": "a"}') == b"\x02a"


@pytest.mark.parametrize("kind", ["AVRO", "PROTOBUF", "JSON"])
async def test_a_text_that_differs_in_white_space_is_the_same(codecs: Codecs, changing: Changing, kind: str) -> None:
    text = {"AVRO": avro("int"), "PROTOBUF": PROTO, "JSON": '{"type": "object"}'}[kind]
    changing.schema = Schema(text, kind)
    before = await codecs.find("note")
    changing.schema = Schema(text.replace(" ", "\n "), kind)
    assert await codecs.find("note") is before


@pytest.mark.parametrize(("old", "new"), [("1", "true"), ("1", "1.0"), ('"1"', "1")])
async def test_values_that_python_takes_for_equal_are_another_text(
    codecs: Codecs, changing: Changing, old: str, new: str
) -> None:
    changing.schema = Schema(f'{{"const": {old}}}', "JSON")
    await codecs.find("note")
    changing.schema = Schema(f'{{"const": {new}}}', "JSON")
    with pytest.raises(SchemaChanged):
        await codecs.find("note")


async def test_an_id_whose_reference_changed_is_refused(codecs: Codecs, changing: Changing) -> None:
    changing.schema = Schema(avro("q.S"))
    part = '{"type": "record", "name": "q.S", "fields": [{"name": "a", "type": "int"}]}'
    changing.referred = [("q.S", Schema(part))]
    await codecs.find("note")
    changing.referred = [("q.S", Schema(part.replace("int", "string")))]
    with pytest.raises(SchemaChanged):
        await codecs.find("note")


async def test_what_an_edited_schema_of_a_folder_is_part_of_is_compiled_anew(tmp_path: Path) -> None:
    """Under a new id: events written before are read with the texts they were written with."""
    settings = Settings(registry=f"dir:{tmp_path}")  # type: ignore[call-arg]
    registry = connect_registry(settings)
    part, whole = tmp_path / "part", tmp_path / "whole"
    part.mkdir()
    whole.mkdir()
    text = '{"type": "record", "name": "q.S", "fields": [{"name": "a", "type": "int"}]}'
    (part / "1.avsc").write_text(text)
    (whole / "1.avsc").write_text(avro("q.S"))
    (whole / "1.references.json").write_text('[{"name": "q.S", "subject": "part", "version": 1}]')
    codecs = Codecs(registry, settings)
    before = await codecs.find("whole")
    assert before.codec.encode_plain(b'{"x": {"a": 1}}') == b"\x02"
    (part / "1.avsc").write_text(text.replace("int", "string"))
    await asyncio.sleep(LOOK_AGAIN + 0.2)
    after = await codecs.find("whole")
    assert after.codec.encode_plain(b'{"x": {"a": "s"}}') == b"\x02s"
    assert before.schema
    assert after.schema
    assert before.schema.id != after.schema.id
    old = await registry.find_by_id(before.schema.id)
    assert old == ((await registry.find("whole")).schema, [("q.S", Schema(text))])
    await registry.close()
