"""How much may be in flight: requests and the memory of their bodies are counted before a byte of a body is read."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

from inlake.errors import Busy
from inlake.settings import Settings
from inlake.web.request.overload import Overload


class Admission:
    """One per process. A request that does not fit is refused at once, with the time to try again."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.overload = Overload(settings.max_requests, settings.shed_ms)
        self.requests = 0
        self.memory = 0

    def admit(self, may_hold: int) -> int:
        """Hold a place for a request, and the bytes that are returned, until they are released. Raises `Busy`."""
        if self.is_full:
            raise self.busy()
        if self.memory + may_hold > self._settings.max_memory and self.requests:
            raise Busy("The bodies in flight fill the memory that they may take (INLAKE_MAX_MEMORY); try again.")
        self.requests += 1
        self.memory += may_hold
        return may_hold

    @property
    def is_full(self) -> bool:
        """Whether one more request would be too many."""
        return self.requests >= self.overload.limit

    def busy(self) -> Busy:
        """Why a request is refused while it is. Clients come back at different times, or all would be refused again."""
        self.overload.refused += 1
        limit = self.overload.limit
        setting = "INLAKE_MAX_REQUESTS" if limit == self._settings.max_requests else "INLAKE_SHED_MS"
        error = Busy(f"The gateway has {self.requests} requests in flight and takes {limit} ({setting}); try again.")
        most = self.overload.retry_after
        error.retry_after = random.randint((most + 1) // 2, most + most // 2)  # noqa: S311 - no secret
        return error

    def release(self, held: int) -> None:
        """The request is answered."""
        self.requests -= 1
        self.memory -= held

    @contextmanager
    def set_aside(self, more: int) -> Iterator[None]:
        """More memory for a request that was admitted, in bytes. Raises `Busy`."""
        if self.memory + more > self._settings.max_memory and self.requests > 1:
            raise Busy("The bodies in flight fill the memory that they may take (INLAKE_MAX_MEMORY); try again.")
        with self.counted(more):
            yield

    @contextmanager
    def counted(self, more: int) -> Iterator[None]:
        """More memory that is taken already, in bytes."""
        self.memory += more
        try:
            yield
        finally:
            self.memory -= more
