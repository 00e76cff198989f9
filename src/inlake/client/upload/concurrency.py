"""How many requests are on their way at once: more while that makes all faster, half when the store asks for it."""

from __future__ import annotations

WINDOW = 0.25
"""Seconds between two looks at the rate, at least."""
PER_REQUEST = 1 << 14
"""A request counts as so many bytes more: small files are slow by their number, large ones by their size."""
BETTER = 1.05
PAUSE = 1.0
"""Seconds within which requests that fail together count as one reason to slow down."""


class Concurrency:
    """The number of requests that may be on their way, between one and `most`."""

    def __init__(self, most: int, first: int = 16) -> None:
        self._most = most
        self.limit = min(first, most)
        self._done = 0
        self._requests = 0
        self._since = 0.0
        self._rate = 0.0
        self._grown = False
        """The limit grew at the last look."""
        self._slowed = -PAUSE

    def done(self, size: int, now: float) -> None:
        """A request of `size` bytes went well, at `now` (seconds of a clock that never goes back)."""
        if not self._requests:
            self._since = self._since or now
        self._requests += 1
        self._done += size + PER_REQUEST
        if now - self._since >= WINDOW and self._requests >= 2 * self.limit:
            self._look(self._done / (now - self._since))
            self._done, self._requests, self._since = 0, 0, now

    def slow_down(self, now: float) -> None:
        """The store, the gateway or the network had too much."""
        if now - self._slowed >= PAUSE:
            self._slowed = now
            self.limit = max(1, self.limit // 2)
            self._rate, self._grown = 0.0, False

    def _look(self, rate: float) -> None:
        if rate > self._rate * BETTER:
            self._grown = self.limit < self._most
            self.limit = min(self._most, self.limit + max(2, self.limit // 4))
        elif self._grown:  # it grew for nothing
            self.limit = max(1, self.limit - max(2, self.limit // 5))
            self._grown = False
        self._rate = max(rate, self._rate * 0.9)
