"""The Confluent registry adapter against answers that a real registry gives rarely, from a server in the test."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference

from inlake.codecs import Codecs
from inlake.errors import (
    BadName,
    Conflict,
    InlakeError,
    InvalidSchema,
    RegistryRefused,
    RegistryUnavailable,
    SchemaNotFound,
)
from inlake.registry.confluent.registry import ConfluentRegistry
from inlake.settings import SettingsError, load
from inlake.wiring import connect_registry
from tests.gateways import embedded

FOUND = {"subject": "artwork", "version": 3, "id": 7, "schema": '"string"'}


class Registry:
    """Answers each request with the next of `answers`, the last one for ever; keeps the heads of the requests."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.heads: list[str] = []
        self.delay = 0.0
        self.url = ""

    def says(self, status: int, body: object, media_type: str = "application/json") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers.append(
            f"HTTP/1.1 {status} X\r\ncontent-type: {media_type}\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data
        )

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                await asyncio.sleep(self.delay)
                writer.write(answer)
                if not answer:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Registry]:
    registry = Registry()
    listening = await asyncio.start_server(registry.serve, "127.0.0.1", 0)
    registry.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/api"
    yield registry
    listening.close()


@pytest.fixture
async def registry(server: Registry) -> AsyncIterator[ConfluentRegistry]:
    registry = ConfluentRegistry(server.url, timeout=0.5, ttl=0.1)
    yield registry
    await registry.close()


HTML, PLAIN = "text/html", "text/plain"
REFUSALS: list[tuple[int, object, str, type[InlakeError], str]] = [
    (401, {"error_code": 401, "message": "who?"}, "", RegistryRefused, "INLAKE_REGISTRY_AUTH"),
    (403, b"<html>no</html>", HTML, RegistryRefused, "proxy .* refused the gateway with status 403"),
    (404, {"error_code": 40401, "message": "?"}, "", SchemaNotFound, "inlake schemas add artwork FILE"),
    (404, {"error_code": 40402, "message": "?"}, "", SchemaNotFound, "artwork"),
    (404, {"error_code": 404, "message": "HTTP 404 Not Found"}, "", RegistryUnavailable, "status 404"),
    (404, b"nothing here", PLAIN, RegistryUnavailable, "check the path in INLAKE_REGISTRY"),
    (429, {"message": "slow down"}, "", RegistryUnavailable, "slow down"),
    (500, {"error_code": 50001, "message": "store"}, "", RegistryUnavailable, "status 500: store"),
    (502, b"", HTML, RegistryUnavailable, "proxy .* answered text/html with status 502"),
    (409, b"<html>no</html>", "text/html; charset=utf-8", RegistryUnavailable, "proxy .* text/html with status 409"),
    (302, b"", HTML, RegistryUnavailable, "status 302"),
    (200, b"<!doctype html>", HTML, RegistryUnavailable, "answered text/html with status 200"),
    (200, b"[" * 100_000, "", RegistryUnavailable, "INLAKE_REGISTRY"),
    (200, b"null", "", RegistryUnavailable, "INLAKE_REGISTRY"),
    (200, [], "", RegistryUnavailable, "not a schema"),
    (200, {}, "", RegistryUnavailable, "not a schema"),
    (200, {"schema": 3}, "", RegistryUnavailable, "not a schema"),
    (200, {"schema": "{}", "references": [1]}, "", RegistryUnavailable, "not a schema"),
    (200, {"schema": "{}", "references": 1}, "", RegistryUnavailable, "not a schema"),
    (200, {"schema": "{}", "version": "1"}, "", RegistryUnavailable, "subject, version and id"),
]


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_an_answer_that_is_no_schema_becomes_an_error_of_ours(
    server: Registry, registry: ConfluentRegistry, refusal: tuple[int, object, str, type[InlakeError], str]
) -> None:
    status, body, media_type, error, sentence = refusal
    server.says(status, body, media_type or "application/json")
    with pytest.raises(error, match=sentence) as raised:
        await registry.find("artwork")
    assert type(raised.value) is error


@pytest.mark.parametrize(
    ("status", "code", "error"), [(409, 409, Conflict), (422, 42201, InvalidSchema), (404, 40402, SchemaNotFound)]
)
async def test_a_refused_registration_keeps_the_reason(
    server: Registry, registry: ConfluentRegistry, status: int, code: int, error: type[InlakeError]
) -> None:
    server.says(status, {"error_code": code, "message": "the field size"})
    with pytest.raises(error, match=r"the field size|refers to"):
        await registry.register("artwork", Schema('"string"'))


async def test_what_a_registry_leaves_out_is_filled_in(server: Registry, registry: ConfluentRegistry) -> None:
    server.says(200, FOUND | {"references": None, "schemaType": None, "guid": None, "deleted": False, "ts": 1})
    found = await registry.find("artwork")
    assert found.schema == Schema('"string"', "AVRO", [])
    assert (found.subject, found.version, found.schema_id, found.guid) == ("artwork", 3, 7, None)


async def test_what_a_registry_adds_is_kept_or_ignored(server: Registry, registry: ConfluentRegistry) -> None:
    reference = {"name": "A", "subject": "a", "version": 1}
    rules = {"domainRules": [{"kind": "NEW"}]}
    server.says(200, FOUND | {"guid": "g", "schemaType": "JSON", "references": [reference], "ruleSet": rules})
    found = await registry.find("artwork")
    assert found.guid == "g"
    assert found.schema == Schema('"string"', "JSON", [SchemaReference("A", "a", 1)])


async def test_many_callers_send_one_request(server: Registry, registry: ConfluentRegistry) -> None:
    server.says(200, FOUND)
    server.delay = 0.05
    await asyncio.gather(*[registry.find("artwork") for _ in range(100)])
    assert len(server.heads) == 1
    await registry.find("artwork", 3)
    await registry.find_by_id(7)
    assert len(server.heads) == 1, "found one way is known the other ways"


async def test_a_refusal_or_a_fault_does_not_take_what_is_known(server: Registry, registry: ConfluentRegistry) -> None:
    server.says(200, FOUND)
    server.says(500, {"message": "store"})
    server.says(401, {"message": "expired"})
    for _ in range(3):
        assert (await registry.find("artwork")).version == 3
        await asyncio.sleep(1.1)
    assert len(server.heads) == 3


async def test_a_deleted_schema_is_forgotten_when_the_registry_says_so(
    server: Registry, registry: ConfluentRegistry
) -> None:
    server.says(200, FOUND)
    server.says(404, {"error_code": 40401})
    await registry.find("artwork")
    await asyncio.sleep(0.15)
    with pytest.raises(SchemaNotFound):
        await registry.find("artwork")


async def test_an_idle_connection_that_the_registry_closes_costs_one_more_try(
    server: Registry, registry: ConfluentRegistry
) -> None:
    server.says(200, [1])
    server.answers.append(b"")
    server.says(200, [1, 2])
    assert await registry.versions("artwork") == [1]
    assert await registry.versions("artwork") == [1, 2]


async def test_an_answer_that_drips_is_cut_off_at_the_time_out(server: Registry, registry: ConfluentRegistry) -> None:
    server.answers.append(b"HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\n{")
    with pytest.raises(RegistryUnavailable, match=r"no answer within 0\.5 s"):
        await asyncio.wait_for(registry.find("artwork"), 1)


async def test_credentials_are_sent_and_never_said(server: Registry) -> None:
    server.says(403, {"message": "no"})
    basic = f"authorization: Basic {base64.b64encode(b'me:se:cret').decode()}".lower()
    with_credentials = server.url.replace("//", "//me:se%3Acret@")
    expected = [
        (ConfluentRegistry(server.url, basic_auth="me:se:cret"), basic),
        (ConfluentRegistry(with_credentials), basic),
        (ConfluentRegistry(server.url, token="se:cret\n"), "authorization: bearer se:cret\r\n"),
    ]
    for registry, header in expected:
        with pytest.raises(RegistryRefused) as refused:
            await registry.check()
        assert header in server.heads[-1].lower()
        assert "cret" not in refused.value.detail
        await registry.close()


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        ({"INLAKE_REGISTRY_AUTH": "me:se:cret"}, f"basic {base64.b64encode(b'me:se:cret').decode()}"),
        ({"INLAKE_REGISTRY_AUTH": "me:sécret"}, f"basic {base64.b64encode('me:sécret'.encode()).decode()}"),
        ({"INLAKE_REGISTRY_TOKEN": "se.cr-et"}, "bearer se.cr-et"),
        ({"INLAKE_REGISTRY_TOKEN": "se.cr-et", "INLAKE_REGISTRY_AUTH": "me:other"}, "bearer se.cr-et"),
        ({}, ""),
    ],
)
@pytest.mark.parametrize("status", [200, 401, 403])
async def test_the_settings_say_who_asks_and_a_refusal_is_503(
    server: Registry, settings: dict[str, str], header: str, status: int
) -> None:
    server.says(status, FOUND if status == 200 else {"error_code": status, "message": "no"})
    registry = connect_registry(load({"INLAKE_REGISTRY": server.url, **settings}))
    if status == 200:
        assert (await registry.find("artwork")).version == 3
    else:
        with pytest.raises(RegistryRefused, match="INLAKE_REGISTRY_AUTH or INLAKE_REGISTRY_TOKEN") as refused:
            await registry.find("artwork")
        assert (refused.value.status, refused.value.retry_after) == (503, 30)
    found = [
        line.partition(": ")[2] for line in server.heads[-1].split("\r\n") if line.lower().startswith("authorization")
    ]
    assert [line.lower() for line in found] == ([header.lower()] if header else [])
    await registry.close()


async def test_a_client_hears_503_when_the_registry_refuses_the_gateway(server: Registry, tmp_path: Path) -> None:
    server.says(403, {"error_code": 40301, "message": "User me is denied operation Read on Subject: note"})
    async with embedded(tmp_path) as gateway:
        registry = connect_registry(load({"INLAKE_REGISTRY": server.url, "INLAKE_REGISTRY_TOKEN": "secret-token"}))
        codecs = Codecs(registry, gateway.deployment.settings)
        gateway.deployment.gateway.codecs = codecs
        answer = await gateway.post("/ingress/record-json?schema=note", b'{"title": "a"}')
        await registry.close()
    assert (answer.status, answer.json()["code"]) == (503, "registry_refused")
    assert answer.headers["retry-after"] == "30"
    assert "denied operation Read" in answer.json()["detail"]
    assert b"secret-token" not in answer.body


async def test_a_name_that_no_path_can_hold_is_a_bad_name(registry: ConfluentRegistry) -> None:
    calls: list[Callable[[str], Awaitable[object]]] = [registry.find, registry.versions]
    for name in ("", ".", "..", "\ud800"):
        for call in calls:
            with pytest.raises(BadName):
                await call(name)


def test_an_address_or_certificates_that_cannot_be_used_are_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be used"):
        ConfluentRegistry("https://localhost:8081", ca=tmp_path / "missing.pem")
    with pytest.raises(ValueError, match="cannot be used"):
        ConfluentRegistry("http://local host:x/")


async def test_a_version_that_is_deleted_is_not_used_any_more(server: Registry, registry: ConfluentRegistry) -> None:
    server.says(200, FOUND)
    server.says(404, {"error_code": 40402})
    assert (await registry.find("artwork", 3)).schema_id == 7
    await asyncio.sleep(0.15)
    with pytest.raises(SchemaNotFound, match="has no version 3"):
        await registry.find("artwork", 3)


async def test_what_is_looked_at_again_and_is_the_same_is_the_same_object(
    server: Registry, registry: ConfluentRegistry
) -> None:
    server.says(200, FOUND)
    first = await registry.find("artwork", 3)
    await asyncio.sleep(0.15)
    assert await registry.find("artwork", 3) is first
    assert len(server.heads) == 2


@pytest.mark.parametrize("number", [-1, 2**31, 2**32 - 1, 65_034_875_748])
async def test_an_id_that_java_has_no_room_for_is_refused_with_its_number(
    server: Registry, registry: ConfluentRegistry, number: int
) -> None:
    server.says(200, FOUND | {"id": number})
    with pytest.raises(RegistryUnavailable, match=f"the id {number}, .* up to 2147483647"):
        await registry.find("artwork")


@pytest.mark.parametrize("number", [0, 1, 2**31 - 1])
async def test_an_id_that_java_has_room_for_is_taken(
    server: Registry, registry: ConfluentRegistry, number: int
) -> None:
    server.says(200, FOUND | {"id": number})
    assert (await registry.find("artwork")).schema_id == number


async def test_the_next_address_is_asked_when_one_is_away_and_first_from_then_on(server: Registry) -> None:
    server.says(200, FOUND)
    nobody = "http://127.0.0.1:1/api"
    registry = ConfluentRegistry(f"{nobody}, {server.url}", timeout=2, ttl=0.01)
    assert (await registry.find("artwork")).schema_id == 7
    server.answers = []
    server.says(500, {"message": "store"})
    with pytest.raises(RegistryUnavailable, match=f"registry at {server.url} answered"):
        await registry.subjects()
    await registry.close()


async def test_an_address_that_answers_nothing_leaves_time_for_the_next(server: Registry) -> None:
    server.says(200, FOUND)

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    address = f"http://127.0.0.1:{silent.sockets[0].getsockname()[1]}"
    registry = ConfluentRegistry(f"{address},{server.url}", timeout=1)
    assert (await asyncio.wait_for(registry.find("artwork"), 1)).schema_id == 7
    await registry.close()
    silent.close()


async def test_the_next_address_is_asked_when_a_proxy_has_nobody_behind_it(server: Registry) -> None:
    behind = Registry()
    listening = await asyncio.start_server(behind.serve, "127.0.0.1", 0)
    behind.says(503, b"<html>no server is available</html>", HTML)
    address = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/api"
    server.says(200, FOUND)
    registry = ConfluentRegistry(f"{address},{server.url}")
    assert (await registry.find("artwork")).schema_id == 7
    await registry.close()
    listening.close()


async def test_all_addresses_are_named_when_none_answers() -> None:
    registry = ConfluentRegistry("http://127.0.0.1:1/a,http://me:secret@127.0.0.1:2/b")
    with pytest.raises(
        RegistryUnavailable, match=r"http://127\.0\.0\.1:1/a and http://127\.0\.0\.1:2/b cannot be reached"
    ):
        await registry.check()
    await registry.close()


async def test_each_address_has_its_own_reason_when_they_fail_differently(server: Registry) -> None:
    server.says(502, b"<html>bad gateway</html>", HTML)
    registry = ConfluentRegistry(f"{server.url},http://127.0.0.1:1/b")
    with pytest.raises(RegistryUnavailable) as refusal:
        await registry.check()
    assert refusal.value.detail == (
        "The schema registry cannot be reached at any of its addresses: "
        f"{server.url}: status 502; http://127.0.0.1:1/b: All connection attempts failed."
    )
    await registry.close()


@pytest.mark.parametrize(
    "url", ["http://a:8081,b:8082", "http://a:8081,", "http://a,ftp://b", "http://a:8081,http://b:x"]
)
def test_a_list_with_something_else_than_addresses_stops_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match=r"INLAKE_REGISTRY: the registry's address .* cannot be used"):
        connect_registry(load({"INLAKE_REGISTRY": url}))


async def test_a_line_whose_schema_cannot_be_used_sinks_no_other_line(server: Registry, tmp_path: Path) -> None:
    server.says(200, FOUND)
    server.says(200, FOUND | {"id": 65_034_875_748})
    lines = [json.dumps({"schema": name, "record": "a"}).encode() for name in ("artwork", "large", "artwork")]
    async with embedded(tmp_path, registry=server.url) as gateway:
        answer = await gateway.post("/ingress/record-json", b"\n".join(lines), "application/x-ndjson")
        assert [line["status"] for line in answer.lines()[:3]] == [201, 503, 201]
        assert len(await gateway.events()) == 2
    assert answer.lines()[1]["code"] == "registry_unavailable"
