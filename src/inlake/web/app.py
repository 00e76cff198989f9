"""The table of routes, and the application that has them: start and stop."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

import inlake
from inlake.access.rights import ACTIONS, Action
from inlake.access.usage import Usage
from inlake.formats.events import Decoder
from inlake.metrics import Counter, Metrics
from inlake.promises.sweep import WHATS
from inlake.web.console import events, send, signing, table, waiting
from inlake.web.console import rejects as of_rejects
from inlake.web.console import schemas as of_schemas
from inlake.web.console.live import Live, stream
from inlake.web.console.overview import overview
from inlake.web.console.page import for_people, may_hold, may_hold_key, static
from inlake.web.openapi import DESCRIPTION, TAGS, Application
from inlake.web.request.access_log import AccessLog
from inlake.web.request.route import Route, Row
from inlake.web.request.site import Site, make_site
from inlake.web.request.trace import TracedRoute
from inlake.web.routes import (
    binaries,
    direct,
    health,
    in_place,
    pages,
    promises,
    records,
    rejects,
    resources,
    schemas,
    shipments,
    tus,
)
from inlake.web.routes import documents as doc
from inlake.web.routes.repeats import with_body, with_file
from inlake.wiring import Deployment

log = logging.getLogger("inlake.web")
SWEPT = "Promises that a sweep finished, expired or removed, that wait, or that cannot be read."
SENDERS: Sequence[Action] = ("ingest", "administer")
"""Actions of who has sent something, and of who looks after what was sent."""
RECORDS = [
    Row("POST", "/record-json", records.record_json, doc.RECORD_JSON, records.may_hold, with_body),
    Row(
        "POST",
        "/record-json-and-binary",
        binaries.record_json_and_binary,
        doc.RECORD_JSON_AND_BINARY,
        binaries.may_hold,
        with_file,
    ),
]
"""Below `/ingress`, and, unchecked, below `/ingress/unsecured`."""
PAGES = [
    Row(method, path, for_people(handle), None, may_hold if method == "POST" else None, is_open=True)
    for method, path, handle in (
        ("GET", "/", overview),
        ("GET", "/console/events", events.events),
        ("GET", "/console/events/live", stream),
        ("GET", "/console/events/{topic}/{partition}/{offset}", events.event),
        ("GET", "/console/send", send.choose),
        ("GET", "/console/send/{name}", send.compose),
        ("POST", "/console/send/{name}", send.send),
        ("GET", "/console/waiting", waiting.waiting),
        ("POST", "/console/waiting", waiting.give_up),
        ("GET", "/console/rejects", of_rejects.causes),
        ("GET", "/console/rejects/{cause}", of_rejects.cause),
        ("POST", "/console/rejects/{cause}", of_rejects.mend_all),
        ("POST", "/console/reject/{reject}", of_rejects.mend),
        ("GET", "/console/schemas", of_schemas.schemas),
        ("GET", "/console/schemas/{name}", of_schemas.schema),
        ("POST", "/console/schemas/{name}", of_schemas.add),
    )
]
"""Routes of the console: who is not signed in is asked to."""
TABLE = [
    *(row._replace(path="/ingress" + row.path) for row in RECORDS),
    Row("POST", "/ingress/binary", binaries.binary, doc.BINARY, binaries.may_hold, with_file),
    Row("POST", "/ingress/validate", records.validate, doc.VALIDATE, records.may_hold),
    Row("GET", "/promises", promises.own, promises.LISTED),
    Row("POST", "/promises", direct.announce, direct.ANNOUNCE, direct.may_hold),
    Row("GET", "/promises/{puuid}", promises.promise, promises.FOUND),
    Row("DELETE", "/promises/{puuid}", promises.cancel, promises.CANCELLED),
    Row("GET", "/promises/{puuid}/parts", direct.parts, direct.PARTS),
    Row("POST", "/promises/{puuid}/complete", direct.complete, direct.COMPLETE, direct.may_hold),
    Row("POST", "/uploads", tus.tus(tus.create), tus.CREATE, tus.may_hold),
    Row("POST", "/uploads/", tus.tus(tus.create), None, tus.may_hold),  # many clients are given the folder so
    Row("OPTIONS", "/uploads", tus.tus(tus.tell), tus.TELL),
    Row("OPTIONS", "/uploads/", tus.tus(tus.tell)),
    Row("POST", "/uploads/{puuid}", tus.tus(tus.refuse_post), tus.OVERRIDDEN, tus.may_hold),
    Row("HEAD", "/uploads/{puuid}", tus.tus(tus.find_offset), tus.FIND),
    Row("PATCH", "/uploads/{puuid}", tus.tus(tus.append), tus.APPEND, tus.may_hold),
    Row("DELETE", "/uploads/{puuid}", tus.tus(tus.terminate), tus.TERMINATE),
    Row("OPTIONS", "/uploads/{puuid}", tus.tus(tus.tell), tus.TELL),
    Row("GET", "/shipments", shipments.own, shipments.LISTED),
    Row("POST", "/shipments", shipments.announce, shipments.ANNOUNCE, shipments.may_hold, with_body),
    Row("GET", "/shipments/{shipment}", shipments.shipment, shipments.FOUND, shipments.may_hold_shown),
    Row("DELETE", "/shipments/{shipment}", shipments.cancel, shipments.CANCELLED),
    Row("PUT", "/shipments/{shipment}/{line}", shipments.put, shipments.PUT, shipments.may_hold_file),
    Row("POST", "/shipments/{shipment}/complete", shipments.complete, shipments.COMPLETE, shipments.may_hold_shown),
    Row("GET", "/in-place", in_place.listed, in_place.LISTED),
    Row("GET", "/schemas", schemas.schemas, schemas.LISTED, needs=ACTIONS),
    Row("GET", "/schemas/{name}", schemas.schema, schemas.FOUND, needs=ACTIONS),
    Row("GET", "/rejects", rejects.listed, rejects.LISTED, rejects.may_hold_list, needs=SENDERS),
    Row("GET", "/rejects/causes", rejects.causes, rejects.CAUSES, rejects.may_hold_list, needs=SENDERS),
    Row("GET", "/rejects/{reject}", rejects.reject, rejects.FOUND, rejects.may_hold, needs=SENDERS),
    Row("POST", "/rejects/{reject}/resend", rejects.resend, rejects.RESENT, rejects.may_hold),
    Row("GET", "/resources/{puuid}", resources.resource, resources.RESOURCE, needs=["read"]),
    Row("GET", "/resources/{puuid}/preview", resources.preview, resources.PREVIEW, needs=["read"]),
    Row("GET", "/health/live", health.live, health.LIVE, is_open=True),
    Row("GET", "/health/ready", health.ready, health.READY, is_open=True),
    Row("OPTIONS", "/*", health.options, is_open=True),
    Row("GET", "/metrics", health.counters, health.METRICS, is_open=True),
    Row("GET", "/openapi.json", pages.openapi, is_open=True),
    *PAGES,
    Row("POST", "/console/send/{name}/table", table.check, None, table.may_hold),
    Row("GET", "/console/sign-in", signing.ask, is_open=True),
    Row("POST", "/console/sign-in", signing.sign_in, None, may_hold_key, is_open=True),
    Row("GET", "/console/sign-in/begin", signing.begin, is_open=True),
    Row("GET", "/console/sign-in/return", signing.come_back, is_open=True),
    Row("POST", "/console/sign-out", signing.sign_out, None, may_hold_key, is_open=True),
    Row("GET", "/console/static/{digest}/{file}", static, is_open=True),
    Row("GET", "/docs", pages.docs, is_open=True),
    Row("GET", "/docs/errors", pages.errors, is_open=True),
    Row("GET", "/docs/static/{file}", pages.static, is_open=True),
]


def create_app(d: Deployment, metrics: Metrics | None = None, usage: Usage | None = None) -> Application:
    """The whole gateway as an ASGI application; it closes the deployment when it stops. Raises `SettingsError`.

    `metrics` and `usage`: what requests and quotas are counted in, shared with other processes.
    """
    metrics = metrics or Metrics()
    site = make_site(d.settings, metrics, usage)
    admission = site.admission
    metrics.gauge("inlake_requests_in_flight", "Requests to the ingress routes now.", lambda: admission.requests)
    metrics.gauge("inlake_requests_limit", "How many may be at once.", lambda: admission.overload.limit)
    metrics.gauge("inlake_memory_in_flight_bytes", "Memory set aside for their bodies.", lambda: admission.memory)
    if d.rejects is not None:
        d.rejects.count_in(metrics)
    if d.outbox is not None:
        d.outbox.count_in(metrics)
    d.shipments.accepted = site.records["accepted"]
    routes = [_route(row, d, site) for row in TABLE]
    if d.settings.unsecured_routes:
        log.warning("INLAKE_UNSECURED_ROUTES: /ingress/unsecured/... take data that nobody checks; for debugging only")
        unsecured = dataclasses.replace(d, gateway=d.unsecured, rejects=None)
        routes += [_route(row._replace(path="/ingress/unsecured" + row.path), unsecured, site) for row in RECORDS]
    app = Application(
        routes,
        d,
        site,
        AccessLog(d.settings, metrics),
        title="Inlake",
        version=inlake.__version__,
        summary="Records and binaries in; checked, stored, and published as one event each.",
        description=DESCRIPTION,
        contact={"name": "The Inlake maintainers", "url": "https://github.com/inlake/inlake"},
        license_info={"name": "MIT", "identifier": "MIT"},
        openapi_tags=TAGS,
        servers=[{"url": d.settings.root_path or "/"}],
        openapi_url=None,  # a row of the table
        lifespan=_running(d, site, _sweep_count(metrics)),
    )
    app.live = Live(d.bus, Decoder(d.registry, d.settings))
    app.needs_key = d.settings.has_authentication
    return app


def _route(row: Row, d: Deployment, site: Site) -> Route:
    """The route of a row; pages, probes and /metrics leave no traces."""
    return Route(row, d, site) if d.spans is None or row.is_open else TracedRoute(row, d, site)


def _running(d: Deployment, site: Site, count_sweep: Callable[[str], None]) -> Callable[..., Any]:
    """The work between start and stop: sweeps, and in the end room for requests that were cancelled."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(d.sweep.run_for_ever(d.settings.sweep_seconds, count_sweep, d.answers))
        telling = asyncio.create_task(_tell(site.metrics))
        watching = asyncio.create_task(site.admission.overload.watch(lambda: site.admission.requests))
        work = [sweeping, telling, watching]
        if d.outbox is not None:
            work.append(asyncio.create_task(d.outbox.drain()))
        if d.rejects is not None:
            d.rejects.begin()
        yield
        for task in work:
            task.cancel()
        await asyncio.wait(work)
        for _tenth in range(20):  # they have two seconds to clean up
            if site.admission.requests:
                await asyncio.sleep(0.1)
        await site.auth.close()
        await d.close()

    return lifespan


async def _tell(metrics: Metrics) -> None:
    """Write down for ever what the gauges are: who answers for all workers asks none of them."""
    while True:
        metrics.tell()
        await asyncio.sleep(1)


def _sweep_count(metrics: Metrics) -> Callable[[str], None]:
    """A function that counts a finding of a sweep; all counters are there from the start, at zero."""
    counters: dict[str, Counter] = {w: metrics.counter("inlake_sweep_total", SWEPT, (("what", w),)) for w in WHATS}

    def count(what: str) -> None:
        counters[what].value += 1

    return count
