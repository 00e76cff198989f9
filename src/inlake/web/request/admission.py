"""How much may be in flight: requests and the memory of their bodies are counted before a byte of a body is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from inlake.errors import Busy
from inlake.model import PART
from inlake.settings import Settings
from inlake.web.request.address import NDJSON, address
from inlake.web.request.exchange import Exchange
from inlake.web.request.spool import IN_MEMORY, REJECTS_RESERVE

UPLOAD_BYTES = 6 * PART
"""A binary on its way: four parts in flight, one that waits, one that fills."""

PIECE = "application/offset+octet-stream"
"""Bytes of a tus upload."""
BINARY_PATH = "/ingress/binary"
"""Where a body of any type is a binary."""


class Admission:
    """One per process. A request that does not fit is refused at once, with the time to try again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.requests = 0
        self.memory = 0

    def admit(self, x: Exchange) -> int:
        """Hold a place for the request, until the bytes that are returned are released. Raises `Busy`."""
        settings = self._settings
        if self.requests >= settings.max_requests:
            raise Busy(f"The gateway has {self.requests} requests in flight (INLAKE_MAX_REQUESTS); try again.")
        cost = self._cost(x)
        if self.memory + cost > settings.max_memory and self.requests:
            raise Busy("The bodies in flight fill the memory that they may take (INLAKE_MAX_MEMORY); try again.")
        self.requests += 1
        self.memory += cost
        return cost

    def release(self, held: int) -> None:
        """The request is answered."""
        self.requests -= 1
        self.memory -= held

    @contextmanager
    def set_aside(self, cost: int) -> Iterator[None]:
        """More memory for a request that was admitted, in bytes. Raises `Busy`."""
        if self.memory + cost > self._settings.max_memory and self.requests > 1:
            raise Busy("The bodies in flight fill the memory that they may take (INLAKE_MAX_MEMORY); try again.")
        self.memory += cost
        try:
            yield
        finally:
            self.memory -= cost

    def _cost(self, x: Exchange) -> int:
        """Bytes that a request may hold at once, from its headers alone."""
        settings = self._settings
        kind = _kind(x.header(b"content-type"))
        if kind in NDJSON and address(x.scope["query_string"]).atomic:  # the body as text, as events and as receipts
            length = None if x.header(b"content-encoding") else x.content_length
            return 3 * min(length or settings.atomic_bytes, settings.atomic_bytes) + REJECTS_RESERVE
        if kind in NDJSON:  # a window as events and as receipts, the next one as text and as events; the spool's memory
            return 6 * settings.window_bytes + 2 * settings.max_record_bytes + IN_MEMORY + REJECTS_RESERVE // 8
        length = None if x.header(b"content-encoding") else x.content_length
        record = 3 * settings.max_record_bytes  # as text, as values, as an event
        if kind == PIECE:  # with it comes what was kept of the part before
            return UPLOAD_BYTES if length is None else min(3 * length + 2 * PART, UPLOAD_BYTES)
        takes_binary = kind == "multipart/form-data" or x.scope["path"] == BINARY_PATH
        most = record + UPLOAD_BYTES if takes_binary else record
        return most if length is None else min(3 * length, most)


@lru_cache(256)
def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
