"""Compiled schemas and refusals are remembered, apart from each other and each a bounded number."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import Schema

from inlake.codecs import Codecs
from inlake.errors import BadParameter
from inlake.settings import Settings
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
