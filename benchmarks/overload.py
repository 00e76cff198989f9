"""More requests than the gateway can take: how many are accepted at 1, 2, 3 and 5 times that, and how long they take.

Each client has a connection and sends one request at a time. Requests come at a fixed rate, whatever the gateway does,
and each goes out by a client that is free; a client that is refused waits as long as `Retry-After` says.
"""

from __future__ import annotations

import heapq
import re
import select
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple

from benchmarks.cases import CONNECTIONS, Case, Effort, single_requests
from benchmarks.load import Connection, LoadError, Pool, Request, percentile
from benchmarks.report import number, table
from benchmarks.servers import Server, gateway

TIMES = (1, 2, 3, 5)
CLIENTS = 3_000
GOODPUT, P99_MS = 0.9, 250
"""At three times what saturates: the share of the peak that is accepted at least, and how long it takes at most."""
_RETRY_AFTER = re.compile(rb"\nretry-after: *(\d+)", re.IGNORECASE)


class Outcome(NamedTuple):
    """Of one rate."""

    offered: float
    """Requests that were due, a second."""
    sent: float
    """Requests that found a free client, a second."""
    accepted: float
    """A second."""
    p50: float
    p99: float
    """Of the accepted, in milliseconds since they were due."""
    memory: float
    """MiB resident at most."""


class Client(Connection):
    """Takes a refusal for an answer."""

    __slots__ = ("retry_after",)

    def _wrong(self) -> bool:
        found = _RETRY_AFTER.search(self._answer)
        if found is None or not self._answer.startswith((b"HTTP/1.1 503 ", b"HTTP/1.1 429 ")):
            raise LoadError(f"503 with Retry-After was to come, and {self._answer[:200]!r} came")
        self.retry_after = int(found[1])
        return True


class Clients:
    """`CLIENTS` of them, on their way or not."""

    def __init__(self, port: int, requests: list[Request]) -> None:
        self._requests = deque(requests)
        self._free = deque(Client(port) for _ in range(CLIENTS))
        self._all = {client.socket.fileno(): client for client in self._free}
        self._resting: list[tuple[float, int]] = []
        """Those that were refused: when they come back."""
        self._poll = select.epoll(len(self._all))
        for number_ in self._all:
            self._poll.register(number_, select.EPOLLIN)

    def offer(self, rate: float, seconds: float) -> tuple[list[float], int]:
        """The times of what was accepted, and how many were sent."""
        times: list[float] = []
        due = perf_counter()
        end, sent = due + seconds, 0
        while (now := perf_counter()) < end:
            while self._resting and self._resting[0][0] <= now:
                self._free.append(self._all[heapq.heappop(self._resting)[1]])
            while due <= now:
                if self._free:
                    self._begin(self._free.popleft(), due)
                    sent += 1
                due += 1 / rate
            for number_, _ in self._poll.poll(max(due - perf_counter(), 0)):
                self._take(self._all[number_], times)
        return times, sent

    def _begin(self, client: Client, due: float) -> None:
        client.retry_after = 0
        self._requests.rotate()
        if not client.begin(self._requests[0], due):
            raise LoadError("a socket did not take a small request")

    def _take(self, client: Client, times: list[float]) -> None:
        if not client.take():
            return
        now = perf_counter()
        if client.retry_after:
            heapq.heappush(self._resting, (now + client.retry_after, client.socket.fileno()))
        else:
            times.append(now - client.began)
            self._free.append(client)

    def close(self) -> None:
        self._poll.close()
        for client in self._all.values():
            client.socket.close()


def measure(bus: str, effort: Effort, say: Callable[[str], None]) -> str:
    """A table with a row for each rate."""
    case = Case("single", "flat", "avro", bus)
    requests = single_requests(case)
    with gateway(bus) as server:
        with Pool(server.port, CONNECTIONS[1], requests) as pool:
            pool.saturate(effort.warm)
            peak = len(pool.saturate(effort.seconds)) / effort.seconds
        say(f"overload {bus}: {peak:,.0f} requests/s saturate")
        outcomes = []
        for times in TIMES:
            outcomes.append((times, found := _offer(server, requests, peak * times, effort)))
            say(f"overload {bus}, {times} times: {found.accepted / peak:.2f} of the peak, p99 {found.p99:.0f} ms")
    rows = [
        (
            f"{times}",
            number(o.offered, 0),
            number(o.sent, 0),
            number(o.accepted, 0),
            number(o.accepted / peak, 2),
            number(o.p50, 0),
            number(o.p99, 0),
            number(o.memory, 0),
        )
        for times, o in outcomes
    ]
    head = ("times", "due/s", "sent/s", "accepted/s", "of the peak", "p50 ms", "p99 ms", "MiB")
    return f"{table(head, rows)}\nThree times: at least {GOODPUT} of the peak, p99 below {P99_MS} ms."


def _offer(server: Server, requests: list[Request], rate: float, effort: Effort) -> Outcome:
    clients = Clients(server.port, requests)
    try:
        clients.offer(rate, effort.seconds)  # until the gateway knows that it is too much
        server.forget_most()
        times, sent = clients.offer(rate, effort.seconds)
    finally:
        clients.close()
    seconds = effort.seconds
    p50, p99 = percentile(times, 0.5), percentile(times, 0.99)
    return Outcome(rate, sent / seconds, len(times) / seconds, p50, p99, server.most_memory())
