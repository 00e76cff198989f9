"""When a shipment is looked at again, and what sweep does then if nobody is at it; judged by its log."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

from inlake.logbook import process
from inlake.promises.shipments.entries import Completing, Shipment


@dataclass(frozen=True, slots=True)
class Due:
    """A task of sweep for a shipment."""

    what: Literal["finished", "expired", "removed"] | None
    why: str
    at: float
    """The time when there is something to do, or to look again."""
    found: Shipment | None = None


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds after which something is given up."""

    shipment: float
    """A shipment without progress."""
    publishing: float
    """A process that has begun to publish: it is through, or gone."""
    removal: float
    """Objects of a shipment that has ended: a slow writer may bring one back until then."""

    def are_over(self, busy: Completing) -> bool:
        """Whether who publishes is gone, or had all the time that it may take."""
        return process.is_certainly_dead(busy.owner) or time.time() > busy.at + self.publishing

    def due(self, found: Shipment, *, signed: bool) -> Due:
        """The task that a shipment with work left has. `signed`: URLs for its files may be about until it expires."""
        now = time.time()
        slow_writers = max(found.last.at, found.expires if signed else 0.0) + self.removal
        if found.end is not None or not found.left:
            at = slow_writers if found.end or found.refused else 0.0
            return Due("removed" if now > at else None, f"{found.state}, and its mark was left", at, found)
        if found.completing:
            at = found.completing.at + self.publishing
            return Due("finished" if self.are_over(found.completing) else None, "begun to be published", at, found)
        return Due("expired" if now > found.expires else None, "no more progress", found.expires, found)
