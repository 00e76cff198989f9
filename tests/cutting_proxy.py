"""A TCP proxy that gives connections to its upstreams in turn, and cuts them at random places."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator, Sequence

PIECE = 64 << 10


class CuttingProxy:
    """Cuts a connection when it has carried a random number of bytes to the upstream; `cuts` times in all.

    Every seventh cut is one that the upstream does not hear of: as when a client's network is gone.
    """

    def __init__(self, upstreams: Sequence[tuple[str, int]], *, cuts: int, most: int, seed: int) -> None:
        """`most`: bytes that a connection carries before it is cut."""
        self._upstreams, self._cuts, self._most = list(upstreams), cuts, most
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = [self._listening]
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.cuts_done = 0
        self.connections: Counter[tuple[str, int]] = Counter()
        """By upstream, those that carried more than a request's headers."""

    def run(self) -> None:
        """Until `close`."""
        with contextlib.suppress(OSError):
            for n in itertools.count():
                client = self._listening.accept()[0]
                # one after the other, and in each round one later: else every HEAD meets one, and every PATCH another
                upstream = self._upstreams[(n + n // len(self._upstreams)) % len(self._upstreams)]
                threading.Thread(target=self._carry, args=(client, upstream), daemon=True).start()

    def close(self) -> None:
        with self._lock:
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()

    def _carry(self, client: socket.socket, upstream: tuple[str, int]) -> None:
        with self._lock:
            left = self._random.randint(PIECE, self._most)
        server = socket.create_connection(upstream)
        with self._lock:
            self._open += [client, server]
        threading.Thread(target=_copy, args=(server, client), daemon=True).start()
        carried = 0
        with contextlib.suppress(OSError):
            while piece := client.recv(PIECE):
                if carried <= PIECE < carried + len(piece):
                    self.connections[upstream] += 1
                carried += len(piece)
                if carried > left and self._may_cut():
                    server.sendall(piece[: left - carried])
                    self._cut(client, server)
                    return
                server.sendall(piece)
            server.shutdown(socket.SHUT_WR)

    def _may_cut(self) -> bool:
        with self._lock:
            if self.cuts_done == self._cuts:
                return False
            self.cuts_done += 1
            return True

    def _cut(self, client: socket.socket, server: socket.socket) -> None:
        """With a reset, so that neither side takes it for an end."""
        cut = (client,) if self.cuts_done % 7 == 0 else (client, server)
        for each in cut:
            each.shutdown(socket.SHUT_RD)  # whoever reads there keeps it open until then
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            each.close()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(PIECE):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def cutting(upstreams: Sequence[tuple[str, int]], *, cuts: int, most: int, seed: int) -> Iterator[CuttingProxy]:
    """A proxy during a block."""
    proxy = CuttingProxy(upstreams, cuts=cuts, most=most, seed=seed)
    threading.Thread(target=proxy.run, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.close()
