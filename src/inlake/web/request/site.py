"""The site: settings, who may send and how much, and the counters that all requests of a process share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from inlake.access.quotas import Quotas, make_quotas
from inlake.access.usage import Usage
from inlake.metrics import Counter, Metrics
from inlake.settings import Settings
from inlake.web.request.admission import Admission
from inlake.web.request.auth import Auth
from inlake.web.request.spool import Room


@dataclass(frozen=True, slots=True)
class Site:
    """All that the requests of a process share."""

    settings: Settings
    metrics: Metrics
    auth: Auth
    admission: Admission
    records: dict[str, Counter]
    """Counters by result: `accepted`, `pending`, `rejected`, `failed`."""
    binary_bytes: Counter
    spool: Room
    quotas: Quotas | None = None
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the process has been told to stop."""


def make_site(settings: Settings, metrics: Metrics, usage: Usage | None = None) -> Site:
    """The settings, who may send and how much, and the counters that requests add to. Raises `SettingsError`.

    `usage`: shared with other processes, whose requests the quotas count, too.
    """

    def records(result: str) -> Counter:
        return metrics.counter("inlake_records_total", "Records by result.", (("result", result),))

    results = ("accepted", "pending", "rejected", "failed")
    received = metrics.counter("inlake_binary_bytes_total", "Bytes of binaries received.")
    counters = {result: records(result) for result in results}
    auth, admission, room = Auth(settings), Admission(settings), Room(settings.receipts_spool)
    return Site(settings, metrics, auth, admission, counters, received, room, make_quotas(settings, usage))
