"""The way to a broker, where something is wrong with it: slow, silent, or with old answers about who leads."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

METADATA = 3
"""The number of Kafka's request about leaders."""
Address = tuple[str, int]


@dataclass
class Link:
    """Passes requests and answers on between clients and a broker."""

    listen: Address
    broker: Address
    rate: float = 0.0
    """Bytes a second that it takes from each client; 0 is all."""
    silent: bool = False
    """It lets clients connect, and says nothing."""
    frozen: bool = False
    """Answers about leaders are those of before."""
    _remembered: dict[bytes, bytes] = field(default_factory=dict)
    """Answers about leaders, by version and question."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError), contextlib.closing(writer):
            if self.silent:
                await reader.read()
                return
            from_broker, to_broker = await asyncio.open_connection(*self.broker)
            questions: dict[bytes, bytes] = {}
            with contextlib.closing(to_broker):
                ways = {
                    asyncio.create_task(self._pass_requests(reader, to_broker, questions)),
                    asyncio.create_task(self._pass_answers(from_broker, writer, questions)),
                }
                _, pending = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in pending:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)

    async def _pass_requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, questions: dict[bytes, bytes]
    ) -> None:
        while True:
            head = await reader.readexactly(12)  # length, kind, version, number
            left = int.from_bytes(head[:4], "big") - 8
            if int.from_bytes(head[4:6], "big") == METADATA:
                body = await reader.readexactly(left)
                questions[head[8:]] = head[6:8] + body
                writer.write(head + body)
                continue
            writer.write(head)
            while left:
                piece = await reader.read(min(left, int(self.rate / 50) or 65_536))
                if not piece:
                    return
                left -= len(piece)
                writer.write(piece)
                await writer.drain()
                if self.rate:
                    await asyncio.sleep(len(piece) / self.rate)

    async def _pass_answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, questions: dict[bytes, bytes]
    ) -> None:
        while True:
            size = await reader.readexactly(4)
            answer = await reader.readexactly(int.from_bytes(size, "big"))
            if question := questions.pop(answer[:4], None):
                if self.frozen:
                    answer = answer[:4] + self._remembered.get(question, answer[4:])
                else:
                    self._remembered[question] = answer[4:]
            writer.write(len(answer).to_bytes(4, "big") + answer)
            await writer.drain()


@contextlib.contextmanager
def opened(links: Sequence[Link]) -> Iterator[None]:
    """The links, in a thread of their own until the end."""
    loop = asyncio.new_event_loop()

    servers: list[asyncio.Server] = []

    async def start() -> None:
        for link in links:
            listening = socket.create_server(link.listen)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 << 10)  # what waits, waits at the client
            servers.append(await asyncio.start_server(link.serve, sock=listening, limit=16 << 10))

    async def end() -> None:
        for server in servers:
            server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        yield
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
