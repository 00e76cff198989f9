"""Waits before a request is sent again: doubled each time, or as long as the gateway asks for."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from inlake.client.problems import ClientError, CutOff, Failed, NotAGateway, Problem, Refused, Unreachable

FIRST = 0.5
LONGEST = 30.0
BEING_DONE = frozenset({"idempotency_in_flight", "shipment_busy", "upload_locked"})
"""The codes of an earlier attempt that the gateway is still working on."""
T = TypeVar("T")


def may_help(error: Exception) -> bool:
    """Whether the same request, with the same key, may be answered better another time."""
    match error:
        case Failed():
            return error.status != 501
        case Problem():
            return error.status == 408 or error.code in BEING_DONE
        case Unreachable():
            return error.sent
    return isinstance(error, CutOff)


def leaves_nothing(error: BaseException) -> bool:
    """Whether no attempt at the request has published anything."""
    match error:
        case Refused():
            return not error.in_doubt and not may_help(error)
        case Unreachable():
            return not error.in_doubt and not error.sent
    return False


def is_temporary(answer: Mapping[str, Any]) -> bool:
    """Whether a refusal says nothing of what was sent: the gateway cannot now, or an earlier attempt is not done."""
    status = answer.get("status", 400)
    return status >= 500 or status == 429 or answer.get("code") in BEING_DONE


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


def until_settled(once: Callable[[], T], seconds: float, *, gone: bool = False) -> T:
    """The answer to a request, which may be sent again; after the time for retries, the last error.

    `gone`: also while nothing listens there: it did, and will again.
    """
    waits, again = Waits(seconds), False
    while True:
        try:
            return once()
        except ClientError as error:
            error.in_doubt |= again
            asked = error.retry_after if isinstance(error, Problem) else None
            again = may_help(error) or (gone and isinstance(error, Unreachable | NotAGateway))
            if not again or not waits.wait(asked):
                raise


class Waits:
    """The waits of one request; together they last at most `seconds`, and at least as long as the gateway asks for."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._steps = steps()

    def wait(self, retry_after: str | None = None) -> bool:
        """Sleep before the next attempt; False at once when there is no time left for one."""
        pause = max(next(self._steps), asked_for(retry_after))
        if time.monotonic() + pause > self._end:
            return False
        time.sleep(pause)
        return True


def steps() -> Iterator[float]:
    """Seconds between attempts without end, with jitter: clients that lost a gateway come back at several moments."""
    step = FIRST
    while True:
        yield step * random.uniform(0.8, 1.2)  # noqa: S311
        step = min(2 * step, LONGEST)
