"""Connections that wait: all are taken within a few turns of the event loop, however long a turn is."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvloop

from inlake.web.serving.backlog import A_TURN, LENGTH, Backlog
from tests.certificates import make_authority

CLIENTS = 600


class Echo(asyncio.Protocol):
    """Answers what it gets; `made` are all of them."""

    made: list[Echo]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self.made.append(self)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@contextmanager
def waiting(count: int, folder: Path, family: int) -> Iterator[tuple[socket.socket, list[socket.socket]]]:
    """A socket, and so many clients that wait to be taken."""
    listening = socket.socket(family)
    listening.bind(("127.0.0.1", 0) if family == socket.AF_INET else str(folder / "socket"))
    listening.listen(LENGTH)
    clients = [socket.socket(family) for _ in range(count)]
    for client in clients:
        client.connect(listening.getsockname())
        client.setblocking(False)
    listening.setblocking(False)
    try:
        yield listening, clients
    finally:
        for one in [listening, *clients]:
            one.close()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_all_that_wait_are_taken_in_a_few_turns_and_answered(tmp_path: Path, family: int) -> None:
    async def run(listening: socket.socket, clients: list[socket.socket]) -> int:
        loop, turns, got = asyncio.get_running_loop(), 0, b""
        Echo.made = []
        server = await loop.create_server(Echo, sock=listening, backlog=LENGTH)
        backlog = Backlog(listening, Echo, None)
        while len(Echo.made) < CLIENTS:
            turns += 1
            assert turns < CLIENTS, len(Echo.made)
            await asyncio.sleep(0)
        for client in clients:
            await loop.sock_sendall(client, b"x")
        for client in clients:
            got += await asyncio.wait_for(loop.sock_recv(client, 10), 10)
        assert got == b"x" * CLIENTS
        await backlog.close()
        server.close()
        for one in Echo.made:
            one.transport.close()
        await asyncio.sleep(0.05)
        return turns

    with waiting(CLIENTS, tmp_path, family) as (listening, clients):
        assert uvloop.run(run(listening, clients)) <= 5 * (1 + CLIENTS // A_TURN)


def test_clients_that_speak_no_tls_or_have_gone_are_no_fault(tmp_path: Path) -> None:
    async def run(listening: socket.socket, clients: list[socket.socket], tls: ssl.SSLContext) -> None:
        loop, faults = asyncio.get_running_loop(), []
        loop.set_exception_handler(lambda _, context: faults.append(context))
        clients[0].send(b"GET / HTTP/1.1\r\n\r\n")
        clients[1].close()
        backlog = Backlog(listening, Echo, tls)
        reader, writer = await asyncio.open_connection(
            *listening.getsockname(), ssl=ssl.create_default_context(cafile=str(authority.ca))
        )
        writer.write(b"x")
        assert await asyncio.wait_for(reader.read(1), 10) == b"x"
        while backlog._begun:
            await asyncio.sleep(0.01)
        writer.close()
        await backlog.close()
        assert not faults

    authority = make_authority(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(authority.server)
    Echo.made = []
    with waiting(2, tmp_path, socket.AF_INET) as (listening, clients):
        uvloop.run(run(listening, clients, context))


def test_a_connection_that_is_being_made_is_known_before_the_server_goes_on_to_stop(tmp_path: Path) -> None:
    async def run(listening: socket.socket) -> None:
        backlog = Backlog(listening, Echo, None)
        while not backlog._begun:
            await asyncio.sleep(0)
        await backlog.close()
        assert len(Echo.made) == 1
        Echo.made[0].transport.close()
        await asyncio.sleep(0.05)

    Echo.made = []
    with waiting(1, tmp_path, socket.AF_INET) as (listening, _):
        uvloop.run(run(listening))
