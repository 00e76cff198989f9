"""Messages of the bus as they are read: whatever is in one, reading goes on."""

from __future__ import annotations

import asyncio
import math
import struct
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from confluent_kafka.schema_registry import Schema

from inlake.errors import InvalidSchema
from inlake.formats import compile_codec, events
from inlake.formats.events import Decoder
from inlake.model import Message, Position
from inlake.registry.directory.registry import DirectoryRegistry
from inlake.settings import load

FRAMED = b"\0\0\0\0\1"
"""In front of JSON of any kind."""


@pytest_asyncio.fixture
async def registry(tmp_path: Path) -> AsyncIterator[DirectoryRegistry]:
    registry = DirectoryRegistry(tmp_path)
    assert (await registry.register("any", Schema("{}", "JSON", []))).schema_id == 1
    assert (await registry.register("double", Schema('"double"', "AVRO", []))).schema_id == 2
    assert (await registry.register("float", Schema('"float"', "AVRO", []))).schema_id == 3
    yield registry
    await registry.close()


def message(value: bytes | None) -> Message:
    return Message(Position("t", 0, 0), b"k", value, [], 0)


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize("frame", [b"", FRAMED], ids=["as it came", "framed"])
@pytest.mark.parametrize("value", [b"[" * 100_000, nested(5_000), nested(201)], ids=["open", "deep", "one too many"])
async def test_what_is_nested_too_deeply_is_told(frame: bytes, value: bytes, registry: DirectoryRegistry) -> None:
    found = await Decoder(registry, load({})).decode(message(frame + value))
    assert found.record is None
    assert found.problem is not None
    assert "nested deeper than 200 levels" in found.problem


@pytest.mark.parametrize("frame", [b"", FRAMED], ids=["as it came", "framed"])
async def test_as_deep_as_the_gateway_takes_records_they_are_read(frame: bytes, registry: DirectoryRegistry) -> None:
    decoder = Decoder(registry, load({"INLAKE_MAX_DEPTH": "300"}))
    found = await decoder.decode(message(frame + nested(300)))
    assert (found.problem, type(found.record)) == (None, list)


@pytest.mark.parametrize("value", [b"", b"text", b"\xff", b'"\\ud800"', b"NaN", b"1e999"])
async def test_what_is_no_json_is_told(value: bytes, registry: DirectoryRegistry) -> None:
    found = await Decoder(registry, load({})).decode(message(value))
    assert (found.record, found.problem) == (None, "neither the Confluent wire format nor JSON")


async def test_integers_are_read_whole_and_nothing_is_null(registry: DirectoryRegistry) -> None:
    decoder = Decoder(registry, load({}))
    assert (await decoder.decode(message(b"123456789012345678901234567890"))).record == 123456789012345678901234567890
    assert (await decoder.decode(message(None))).problem is None


@pytest.mark.parametrize(
    ("number", "told"), [(1.5, 1.5), (math.nan, "NaN"), (math.inf, "Infinity"), (-math.inf, "-Infinity")]
)
async def test_a_number_that_json_has_no_word_for_is_text(
    number: float, told: object, registry: DirectoryRegistry
) -> None:
    decoder = Decoder(registry, load({}))
    for value in (b"\0\0\0\0\2" + struct.pack("<d", number), b"\0\0\0\0\3" + struct.pack("<f", number)):
        assert (await decoder.decode(message(value))).record == told


async def test_a_schema_is_compiled_once_and_beside_the_event_loop(
    registry: DirectoryRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled_in: list[int] = []

    def compiling(schema: Schema, *rest: Any, **settings: Any) -> Any:
        compiled_in.append(threading.get_ident())
        if schema.schema_str == '"float"':
            raise InvalidSchema("It is broken.")
        return compile_codec(schema, *rest, **settings)

    monkeypatch.setattr(events, "compile_codec", compiling)
    decoder = Decoder(registry, load({}))
    good, broken = message(FRAMED + b"{}"), message(b"\0\0\0\0\3" + bytes(4))
    for _ in range(2):
        found = await asyncio.gather(*(decoder.decode(one) for one in [good, broken] * 3))
        assert [one.problem for one in found] == [None, "It is broken."] * 3
    assert len(compiled_in) == 2
    assert threading.get_ident() not in compiled_in
