"""`/health/live`, `/health/ready` and `/metrics`: whether the gateway works, and how much."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from msgspec import Struct

from inlake.errors import InlakeError
from inlake.web.openapi import answer, content, json, operation, problems
from inlake.web.request.exchange import Exchange
from inlake.web.request.problems import Code
from inlake.web.request.table import METHODS
from inlake.wiring import Deployment

CHECK_SECONDS = 5.0


class Live(Struct):
    """The process answers."""

    status: str


class Check(Struct, omit_defaults=True):
    """Whether one of the three can be used."""

    ok: bool
    warnings: list[str] | msgspec.UnsetType = msgspec.UNSET
    code: Code = ""
    detail: str = ""


class Checks(Struct):
    """The state of each service that the gateway needs."""

    bus: Check
    store: Check
    registry: Check


class Readiness(Struct):
    """The services that the gateway needs, and whether they are there."""

    status: str
    """`ready`, `not ready`, or `stopping`."""
    checks: Checks


_OK = Check(True, [])
LIVE = operation("health", {200: answer("The process answers.", json(Live("live")))}, problems(400))
READY = operation(
    "health",
    {
        200: answer("All three can be used.", json(Readiness("ready", Checks(_OK, _OK, _OK)))),
        503: answer(
            "One of them cannot be used, or the gateway stops.",
            json(Readiness("not ready", Checks(_OK, Check(False, code="store_unavailable", detail="..."), _OK))),
        ),
    },
    problems(400),
)
METRICS = operation("health", {200: answer("Counters and gauges.", content("text/plain", str))}, problems(400))


async def live(x: Exchange, _: Deployment) -> None:
    """The process runs and answers."""
    await x.reply(200, msgspec.json.encode(Live("live")))


async def options(x: Exchange, _: Deployment) -> None:
    """The methods that the gateway as a whole knows (`OPTIONS *`; RFC 9110, 9.3.7)."""
    await x.reply_without_body(204, [(b"allow", ", ".join(METHODS).encode())])


async def ready(x: Exchange, d: Deployment) -> None:
    """Bus, store and registry can be used; 503 with the reasons when one cannot, or when the gateway stops."""
    checks = await check_all(d)
    is_well = checks.bus.ok and checks.store.ok and checks.registry.ok
    status = "stopping" if x.site.stopping.is_set() else "ready" if is_well else "not ready"
    told = msgspec.json.encode(Readiness(status, checks))
    if status == "ready":
        await x.reply(200, told)
    else:
        await x.reply(503, told, headers=[(b"retry-after", b"5")])


async def counters(x: Exchange, _: Deployment) -> None:
    """Counters of all workers in the Prometheus text format."""
    await x.reply(200, x.site.metrics.text().encode(), b"text/plain; version=0.0.4; charset=utf-8")


async def check_all(d: Deployment) -> Checks:
    """Whether bus, store and registry can be used."""
    return Checks(*await asyncio.gather(*map(_checked, (d.bus.check(), d.store.check(), d.registry.check()))))


async def _checked(check: Any) -> Check:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            return Check(True, await check or [])
    except InlakeError as error:
        return Check(False, code=error.code, detail=error.detail)
    except TimeoutError:
        return Check(False, code="no_answer", detail=f"No answer within {CHECK_SECONDS:g} seconds.")
