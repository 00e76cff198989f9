"""Waits before a request is sent again: doubled each time, or as long as the gateway asks for."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from inlake.client.problems import CutOff, Failed, Problem, Unreachable

FIRST = 0.5
LONGEST = 30.0
BEING_DONE = "idempotency_in_flight"
"""The code of an earlier attempt that the gateway is still working on."""


def may_help(error: Exception) -> bool:
    """Whether the same request, with the same key, may be answered better another time."""
    match error:
        case Failed():
            return error.status != 501
        case Problem():
            return error.status == 408 or error.code == BEING_DONE
        case Unreachable():
            return error.sent
    return isinstance(error, CutOff)


def asked_for(retry_after: str | None) -> float:
    """Seconds of a `Retry-After` header (RFC 9110, 10.2.3); 0 for none."""
    if not retry_after:
        return 0.0
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return 0.0


class Waits:
    """The waits of one request; together they last at most `seconds`, and at least as long as the gateway asks for."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._steps = _steps()

    def wait(self, retry_after: str | None = None) -> bool:
        """Sleep before the next attempt; False at once when there is no time left for one."""
        pause = max(next(self._steps), asked_for(retry_after))
        if time.monotonic() + pause > self._end:
            return False
        time.sleep(pause)
        return True


def _steps() -> Iterator[float]:
    """With jitter, so that clients that lost one gateway do not come back at one moment."""
    step = FIRST
    while True:
        yield step * random.uniform(0.8, 1.2)  # noqa: S311
        step = min(2 * step, LONGEST)
