"""A wire to the real broker that knows Kafka's frames, and goes wrong just where a test wants it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from typing import Literal

from tests.live_servers import KAFKA_BOOTSTRAP

END_TXN = 26
"""https://kafka.apache.org/protocol.html#protocol_api_keys"""
Fault = Literal["request lost", "answer lost", "cut before", "cut after"]


class Wire:
    """One fault, on one connection, at the first request to end a transaction; everything else passes."""

    def __init__(self, fault: Fault) -> None:
        self.address = ""
        """host:port to connect to; the broker is made to name it as its own."""
        self.happened = asyncio.Event()
        self._fault = fault
        self._host, _, self._port = KAFKA_BOOTSTRAP.rpartition(":")
        self._theirs = self._ours = b""
        self._running = set[asyncio.Task[None]]()

    @asynccontextmanager
    async def laid(self) -> AsyncIterator[Wire]:
        listening = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        number = listening.sockets[0].getsockname()[1]
        self.address = f"127.0.0.1:{number}"
        self._theirs = self._host.encode() + int(self._port).to_bytes(4, "big")
        self._ours = self._host.encode() + int(number).to_bytes(4, "big")
        try:
            yield self
        finally:
            listening.close()
            for way in self._running:
                way.cancel()
            if self._running:
                await asyncio.wait(self._running)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kafka_reader, kafka_writer = await asyncio.open_connection(self._host, int(self._port))
        silent = asyncio.Event()
        for way in (
            self._requests(reader, kafka_writer, writer, silent),
            self._answers(kafka_reader, writer, kafka_writer, silent),
        ):
            task = asyncio.create_task(way)
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        kafka: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
        silent: asyncio.Event,
    ) -> None:
        with closing(kafka), suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await _frame(reader)
                if int.from_bytes(frame[4:6], "big") == END_TXN and not self.happened.is_set():
                    silent.set()
                    self.happened.set()
                    passes = self._fault in {"answer lost", "cut after"}
                    if passes:
                        kafka.write(frame)
                        await kafka.drain()
                    if self._fault.startswith("cut"):
                        await asyncio.sleep(0.1 if passes else 0)  # the broker has it before the connection goes
                        client.close()
                        return
                elif not silent.is_set():
                    kafka.write(frame)

    async def _answers(
        self,
        reader: asyncio.StreamReader,
        client: asyncio.StreamWriter,
        kafka: asyncio.StreamWriter,
        silent: asyncio.Event,
    ) -> None:
        with closing(client), closing(kafka), suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await _frame(reader)
                if not silent.is_set():
                    client.write(frame.replace(self._theirs, self._ours))


async def _frame(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return head + await reader.readexactly(int.from_bytes(head, "big"))
