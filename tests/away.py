"""A bus that is away at times: an embedded one whose answers a test keeps back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from inlake.bus.sqlite.bus import SqliteBus
from inlake.errors import BusUnavailable, InlakeError, OutcomeUnknown, RecordTooLarge
from inlake.model import Event, Position


class AwayBus(SqliteBus):
    """Publishes while it is `up`; `down` it refuses, `silent` it takes nothing and says nothing, `late` it takes all and
    says that it does not know."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.state: Literal["up", "down", "silent", "late"] = "up"
        self.refused_topics: set[str] = set()
        """Topics whose events are refused for now, while it is up."""
        self.calls: list[list[str]] = []
        """The ids of each call that was published."""
        self.too_large = 1 << 30
        """Bytes of the smallest value that is refused for good."""

    async def publish(self, events: Sequence[Event]) -> list[Position | InlakeError]:
        if self.state == "silent":
            await asyncio.get_running_loop().create_future()
        if self.state == "down":
            return [BusUnavailable("The bus is away.") for _ in events]
        if any(event.topic in self.refused_topics for event in events):
            good = [event for event in events if event.topic not in self.refused_topics]
            taken = iter(await self.publish(good) if good else [])
            return [next(taken) if event in good else BusUnavailable(f"{event.topic} is away.") for event in events]
        if any(len(event.value) >= self.too_large for event in events):
            small = [event for event in events if len(event.value) < self.too_large]
            taken = iter(await self.publish(small) if small else [])
            return [next(taken) if event in small else RecordTooLarge("It is too large.") for event in events]
        self.calls.append([event.id for event in events])
        results = await super().publish(events)
        return [OutcomeUnknown("It did not say.") for _ in events] if self.state == "late" else results

    async def check(self) -> list[str]:
        if self.state != "up":
            raise BusUnavailable("The bus is away.")
        return await super().check()
