"""`inlake top`: what a gateway does now."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from inlake.cli.failures import Failure
from inlake.cli.gateway import Token, Url, connect

if TYPE_CHECKING:
    from inlake.cli.figures import Figures, Route
    from inlake.client.connection import Connection

NAMES = ("accepted", "pending", "rejected", "failed")
METRICS, READY = "/metrics", "/health/ready"
OWN = (METRICS, READY)
"""The routes that the command asks at each look."""
WIDEST = 50
"""Columns of a route's path at most."""
NARROW = 72
"""Columns of a terminal below which the times are left out but one."""


class Look(NamedTuple):
    """All that the gateway says of itself at one moment."""

    figures: Figures
    ready: str
    """`ready`, or why it is not."""


def top(
    url: Url = None,
    token: Token = None,
    every: Annotated[float, typer.Option(min=0.2, metavar="SECONDS", help="Between two looks.")] = 2.0,
    number: Annotated[
        int | None, typer.Option("-n", min=1, help="How many reports; without it one, on a terminal until Ctrl-C.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a report.")] = False,
) -> None:
    """Show what a gateway does now.

    Requests, records and bytes a second, and how long answers take: the figures of its /metrics, of all its workers
    together, between one look and the next. The requests of this command itself are left out.
    """
    with connect(url, token, retry=0) as client:
        connection = client.connection
        before = _look(connection)
        if sys.stdout.isatty() and not as_json and number is None:
            _watch(connection, before, every)
            return
        for _ in range(number or 1):
            time.sleep(every)
            now = _look(connection)
            if as_json:
                from inlake.cli.terminal import as_json as to_json

                typer.echo(to_json(_document(connection.url, now, before)))
            else:
                typer.echo("\n".join(report(connection.url, now, before, 100)))
            before = now


def _watch(connection: Connection, before: Look, every: float) -> None:
    """The report in one place, anew after each look, until Ctrl-C; a gateway that does not answer is waited for."""
    from rich.live import Live
    from rich.text import Text

    from inlake.cli.terminal import output
    from inlake.client import ClientError

    console = output()
    with Live(console=console, auto_refresh=False) as live:
        live.update(Text(f"{connection.url}: the first figures come in {every:g} seconds."), refresh=True)
        while True:
            time.sleep(every)
            try:
                now = _look(connection)
            except ClientError as error:
                live.update(Text(str(error), style="red"), refresh=True)
                continue
            lines = report(connection.url, now, before, console.width)[: max(console.height - 1, 5)]
            shown = Text("\n".join(lines), no_wrap=True, overflow="crop")
            if now.ready != "ready":
                shown.stylize("red", 0, len(lines[0]))
            live.update(shown, refresh=True)
            before = now


def _look(connection: Connection) -> Look:
    """Raises `Failure` for what is no gateway of ours, and what `Connection` raises."""
    from inlake.cli.figures import read
    from inlake.client.connection import Request

    with connection.answer(Request("GET", METRICS, {})) as answer:
        text = answer.read().decode(errors="replace")
        if not answer.is_success or "inlake_requests_limit" not in text:
            raise Failure(f"{connection.url}{METRICS} has no figures of a gateway.")
    with connection.answer(Request("GET", READY, {})) as answer:
        told = json.loads(answer.read()) if answer.status in {200, 503} else {}
    return Look(read(text, time.monotonic()), _readiness(told))


def _readiness(told: dict[str, Any]) -> str:
    failed = [f"{name}: {check.get('detail', '')}" for name, check in told.get("checks", {}).items() if not check["ok"]]
    return "; ".join([str(told.get("status", "not ready")), *failed])


def report(url: str, now: Look, before: Look, width: int) -> list[str]:
    """The lines of a report, none longer than `width`."""
    from inlake.cli.figures import routes
    from inlake.cli.terminal import printable, speed

    figures, earlier = now.figures, before.figures
    flight, limit = figures.now("inlake_requests_in_flight"), figures.now("inlake_requests_limit")
    memory = figures.now("inlake_memory_in_flight_bytes")
    received = sum(sample.value for sample in figures.rates("inlake_binary_bytes_total", earlier))
    records = _by_label(figures, earlier, "inlake_records_total", "result")
    lines = [
        f"{url}  {printable(now.ready)}",
        f"in flight  {flight:,.0f} of {limit:,.0f} requests, {memory / 1e6:,.1f} MB for their bodies",
        "records/s  " + ", ".join(f"{_rate(records.get(name, 0))} {name}" for name in NAMES),
        f"binaries   {speed(received)}",
    ]
    for title, name, label in (
        ("quotas/s", "inlake_quota_refused_total", "quota"),
        ("rejects/s", "inlake_rejects_kept_total", "code"),
    ):
        by_label = {key: rate for key, rate in _by_label(figures, earlier, name, label).items() if rate}
        if by_label:
            lines.append(f"{title:<10} " + ", ".join(f"{_rate(rate)} {key}" for key, rate in by_label.items()))
    if waiting := figures.now("inlake_outbox_events"):
        oldest = figures.now("inlake_outbox_oldest_seconds")
        lines.append(f"outbox     {waiting:,.0f} events wait, the oldest for {_time(oldest)}")
    narrow = width < NARROW
    head = f"{'good':>7} {'4xx':>6} {'5xx':>6}" + ("" if narrow else f" {'half in':>8}") + f" {'99 % in':>8}"
    room = min(max(10, width - len(head) - 1), WIDEST)
    lines += ["", f"{'requests/s':<{room}} {head}"]
    lines += [_line(route, room, narrow) for route in routes(figures, earlier, OWN)]
    return [line[:width] for line in lines]


def _line(route: Route, room: int, narrow: bool) -> str:
    path = "(no route)" if route.path == "none" else route.path
    path = path if len(path) <= room else f"{path[: room - 1]}…"
    counts = f"{_rate(route.good):>7} {_rate(route.refused):>6} {_rate(route.failed):>6}"
    return f"{path:<{room}} {counts}" + ("" if narrow else f" {_time(route.half):>8}") + f" {_time(route.most):>8}"


def _by_label(now: Figures, before: Figures, name: str, label: str) -> dict[str, float]:
    """Rates by the value of one label."""
    sums: dict[str, float] = {}
    for sample in now.rates(name, before):
        value = sample.labels.get(label, "")
        sums[value] = sums.get(value, 0) + sample.value
    return sums


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 100 or not rate else f"{rate:.1f}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    if seconds >= 10:
        return f"{seconds:.0f} s"
    return f"{seconds * 1000:.1f} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"


def _document(url: str, now: Look, before: Look) -> dict[str, Any]:
    from inlake.cli.figures import routes

    figures, earlier = now.figures, before.figures
    return {
        "url": url,
        "status": now.ready,
        "seconds": round(figures.at - earlier.at, 3),
        "requests_in_flight": figures.now("inlake_requests_in_flight"),
        "requests_limit": figures.now("inlake_requests_limit"),
        "memory_in_flight_bytes": figures.now("inlake_memory_in_flight_bytes"),
        "records_per_second": _by_label(figures, earlier, "inlake_records_total", "result"),
        "outbox_events": figures.now("inlake_outbox_events"),
        "binary_bytes_per_second": sum(s.value for s in figures.rates("inlake_binary_bytes_total", earlier)),
        "quota_refused_per_second": _by_label(figures, earlier, "inlake_quota_refused_total", "quota"),
        "rejects_kept_per_second": _by_label(figures, earlier, "inlake_rejects_kept_total", "code"),
        "routes": [
            {
                "route": route.path,
                "good_per_second": route.good,
                "refused_per_second": route.refused,
                "failed_per_second": route.failed,
                "half_seconds": route.half,
                "p99_seconds": route.most,
            }
            for route in routes(figures, earlier, OWN)
        ],
    }
