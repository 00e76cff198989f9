"""A request leaves a line in the log, and its counts in /metrics."""

from __future__ import annotations

import logging

from inlake.logs import Lines
from inlake.metrics import Counter, Histogram, Metrics
from inlake.model import masked
from inlake.settings import Settings
from inlake.web.request.exchange import Exchange

log = logging.getLogger("inlake.web")
CLIENT_GONE = 499
"""The status as nginx logs it: the client closed the connection, and nobody is there to read an answer."""
PUUID_LENGTH = 36


class AccessLog:
    """The log lines and the counters of all requests of a process."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lines = Lines(settings.log_format, log.name)
        self._counts: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def note(self, x: Exchange, route: str, seconds: float) -> None:
        """One request, answered; `route`: the path of its route, as it stands in the table."""
        status, scope = x.status or CLIENT_GONE, x.scope
        counter, times = self._counts.get((route, status)) or self._counts.setdefault(
            (route, status), self._count(route, status)
        )
        counter.value += 1
        times.observe(seconds)
        if self._lines.are_wanted():
            path = scope["path"] if len(scope["path"]) < PUUID_LENGTH else masked(scope["path"])
            if not path.isprintable():  # a decoded newline would write a log line of the client's own
                path = path.encode("unicode_escape").decode()
            line = f"{scope['method']} {path} {status} {seconds * 1000:.1f} ms {x.instance} {x.principal}"
            line = line if x.trace is None else f"{line} {x.trace.id}"
            self._lines.add(line, _members(x, route, path, status, seconds) if self._lines.are_json else None)

    def flush(self) -> None:
        """Write the lines that wait."""
        self._lines.flush()

    def _count(self, route: str, status: int) -> tuple[Counter, Histogram]:
        labels = (("route", route), ("status", str(status)))
        counter = self._metrics.counter("inlake_requests_total", "Requests by route and status.", labels)
        return counter, self._metrics.histogram("inlake_request_seconds", "Time of a request.", labels[:1])


def _members(x: Exchange, route: str, path: str, status: int, seconds: float) -> dict[str, str | float]:
    """A request as a line of JSON has it."""
    trace = {} if x.trace is None else {"trace": x.trace.id}
    return {
        "method": x.scope["method"],
        "route": route,
        "path": path,
        "status": status,
        "ms": round(seconds * 1000, 1),
        "request": x.instance,
        "principal": x.principal,
        **trace,
    }
