"""A wire to the real broker that knows Kafka's frames, and goes wrong just where a test wants it to."""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, closing, suppress
from typing import Literal

from tests.live_servers import KAFKA_BOOTSTRAP

PRODUCE, METADATA, INIT_PRODUCER_ID, END_TXN, SASL_AUTHENTICATE = 0, 3, 22, 26, 36
"""https://kafka.apache.org/protocol.html#protocol_api_keys"""
Fault = Literal[
    "request lost",
    "answer lost",
    "cut before",
    "cut after",
    "answered",
    "answered after",
    "late",
    "left out",
    "garbled",
    "expires",
]
"""The last five are of PRODUCE: the broker never sees the request, or has it, and the answer is another, comes late, does not
speak of its batches, or is cut short."""


class Wire:
    """One fault, on one connection, at the first request of a kind; everything else passes. Or one after the other."""

    def __init__(
        self,
        faults: Fault | Iterable[Fault | None],
        *,
        at: int = END_TXN,
        code: int = 0,
        seconds: float = 0.0,
        to: str = KAFKA_BOOTSTRAP,
    ) -> None:
        """`faults`: those of one request after the other, None where one passes; `at`: kind of request; `code`: what an
        answer says; `seconds`: how late it is, or how long an authentication stands; `to`: the broker's address."""
        self.address = ""
        """host:port to connect to; the broker is made to name it as its own."""
        self.happened = asyncio.Event()
        self.open = self.opened = 0
        """Connections."""
        self._faults: Iterator[Fault | None] = iter([faults] if isinstance(faults, str) else faults)
        self._at = at
        self.code = code
        self._seconds = seconds
        self._host, _, self._port = to.rpartition(":")
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
        line = _Line(writer, kafka_writer)
        self.open, self.opened = self.open + 1, self.opened + 1
        ways = [asyncio.create_task(way) for way in (self._requests(reader, line), self._answers(kafka_reader, line))]
        for way in ways:
            self._running.add(way)
            way.add_done_callback(self._running.discard)
        await asyncio.wait(ways)
        self.open -= 1

    async def _requests(self, reader: asyncio.StreamReader, line: _Line) -> None:
        with closing(line.kafka), suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await _frame(reader)
                fault = next(self._faults, None) if int.from_bytes(frame[4:6], "big") == self._at else None
                if fault is not None and not line.silent:
                    self.happened.set()
                    if not await self._go_wrong(fault, frame, line):
                        return
                elif not line.silent:
                    line.order.append(frame[8:12])
                    line.kafka.write(frame)

    async def _go_wrong(self, fault: Fault, frame: bytes, line: _Line) -> bool:
        """Whether the connection still stands."""
        line.silent = fault in {"request lost", "answer lost", "cut before", "cut after"}
        line.faults[frame[8:12]] = fault, _said(frame, self.code) if self._at == PRODUCE else b""
        line.order.append(frame[8:12])
        if passes := fault not in {"request lost", "cut before", "answered"}:
            line.kafka.write(frame)
            await line.kafka.drain()
        if fault == "answered":
            line.answer(frame[8:12], line.faults.pop(frame[8:12])[1])
        if fault.startswith("cut"):
            await asyncio.sleep(0.1 if passes else 0)  # the broker has it before the connection goes
            line.client.close()
        return not fault.startswith("cut")

    async def _answers(self, reader: asyncio.StreamReader, line: _Line) -> None:
        with closing(line.client), closing(line.kafka), suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await _frame(reader)
                number = frame[4:8]
                fault, said = line.faults.pop(number, (None, b""))
                if fault == "late":
                    await asyncio.sleep(self._seconds)
                elif fault == "answered after":
                    frame = said
                elif fault == "left out":  # no topics, no throttling
                    frame = struct.pack(">i4sii", 12, frame[4:8], 0, 0)
                elif fault == "expires":  # what a broker says of connections.max.reauth.ms (KIP-368)
                    frame = frame[:-8] + struct.pack(">q", round(self._seconds * 1000))
                elif fault == "garbled":
                    frame = struct.pack(">i", len(frame) - 10) + frame[4:-6]
                if not line.silent:
                    line.answer(number, frame.replace(self._theirs, self._ours))


class _Line:
    """A client, its connection to the broker, and the requests whose answers are to go wrong."""

    def __init__(self, client: asyncio.StreamWriter, kafka: asyncio.StreamWriter) -> None:
        self.client = client
        self.kafka = kafka
        self.silent = False
        self.faults: dict[bytes, tuple[Fault, bytes]] = {}
        self.order: deque[bytes] = deque()
        """Numbers of the requests without an answer."""
        self._answers: dict[bytes, bytes] = {}

    def answer(self, number: bytes, frame: bytes) -> None:
        """The answer goes to the client in the order of the requests, as a broker's do."""
        self._answers[number] = frame
        while self.order and self.order[0] in self._answers:
            self.client.write(self._answers.pop(self.order.popleft()))


def _said(request: bytes, code: int) -> bytes:
    """The answer to a PRODUCE request of version 5 to 8 that gives this code for each of its batches, in one frame."""
    at = 14 + _size(request, 12)  # behind the name of the client
    at += 2 + _size(request, at) + 6  # the transaction, acks, time-out
    answer = [request[8:12], request[at : at + 4]]
    topics, at = int.from_bytes(request[at : at + 4], "big"), at + 4
    for _ in range(topics):
        begin = at
        at += 2 + _size(request, at) + 4
        answer.append(request[begin:at])
        for _ in range(int.from_bytes(request[at - 4 : at], "big")):
            answer.append(request[at : at + 4] + struct.pack(">hqqq", code, -1, -1, -1))
            at += 8 + int.from_bytes(request[at + 4 : at + 8], "big")
    data = b"".join([*answer, bytes(4)])
    return len(data).to_bytes(4, "big") + data


def _size(frame: bytes, at: int) -> int:
    """Of the text there; null has none."""
    return max(int.from_bytes(frame[at : at + 2], "big", signed=True), 0)


async def _frame(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return head + await reader.readexactly(int.from_bytes(head, "big"))
