"""Connections that wait in the kernel to be taken, which must not take longer the more there is to do."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable

LENGTH = 4096
"""Connections that may wait. One more is neither taken nor refused: its client sends its bytes again after 0.2 s, then
0.4 s, and so on. Linux has 4096 for the most (net.core.somaxconn)."""
A_TURN, A_TURN_TLS = 250, 16
"""Connections that are taken in one turn of the event loop, at most: more would keep those that are there waiting. A
handshake of TLS takes some milliseconds, and those of a turn come together in one of the next."""
HANDSHAKE = 1.0
"""Seconds that a TLS handshake has which is under way when the server stops."""


class Backlog:
    """Takes all connections that wait on a socket, beside uvloop, which takes one in each turn of the event loop.

    A turn is as long as the work of all requests that are there. With one connection a turn the clients of the others
    would wait where nobody sees them: no request of theirs counts as in flight, and none is refused.
    """

    def __init__(
        self,
        listening: socket.socket,
        protocol: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext | None,
    ) -> None:
        """Must be made where the event loop runs. `listening` stays the caller's, and does not block."""
        self._listening = listening.dup()  # uvloop watches the other descriptor itself
        self._protocol = protocol
        self._tls = tls
        self._most = A_TURN if tls is None else A_TURN_TLS
        self._begun: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._listening, self._take)

    async def close(self) -> None:
        """Takes no more, and waits for connections that are being made: a server that stops must know all of them."""
        self._loop.remove_reader(self._listening)
        self._listening.close()
        if self._begun:
            await asyncio.wait(self._begun, timeout=HANDSHAKE)

    def _take(self) -> None:
        for _ in range(self._most):
            try:
                connection, _ = self._listening.accept()
            except OSError:  # there is none, or there is no descriptor left, which uvloop looks after
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._serve(connection))
            self._begun.add(task)
            task.add_done_callback(self._begun.discard)

    async def _serve(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, connection, ssl=self._tls)
        except OSError:  # the client has gone, or speaks no TLS
            connection.close()
