"""A whole request and its whole answer: what a client sees is as ASGI's messages would have it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from uvicorn.server import ServerState

from inlake.errors import BodyTooLarge, InlakeError
from inlake.metrics import Metrics
from inlake.settings import load
from inlake.web.request.exchange import Exchange, Receive, Scope, Send
from inlake.web.request.site import make_site
from inlake.web.serving.cycle import LARGE
from inlake.web.serving.protocol import Protocol

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]
LIMIT = 1_000_000
HEADERS = b"date: today\r\ncontent-type: text/plain\r\ncontent-length: %d\r\n"


@asynccontextmanager
async def connected(seen: list[Exchange], *, quota: bool = False) -> AsyncIterator[Client]:
    """A client of a server that sends each body back, with headers that each answer has."""
    site, loop = make_site(load({}), Metrics()), asyncio.get_running_loop()

    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(x := Exchange(scope, receive, send, site))
        if quota:
            x.always([(b"ratelimit", b"some")])
        try:
            await x.reply(200, await x.body(LIMIT, BodyTooLarge), b"text/plain")
        except InlakeError as error:
            await x.refuse(error)

    config, state = uvicorn.Config(echo, ws="none"), ServerState()
    config.load()
    state.default_headers = [(b"date", b"today")]
    server = await loop.create_server(lambda: Protocol(config, state, {}, loop), "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        server.close()


async def answered(client: Client, sent: bytes, end: bytes) -> bytes:
    """What comes up to this end."""
    client[1].write(sent)
    return await asyncio.wait_for(client[0].readuntil(end), 5)


def post(body: bytes, more: bytes = b"", version: bytes = b"1.1") -> bytes:
    head = b"POST /p%%61th?q=%%61 HTTP/%b\r\nHost: localhost\r\n%bContent-Length: %d\r\n\r\n"
    return head % (version, more, len(body)) + body


async def test_an_answer_has_the_servers_headers_and_its_own_and_the_connection_stays() -> None:
    seen: list[Exchange] = []
    async with connected(seen) as client:
        for body in (b"one", b"two"):
            assert await answered(client, post(body), body) == b"HTTP/1.1 200 OK\r\n" + HEADERS % 3 + b"\r\n" + body
    scopes = [x.scope for x in seen]
    assert [(s["path"], s["raw_path"], s["query_string"]) for s in scopes] == 2 * [("/path", b"/p%61th", b"q=%61")]


async def test_a_client_that_asks_for_it_is_told_that_the_connection_closes() -> None:
    async with connected([]) as client:
        answer = await answered(client, post(b"body", b"Connection: close\r\n"), b"body")
        assert answer == b"HTTP/1.1 200 OK\r\n" + HEADERS % 4 + b"connection: close\r\n\r\nbody"
        assert await asyncio.wait_for(client[0].read(), 5) == b""


async def test_requests_sent_together_are_answered_in_order() -> None:
    async with connected([]) as client:
        client[1].write(b"".join(post(b"body%d" % number) for number in range(9)))
        for number in range(9):
            assert (await answered(client, b"", b"body%d" % number)).count(b"HTTP/1.1 200") == 1


@pytest.mark.parametrize("size", [0, 1, LARGE, LARGE + 1, LIMIT])
async def test_a_body_of_any_size_comes_back(size: int) -> None:
    async with connected([]) as client:
        for _ in range(2):
            assert (
                await answered(client, post(b"x" * size), b"\r\n\r\n")
                == b"HTTP/1.1 200 OK\r\n" + HEADERS % size + b"\r\n"
            )
            assert await client[0].readexactly(size) == b"x" * size


@pytest.mark.parametrize("pause", [False, True])
async def test_a_body_in_chunks_is_bounded_whether_it_comes_at_once_or_not(pause: bool) -> None:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with connected([]) as client:
        client[1].write(head + b"4\r\nbody\r\n")
        await asyncio.sleep(0.05 * pause)
        assert (await answered(client, b"1\r\n!\r\n0\r\n\r\n", b"body!")).endswith(b"content-length: 5\r\n\r\nbody!")
        await asyncio.sleep(0.05 * pause)
        too_much = b"%x\r\n%b\r\n0\r\n\r\n" % (LIMIT + 1, b"x" * (LIMIT + 1))
        assert b" 413 " in await answered(client, head + too_much, b"\r\n")


async def test_an_answer_to_head_has_no_body() -> None:
    async with connected([]) as client:
        head = post(b"body").replace(b"POST", b"HEAD")
        assert await answered(client, head, b"\r\n\r\n") == b"HTTP/1.1 200 OK\r\n" + HEADERS % 4 + b"\r\n"
        assert (await answered(client, post(b"next"), b"next")).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_an_answer_to_http_1_0_ends_its_connection() -> None:
    async with connected([]) as client:
        client[1].write(post(b"body", version=b"1.0"))
        assert (await asyncio.wait_for(client[0].read(), 5)).endswith(b"connection: close\r\n\r\nbody")


async def test_headers_that_every_answer_has_are_in_a_whole_one_too() -> None:
    async with connected([], quota=True) as client:
        assert b"\r\nratelimit: some\r\n" in await answered(client, post(b"body"), b"\r\nbody")


async def test_a_client_that_takes_nothing_holds_its_own_answers_up_and_loses_none() -> None:
    body = b"x" * LARGE
    seen: list[Exchange] = []
    async with connected(seen) as (reader, writer):
        count = 2_000  # of them 16 MB: more than sockets hold
        writer.write(post(body) * count)
        before = -1
        while before != len(seen):  # until nothing goes on
            before = len(seen)
            await asyncio.sleep(0.3)
        assert len(seen) < count
        for _ in range(count):
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
            assert await reader.readexactly(LARGE) == body


async def test_a_request_leaves_no_reference_cycle() -> None:
    seen: list[Exchange] = []
    async with connected(seen) as client:
        await answered(client, post(b"body"), b"body")
        assert "inlake.whole" not in seen[0].scope
