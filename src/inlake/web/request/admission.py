"""How much may be in flight: requests and the memory of their bodies are counted before a byte of a body is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from inlake.errors import Busy
from inlake.settings import Settings


class Admission:
    """One per process. A request that does not fit is refused at once, with the time to try again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.requests = 0
        self.memory = 0

    def admit(self, may_hold: int) -> int:
        """Hold a place for a request, and the bytes that are returned, until they are released. Raises `Busy`."""
        settings = self._settings
        if self.requests >= settings.max_requests:
            raise Busy(f"The gateway has {self.requests} requests in flight (INLAKE_MAX_REQUESTS); try again.")
        if self.memory + may_hold > settings.max_memory and self.requests:
            raise Busy("The bodies in flight fill the memory that they may take (INLAKE_MAX_MEMORY); try again.")
        self.requests += 1
        self.memory += may_hold
        return may_hold

    def release(self, held: int) -> None:
        """The request is answered."""
        self.requests -= 1
        self.memory -= held

    @contextmanager
    def set_aside(self, more: int) -> Iterator[None]:
        """More memory for a request that was admitted, in bytes. Raises `Busy`."""
        if self.memory + more > self._settings.max_memory and self.requests > 1:
            raise Busy("The bodies in flight fill the memory that they may take (INLAKE_MAX_MEMORY); try again.")
        self.memory += more
        try:
            yield
        finally:
            self.memory -= more
