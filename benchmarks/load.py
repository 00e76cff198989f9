"""The load: prebuilt requests go out on a few connections, the ends of the answers are noticed, and times are kept.

A client that parses costs more for a request than the gateway does, and would measure itself. This one
takes some 10 us.
"""

from __future__ import annotations

import itertools
import re
import select
import socket
from collections.abc import Iterator, Sequence
from time import perf_counter
from typing import NamedTuple, Self

PIECE = 256 << 10
TAIL = 1_000
"""Bytes of the end of an answer that are kept; an answer to a single record is shorter."""
_LENGTH = re.compile(rb"\ncontent-length: *(\d+)", re.IGNORECASE)


class LoadError(Exception):
    """The server did not answer as it must: what was measured means nothing."""


class Request(NamedTuple):
    """The bytes of a request, in pieces (may be one object many times), and what its answer must hold near its end."""

    pieces: Sequence[bytes]
    proof: bytes


def post(path: str, content_type: str, blocks: Sequence[bytes], proof: bytes) -> Request:
    """A POST of all blocks; the first travels with the headers."""
    length = sum(map(len, blocks))
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n"
    )
    return Request([head.encode() + blocks[0], *blocks[1:]], proof)


class Connection:
    """One request at a time. The socket never blocks."""

    __slots__ = ("_answer", "_got", "_pieces", "_proof", "_size", "_unsent", "began", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self._unsent = memoryview(b"")

    def begin(self, request: Request, now: float) -> bool:
        """Send what the socket takes; whether all is out."""
        self.began = now
        self._pieces: Iterator[bytes] = iter(request.pieces)
        self._proof = request.proof
        self._answer, self._got, self._size = b"", 0, -1
        return self.send()

    def send(self) -> bool:
        """Go on sending; whether all is out."""
        try:
            while True:
                if not self._unsent:
                    piece = next(self._pieces, None)
                    if piece is None:
                        return True
                    self._unsent = memoryview(piece)
                self._unsent = self._unsent[self.socket.send(self._unsent) :]
        except BlockingIOError:
            return False

    def take(self) -> bool:
        """Read what came; whether the answer is whole. Raises `LoadError`."""
        data = self.socket.recv(PIECE)
        self._got += len(data)
        self._answer = (self._answer + data)[-TAIL:] if self._size >= 0 else self._answer + data
        if self._size < 0 and not self._head_came():
            return self._wrong() if not data else False
        whole = self._got >= self._size if self._size else self._answer.endswith(b"\r\n0\r\n\r\n")
        if (whole and self._proof not in self._answer) or not data:
            self._wrong()
        return whole

    def _head_came(self) -> bool:
        """Learn how long the answer is: -1 not yet known, 0 chunked."""
        end = self._answer.find(b"\r\n\r\n")
        if end >= 0:
            length = _LENGTH.search(self._answer, 0, end)
            self._size = end + 4 + int(length[1]) if length else 0
        return end >= 0

    def _wrong(self) -> bool:
        raise LoadError(f"{self._proof!r} was to come, and {self._answer[-TAIL:]!r} came")


class Pool:
    """`with Pool(port, 32, requests) as pool`: connections that send the requests in turn."""

    def __init__(self, port: int, connections: int, requests: Sequence[Request]) -> None:
        self._requests = itertools.cycle(requests)
        self._idle = [Connection(port) for _ in range(connections)]
        self._all = {connection.socket.fileno(): connection for connection in self._idle}
        self._poll = select.epoll(len(self._all))
        for number in self._all:
            self._poll.register(number, select.EPOLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.drain()
        self._poll.close()
        for connection in self._all.values():
            connection.socket.close()

    def saturate(self, seconds: float) -> list[float]:
        """Every connection sends its next request when it has its answer; the seconds of each request that ended."""
        times: list[float] = []
        end = perf_counter() + seconds
        while self._idle:
            self._begin(self._idle.pop(), perf_counter())
        while perf_counter() < end or not times:
            for connection in self._ended(0.1):
                now = perf_counter()
                times.append(now - connection.began)
                self._begin(connection, now)
        return times

    def pace(self, rate: float, seconds: float) -> list[float]:
        """Requests at a fixed rate, whatever the server does: each one's time counts from when it was due."""
        self.drain()
        times: list[float] = []
        due = perf_counter()
        end = due + seconds
        while due < end or len(self._idle) < len(self._all):
            now = perf_counter()
            while self._idle and due <= now and due < end:
                self._begin(self._idle.pop(), due)
                due += 1 / rate
            # epoll itself counts in milliseconds
            select.select([self._poll], [], [], max(due - now, 0) if self._idle and due < end else 0.1)
            for connection in self._ended(0):
                times.append(perf_counter() - connection.began)
                self._idle.append(connection)
        return times

    def once(self) -> float:
        """One request on one connection; its seconds."""
        began = perf_counter()
        self._begin(self._idle.pop(), began)
        self.drain()
        return perf_counter() - began

    def drain(self) -> int:
        """Wait for the answers that are due; how many came."""
        due = len(self._all) - len(self._idle)
        while len(self._idle) < len(self._all):
            self._idle += self._ended(0.1)
        return due

    def _begin(self, connection: Connection, now: float) -> None:
        if not connection.begin(next(self._requests), now):
            self._poll.modify(connection.socket.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _ended(self, wait: float) -> list[Connection]:
        """Connections whose answer is whole; the others go on sending and reading."""
        ended = []
        for number, event in self._poll.poll(wait):
            connection = self._all[number]
            if event & select.EPOLLOUT and connection.send():
                self._poll.modify(number, select.EPOLLIN)
            if event & ~select.EPOLLOUT and connection.take():
                ended.append(connection)
        return ended


def percentile(times: Sequence[float], share: float) -> float:
    """Milliseconds that this share of the times (in seconds) does not exceed."""
    return sorted(times)[min(int(len(times) * share), len(times) - 1)] * 1000
