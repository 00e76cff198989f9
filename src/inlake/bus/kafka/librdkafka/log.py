"""librdkafka's log, to the gateway's."""

from __future__ import annotations

import logging
import time

logger = logging.getLogger("inlake.bus")


class Log:
    """Passes a line on, each kind once in 30 s: librdkafka repeats a lost connection many times a second."""

    def __init__(self, seconds: float = 30.0) -> None:
        self._seconds = seconds
        self._next: dict[str, float] = {}

    def log(self, level: int, text: str, *args: str) -> None:
        kind, now = args[0] if args else text, time.monotonic()
        if now >= self._next.get(kind, 0.0):
            self._next[kind] = now + self._seconds
            logger.log(min(level, logging.WARNING), text, *args)
