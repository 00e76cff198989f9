"""Overload: how many requests may be in flight so that the event loop keeps up, told by how late it calls back."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

TICK = 0.05
"""Seconds between two looks."""
IN_A_ROW = 3
"""Late looks, one after the other, that are no stall of the machine: more than a fifth of a second of them."""
LEAST = 100
"""Requests that are always taken: what makes the loop late with fewer is not their number."""
DOWN, STEP = 0.8, 5
QUIET = 200
"""Looks in time, one after the other, after which all is as before: ten seconds of them."""
REFUSALS = 200
"""About as many refusals a second are worth their time; more are asked to come back later."""
LONGEST = 30
"""Seconds that a refused client is asked to wait at most."""


class Overload:
    """The number of requests that may be in flight, of at most `most`.

    A processor that has too much to do lets requests wait in the event loop, whose turns then take as long as all of
    them. Late turns in a row take a fifth off what is in flight, others let it grow again (additive increase,
    multiplicative decrease), but only while half of it is used, as RFC 7661 has it for TCP: clients that were refused
    are away for some time, and would find a limit that nothing had tried when they come back. A bus or a store that is
    slow makes no turn late, and so takes nothing off.
    """

    def __init__(self, most: int, late_ms: float) -> None:
        """`late_ms`: how late the loop may be, in milliseconds; 0: the number stays what it is."""
        self._most, self._late = most, late_ms / 1000
        self._in_a_row = self._in_time = 0
        self.limit = most
        self.retry_after = 1
        """Seconds after which a client that is refused should come back."""
        self.refused = 0
        """Requests since the start."""
        self._refused_before = 0

    async def watch(self, in_flight: Callable[[], int]) -> None:
        """Look for ever. The seconds that refused clients are asked to wait are reckoned anew once a second."""
        if not self._late:
            return
        began = time.perf_counter()
        while True:
            asked = time.perf_counter()
            await asyncio.sleep(TICK)
            now = time.perf_counter()
            self.look(now - asked - TICK, in_flight())
            if now - began >= 1:
                self.reckon((self.refused - self._refused_before) / (now - began))
                began, self._refused_before = now, self.refused

    def look(self, late: float, in_flight: int) -> None:
        """The loop was so many seconds late, with so many requests in flight."""
        if late <= self._late:
            self._in_a_row = 0
            self._in_time += 1
            if self._in_time >= QUIET:
                self.limit = self._most
            elif in_flight >= self.limit / 2:
                self.limit = min(self._most, self.limit + STEP)
            return
        self._in_a_row += 1
        self._in_time = 0
        if self._in_a_row >= IN_A_ROW and in_flight > LEAST:
            self.limit = max(LEAST, int(min(self.limit, in_flight) * DOWN))

    def reckon(self, rate: float) -> None:
        """So many requests a second were refused: the more, the later their clients should come back."""
        wanted = math.ceil(self.retry_after * rate / REFUSALS)
        self.retry_after = max(1, self.retry_after // 2, min(LONGEST, wanted))
