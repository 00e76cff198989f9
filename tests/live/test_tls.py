"""A registry and an S3 server behind TLS of one's own authority, by settings alone."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from confluent_kafka.schema_registry import Schema

from inlake.errors import RegistryUnavailable, StoreUnavailable
from inlake.model import PART
from inlake.ports import Registry, Store
from inlake.settings import SettingsError, load
from inlake.web.app import create_app
from inlake.wiring import connect_registry, connect_store
from tests.certificates import Authority, make_authority
from tests.gateways import Gateway, embedded
from tests.live_servers import (
    AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY,
    S3_BUCKET,
    S3_ENDPOINT,
    S3_REGION,
    SCHEMA_REGISTRY_URL,
    require,
)

pytestmark = pytest.mark.live


class Listener(socket.socket):
    """Knows whom it accepted: the loop tells of nobody who is still in the middle of the handshake."""

    def __init__(self) -> None:
        super().__init__()
        self._accepted: list[socket.socket] = []

    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = super().accept()
        self._accepted.append(connection)
        return connection, address

    def hang_up(self) -> None:
        for connection in self._accepted:
            with suppress(OSError):  # it has gone by itself
                connection.shutdown(socket.SHUT_RDWR)


@asynccontextmanager
async def behind_tls(upstream: str, authority: Authority) -> AsyncIterator[str]:
    """The https address under which the server of an http address can be reached."""
    parts = urlsplit(upstream)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.server)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(parts.hostname, parts.port)
        await asyncio.gather(forward(reader, there_writer), forward(there_reader, writer))

    running: list[asyncio.Task[None]] = []
    listener = Listener()
    listener.bind(("127.0.0.1", 0))
    server = await asyncio.start_server(
        lambda reader, writer: running.append(asyncio.create_task(connect(reader, writer))), sock=listener, ssl=context
    )
    try:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}{parts.path}"
    finally:
        server.close()
        listener.hang_up()
        await asyncio.sleep(0.1)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return make_authority(tmp_path)


@pytest.fixture
def other(tmp_path: Path) -> Authority:
    return make_authority(tmp_path, "other")


def registry_at(url: str, **settings: object) -> Registry:
    return connect_registry(
        load({"INLAKE_REGISTRY": url, **{f"INLAKE_{n.upper()}": str(v) for n, v in settings.items()}})
    )


def store_at(url: str, prefix: str = "", **variables: object) -> Store:
    environment = {
        "INLAKE_STORE": f"s3://{S3_BUCKET}/{prefix or f'test/{uuid4()}'}",
        "AWS_ENDPOINT_URL_S3": url,
        "AWS_REGION": S3_REGION,
        "AWS_ACCESS_KEY_ID": AWS_ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": AWS_SECRET_ACCESS_KEY,
        **{name: str(value) for name, value in variables.items()},
    }
    return connect_store(load(environment), environment)


# -------------------------------------------------------------------------------------------------------- registry
async def test_a_registry_of_ones_own_authority_is_used_by_naming_its_certificate(authority: Authority) -> None:
    require("The schema registry", SCHEMA_REGISTRY_URL)
    subject = f"test-{uuid4().hex}"
    async with behind_tls(SCHEMA_REGISTRY_URL, authority) as url:
        registry = registry_at(url, registry_ca=authority.ca)
        await registry.check()
        registered = await registry.register(subject, Schema('"string"', "AVRO", []))
        assert (await registry.find(subject)).schema_id == registered.schema_id
        await registry.close()


@pytest.mark.parametrize("given", ["none", "another"])
async def test_a_registry_whose_authority_is_unknown_is_refused_and_the_reason_told(
    authority: Authority, other: Authority, given: str
) -> None:
    require("The schema registry", SCHEMA_REGISTRY_URL)
    settings = {"registry_ca": other.ca} if given == "another" else {}
    async with behind_tls(SCHEMA_REGISTRY_URL, authority) as url:
        registry = registry_at(url, **settings)
        with pytest.raises(
            RegistryUnavailable, match=r"certificate is not trusted \(.+\); INLAKE_REGISTRY_CA"
        ) as refused:
            await registry.check()
        assert refused.value.status == 503
        await registry.close()


async def test_https_to_a_registry_without_it_is_told(authority: Authority) -> None:
    require("The schema registry", SCHEMA_REGISTRY_URL)
    registry = registry_at(SCHEMA_REGISTRY_URL.replace("http:", "https:"))
    with pytest.raises(RegistryUnavailable, match=r"cannot be reached: .*SSL"):
        await registry.check()
    await registry.close()


# -------------------------------------------------------------------------------------------------------------- S3
async def zeros(count: int) -> AsyncIterator[bytes | bytearray]:
    for _ in range(count):
        yield bytes(PART)


async def test_an_s3_server_of_ones_own_authority_is_used_by_naming_its_certificate(authority: Authority) -> None:
    require("S3", S3_ENDPOINT)
    async with behind_tls(S3_ENDPOINT, authority) as url:
        store = store_at(url, AWS_CA_BUNDLE=authority.ca)
        await store.check()
        assert await store.create("a", b"content")
        assert not await store.create("a", b"other")
        assert await store.get("a") == b"content"
        await store.put("b", zeros(2), content_type="image/tiff", metadata={})
        assert sum([len(chunk) async for chunk in store.read("b")]) == 2 * PART
        for key in ("a", "b"):
            await store.delete(key)


@pytest.mark.parametrize("given", ["none", "another"])
async def test_an_s3_server_whose_authority_is_unknown_is_refused_and_the_variable_named(
    authority: Authority, other: Authority, given: str
) -> None:
    require("S3", S3_ENDPOINT)
    variables = {"AWS_CA_BUNDLE": other.ca} if given == "another" else {}
    async with behind_tls(S3_ENDPOINT, authority) as url:
        store = store_at(url, prefix="", **variables)
        with pytest.raises(StoreUnavailable, match=r"certificate is not trusted \(\w+\); AWS_CA_BUNDLE"):
            await store.check()


async def test_health_ready_says_which_of_the_three_has_the_wrong_certificate(
    authority: Authority, other: Authority, tmp_path: Path
) -> None:
    require("The schema registry", SCHEMA_REGISTRY_URL)
    async with embedded(tmp_path) as gateway, behind_tls(SCHEMA_REGISTRY_URL, authority) as url:
        deployment = replace(gateway.deployment, registry=registry_at(url, registry_ca=other.ca))
        answer = await Gateway(create_app(deployment), deployment).post("/health/ready", method="GET")
        await deployment.registry.close()
    assert answer.status == 503
    checks = answer.json()["checks"]
    assert (checks["bus"]["ok"], checks["store"]["ok"], checks["registry"]["ok"]) == (True, True, False)
    assert "INLAKE_REGISTRY_CA" in checks["registry"]["detail"]


# -------------------------------------------------------------------------------------------------------- settings
def test_a_file_that_holds_no_certificate_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("no certificate")
    for path in (tmp_path / "empty.pem", tmp_path / "absent.pem"):
        with pytest.raises(SettingsError, match="INLAKE_REGISTRY"):
            registry_at("https://127.0.0.1:1", registry_ca=path)
        with pytest.raises(SettingsError, match="AWS_"):
            store_at("https://127.0.0.1:1", AWS_CA_BUNDLE=path)
