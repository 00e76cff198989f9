"""A transport that sends small writes of one turn of the event loop together."""

from __future__ import annotations

import asyncio
from typing import Any

LARGE = 8 << 10
"""Bytes that are worth a system call of their own: they go at once, and feel the transport's back-pressure."""


class Corked:
    """uvicorn writes the head and the body of an answer apart: two system calls, and two packets to the client."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting: list[bytes] = []
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """As the transport's, a little later."""
        if len(data) > LARGE:
            self._flush()
            self._transport.write(data)
            return
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(data)

    def close(self) -> None:
        """Send what waits, then close."""
        self._flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        """All else is the transport's own."""
        return getattr(self._transport, name)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting and not self.is_closing():
            self._transport.write(b"".join(waiting))
