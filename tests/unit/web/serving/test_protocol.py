"""The protocol over uvicorn's: what it relies on there, and how long a connection may be silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from inlake.web.request.exchange import ASGIMessage, Receive, Scope, Send
from inlake.web.serving.protocol import Protocol

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n"
IDLE, SLOW = 0.8, 0.3
LONG = 12 << 20
"""Bytes that no socket takes without a reader."""
Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """The body, in the pieces in which it came."""
    message: ASGIMessage = {"more_body": True}
    pieces = []
    while message["more_body"]:
        message = await receive()
        assert isinstance(message["body"], bytes)
        pieces.append(message["body"])
    length = b"%d" % sum(map(len, pieces))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": b"".join(pieces)})


@asynccontextmanager
async def connected(
    idle: float = IDLE, slow: float = SLOW, unread: float = SLOW
) -> AsyncIterator[tuple[Client, ServerState]]:
    """A client of a server whose connections may be silent for so long between requests, in a head, and in reading."""
    config, state = uvicorn.Config(echo, timeout_keep_alive=idle), ServerState()  # type: ignore[arg-type]
    config.load()
    limited: Any = type("Limited", (Protocol,), {"head_seconds": slow, "write_seconds": unread})
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: limited(config, state, {}, loop), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield (reader, writer), state
    finally:
        writer.close()
        server.close()


async def seconds_until_closed(reader: asyncio.StreamReader) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await asyncio.wait_for(reader.read(), 5) == b""
    return loop.time() - began


async def test_a_connection_stays_between_requests_for_its_time() -> None:
    async with connected() as ((reader, writer), state):
        for _ in range(3):
            writer.write(HEAD + b"hello")
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 OK\r\n")
            await asyncio.sleep(IDLE / 2)
        assert IDLE / 4 < await seconds_until_closed(reader) < 5
        assert (state.total_requests, state.tasks, state.connections) == (3, set(), set())


@pytest.mark.parametrize(("idle", "slow"), [(IDLE, SLOW), (SLOW, IDLE), (30, SLOW)])
async def test_a_head_that_has_begun_has_the_time_of_a_head(idle: float, slow: float) -> None:
    async with connected(idle, slow) as ((reader, writer), _):
        writer.write(HEAD + b"hello")
        await reader.readuntil(b"hello")
        writer.write(HEAD[:10])
        assert slow / 2 < await seconds_until_closed(reader) < slow + 2


async def test_a_request_takes_as_long_as_it_takes() -> None:
    async with connected(SLOW, SLOW) as ((reader, writer), _):
        for piece in (HEAD, b"he", b"ll", b"o"):
            writer.write(piece)
            await asyncio.sleep(2 * SLOW)
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_requests_sent_together_are_answered_in_order() -> None:
    async with connected() as ((reader, writer), state):
        writer.write(b"".join(HEAD + b"body%d" % number for number in range(5)))
        for number in range(5):
            await reader.readuntil(b"body%d" % number)
        assert state.total_requests == 5


OFFERS = [
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
    b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n",
]
SIZED = b"Content-Length: 8\r\n\r\nbody-%03d"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n5\r\nbody-\r\n3\r\n%03d\r\n0\r\n\r\n"


@pytest.mark.parametrize("offer", OFFERS)
@pytest.mark.parametrize("framed", [SIZED, CHUNKED])
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
async def test_an_offer_of_another_protocol_costs_no_body(offer: bytes, framed: bytes, piece: int) -> None:
    async with connected(30, 30) as ((reader, writer), state):
        head = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
        sent = b"".join(head + (offer if number % 3 else b"") + framed % number for number in range(9))
        for start in range(0, len(sent), piece):
            writer.write(sent[start : start + piece])
            await asyncio.sleep(0)
        for number in range(9):
            answer = await asyncio.wait_for(reader.readuntil(b"body-%03d" % number), 5)
            assert answer.count(b"HTTP/1.1 200 OK\r\n") == 1
        assert state.total_requests == 9


async def test_an_offer_without_a_body_and_one_with_a_broken_body() -> None:
    async with connected(30, 30) as ((reader, writer), _):
        for method in (b"GET", b"POST"):
            writer.write(method + b" / HTTP/1.1\r\nHost: localhost\r\n" + OFFERS[0] + b"\r\n")
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"content-length: 0" in answer
        writer.write(b"POST / HTTP/1.1\r\nHost: x\r\n" + OFFERS[0] + b"Transfer-Encoding: chunked\r\n\r\nno size")
        assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 400 Bad Request\r\n")


@pytest.mark.parametrize(("header", "body", "status"), [(1_000, 5, b"431"), (10, 1_000, b"200")])
async def test_headers_are_bounded_also_where_all_of_a_request_comes_in_one_read(
    monkeypatch: pytest.MonkeyPatch, header: int, body: int, status: bytes
) -> None:
    monkeypatch.setattr(Protocol, "head_bytes", 200)
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nX-Long: %b\r\n\r\n" % (body, b"x" * header)
    async with connected() as ((reader, writer), _):
        writer.write(head + b"y" * body)
        assert (await asyncio.wait_for(reader.readline(), 5)).split()[1] == status


async def until_none_is_connected(state: ServerState) -> None:
    async with asyncio.timeout(10):
        while state.connections or state.tasks:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("then", [b"", HEAD + b"hello", b"\0"], ids=["nothing", "another request", "no HTTP"])
@pytest.mark.parametrize("ends", [False, True])
async def test_a_client_that_reads_no_answer_is_cut_off(then: bytes, ends: bool) -> None:
    """It may end its half of the connection, or have asked for its end."""
    async with connected(30, 30) as ((reader, writer), state):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n" % LONG)
        writer.write((b"Connection: close\r\n" if ends else b"") + b"\r\n" + bytes(LONG) + then)
        await writer.drain()
        if ends:
            writer.write_eof()
        assert state.connections
        await until_none_is_connected(state)
        del reader


async def test_a_client_that_reads_slowly_gets_its_answer() -> None:
    unread, loop = 2.0, asyncio.get_running_loop()
    async with connected(30, 30, unread) as ((reader, writer), _):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % LONG)
        writer.write(bytes(LONG))
        await writer.drain()
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        came, began = 0, loop.time()
        while piece := await asyncio.wait_for(reader.read(1 << 20), 5):
            came += len(piece)
            await asyncio.sleep(max(0.0, began + 2.5 * unread * came / LONG - loop.time()))
        assert came > LONG
