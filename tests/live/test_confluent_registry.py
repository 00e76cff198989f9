"""The Confluent registry adapter in outages of a real registry, made by a proxy of the test's own."""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncIterator, Iterator
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from confluent_kafka.schema_registry import Schema

from inlake.errors import Conflict, RegistryUnavailable, SchemaNotFound
from inlake.registry.confluent.registry import ConfluentRegistry
from tests.live_servers import SCHEMA_REGISTRY_URL, TOXIPROXY_URL, require

pytestmark = pytest.mark.live

TIMEOUT = 1.5
TTL = 0.1
AT_ONCE = 0.1


class Line:
    """A toxiproxy proxy between the adapter and the registry."""

    def __init__(self) -> None:
        self.name = f"registry-{uuid.uuid4().hex}"
        upstream = urlsplit(SCHEMA_REGISTRY_URL)
        made = self._call(
            "POST", "/proxies", name=self.name, listen="127.0.0.1:0", upstream=upstream.netloc, enabled=True
        )
        self.url = f"http://{made['listen']}{upstream.path}"

    def cut(self) -> None:
        self._call("POST", f"/proxies/{self.name}", enabled=False)

    def mend(self) -> None:
        listen = urlsplit(self.url).netloc
        self._call(
            "POST", f"/proxies/{self.name}", enabled=True, listen=listen, upstream=urlsplit(SCHEMA_REGISTRY_URL).netloc
        )

    def swallow(self) -> None:
        """Take everything, answer nothing."""
        self._call("POST", f"/proxies/{self.name}/toxics", name="hole", type="timeout", attributes={"timeout": 0})

    def release(self) -> None:
        httpx2.delete(f"{TOXIPROXY_URL}/proxies/{self.name}/toxics/hole").raise_for_status()

    def remove(self) -> None:
        httpx2.delete(f"{TOXIPROXY_URL}/proxies/{self.name}").raise_for_status()

    def _call(self, method: str, path: str, **body: Any) -> Any:
        return httpx2.request(method, f"{TOXIPROXY_URL}{path}", json=body).raise_for_status().json()


@pytest.fixture
def line() -> Iterator[Line]:
    require("the schema registry", SCHEMA_REGISTRY_URL)
    require("toxiproxy", TOXIPROXY_URL)
    line = Line()
    try:
        yield line
    finally:
        line.remove()


@pytest.fixture
async def registry(line: Line) -> AsyncIterator[ConfluentRegistry]:
    registry = ConfluentRegistry(line.url, timeout=TIMEOUT, ttl=TTL)
    yield registry
    await registry.close()


@pytest.fixture
def subject() -> str:
    return f"inlake.test-{uuid.uuid4().hex}"


def schema(*fields: str) -> Schema:
    listed = [{"name": field, "type": "string", "default": ""} for field in fields]
    return Schema(json.dumps({"type": "record", "name": "Artwork", "fields": listed}))


async def seconds_to_find(registry: ConfluentRegistry, subject: str) -> float:
    start = perf_counter()
    assert (await registry.find(subject)).subject == subject
    return perf_counter() - start


async def test_the_last_known_answer_stands_while_the_registry_is_away(
    registry: ConfluentRegistry, line: Line, subject: str, caplog: pytest.LogCaptureFixture
) -> None:
    known = await registry.register(subject, schema("title"))
    await registry.find(subject)
    line.cut()
    await asyncio.sleep(TTL * 2)
    with caplog.at_level(logging.WARNING):
        for _ in range(30):
            assert await registry.find(subject) == known
            await asyncio.sleep(0.05)
    assert await registry.find(subject, 1) == known
    assert await registry.find_by_id(known.schema_id or 0) == (known.schema, [])
    assert len(caplog.records) == 1, "one warning, not one for each request"


async def test_what_is_not_known_is_unavailable_while_the_registry_is_away(
    registry: ConfluentRegistry, line: Line, subject: str
) -> None:
    line.cut()
    for look_up in (registry.find(subject), registry.find(subject, 3), registry.find_by_id(2**31 - 9)):
        with pytest.raises(RegistryUnavailable):
            await look_up
    for call in (
        registry.check(),
        registry.subjects(),
        registry.versions(subject),
        registry.register(subject, schema()),
    ):
        with pytest.raises(RegistryUnavailable, match="cannot be reached"):
            await call


async def test_a_registry_that_swallows_requests_holds_nobody_longer_than_its_time_out(
    registry: ConfluentRegistry, line: Line, subject: str
) -> None:
    await registry.register(subject, schema("title"))
    await registry.find(subject)
    line.swallow()
    await asyncio.sleep(TTL * 2)
    first = await asyncio.gather(*[seconds_to_find(registry, subject) for _ in range(50)])
    assert max(first) < TIMEOUT, "those who find out wait a moment, together"
    for _ in range(20):
        assert await seconds_to_find(registry, subject) < AT_ONCE
        await asyncio.sleep(0.15)
    start = perf_counter()
    with pytest.raises(RegistryUnavailable):
        await registry.find(f"{subject}-unknown")
    with pytest.raises(RegistryUnavailable, match="no answer within"):
        await registry.check()
    assert perf_counter() - start < 2 * TIMEOUT + AT_ONCE


async def test_unknown_names_do_not_wait_one_time_out_each(
    registry: ConfluentRegistry, line: Line, subject: str
) -> None:
    line.swallow()
    start = perf_counter()
    for number in range(100):
        with pytest.raises(RegistryUnavailable):
            await registry.find(f"{subject}-{number}")
    assert perf_counter() - start < 2 * TIMEOUT


async def test_it_recovers_without_a_new_object(registry: ConfluentRegistry, line: Line, subject: str) -> None:
    await registry.register(subject, schema("title"))
    assert (await registry.find(subject)).version == 1
    line.cut()
    await asyncio.sleep(TTL * 2)
    assert (await registry.find(subject)).version == 1
    direct = ConfluentRegistry(SCHEMA_REGISTRY_URL)
    await direct.register(subject, schema("title", "artist"))
    await direct.close()
    line.mend()
    async with asyncio.timeout(5):
        while (await registry.find(subject)).version == 1:
            await asyncio.sleep(0.05)
    await registry.check()
    with pytest.raises(SchemaNotFound):
        await registry.find(f"{subject}-unknown")


async def test_it_recovers_from_a_black_hole_too(registry: ConfluentRegistry, line: Line, subject: str) -> None:
    await registry.register(subject, schema("title"))
    line.swallow()
    with pytest.raises(RegistryUnavailable):
        await registry.find(f"{subject}-unknown")
    line.release()
    await asyncio.sleep(1.1)
    with pytest.raises(SchemaNotFound):
        await registry.find(f"{subject}-unknown")
    await registry.check()


async def test_an_unknown_name_is_not_asked_for_again_at_once(
    registry: ConfluentRegistry, line: Line, subject: str
) -> None:
    patient = ConfluentRegistry(line.url, timeout=TIMEOUT, ttl=2.5)
    with pytest.raises(SchemaNotFound):
        await patient.find(subject)
    line.cut()
    with pytest.raises(SchemaNotFound):
        await patient.find(subject)
    await asyncio.sleep(0.6)
    with pytest.raises(RegistryUnavailable):
        await patient.find(subject)
    await patient.close()


async def test_connections_that_were_cut_while_idle_are_not_noticed(
    registry: ConfluentRegistry, line: Line, subject: str
) -> None:
    await registry.register(subject, schema("title"))
    line.cut()
    line.mend()
    assert await registry.versions(subject) == [1]


async def test_names_with_a_slash_and_blanks_reach_the_registry_as_they_are(
    registry: ConfluentRegistry, subject: str
) -> None:
    name = f"{subject}/é a%2F?#"
    assert (await registry.register(name, schema("title"))).subject == name
    assert name in await registry.subjects()
    assert await registry.versions(name) == [1]


async def test_a_base_url_may_end_with_a_slash(line: Line, subject: str) -> None:
    registry = ConfluentRegistry(f"{line.url}/")
    await registry.check()
    assert (await registry.register(subject, schema("title"))).version == 1
    await registry.close()


async def test_an_incompatible_version_is_a_conflict_with_the_reason(registry: ConfluentRegistry, subject: str) -> None:
    await registry.register(subject, schema("title"))
    other = Schema('{"type": "record", "name": "Artwork", "fields": [{"name": "size", "type": "int"}]}')
    with pytest.raises(Conflict, match=r"(?s)incompatible.*size"):
        await registry.register(subject, other)


async def test_a_version_that_was_deleted_for_good_is_not_used_any_more(
    registry: ConfluentRegistry, subject: str
) -> None:
    """Readers cannot get its schema; what is registered next is found under its own id."""
    known = await registry.register(subject, schema("title"))
    async with httpx2.AsyncClient(base_url=SCHEMA_REGISTRY_URL) as client:
        for query in ("", "?permanent=true"):
            assert (await client.delete(f"subjects/{subject}{query}")).status_code == 200
    await asyncio.sleep(TTL * 2)
    for version in (None, known.version):
        with pytest.raises(SchemaNotFound):
            await registry.find(subject, version)
    other = await registry.register(subject, schema("name"))
    assert other.schema_id != known.schema_id
    assert await registry.find(subject, other.version) == other
