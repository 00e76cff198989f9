"""The ASGI application: routes, the one handler of errors, start and stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match

import inlake
from inlake.errors import BadHttp, BadParameter, InlakeError, MethodNotAllowed, RouteNotFound
from inlake.gateway import Gateway
from inlake.metrics import Counter, Metrics
from inlake.promises.sweep import WHATS
from inlake.settings import Settings, SettingsError
from inlake.web.openapi import BINARY, RECORD_JSON, RECORD_JSON_AND_BINARY, TAGS, VALIDATE, Documented
from inlake.web.request.admission import BINARY_PATH, Admission
from inlake.web.request.auth import ApiKeys
from inlake.web.request.edge import OPEN, Edge
from inlake.web.request.exchange import Exchange, Receive, Scope, Send, Site, make_site
from inlake.web.request.route import Endpoint, RawRoute, fault
from inlake.web.routes.binaries import binary, record_json_and_binary
from inlake.web.routes.direct import direct_endpoints, direct_routes
from inlake.web.routes.pages import page_routes
from inlake.web.routes.promises import promise_routes
from inlake.web.routes.records import record_json, validate
from inlake.web.routes.repeats import repeatable
from inlake.web.routes.resources import resource_routes
from inlake.web.routes.schemas import health_routes, schema_routes
from inlake.web.routes.tus import FOLDER, OPERATIONS, Tus
from inlake.wiring import Deployment

log = logging.getLogger("inlake.web")
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
SWEPT = "Promises that a sweep finished, expired or removed, that wait, or that cannot be read."


def create_app(d: Deployment) -> Edge:
    """The whole gateway as an ASGI application; it closes the deployment when it stops. Raises `SettingsError`."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(d.sweep.run_for_ever(d.settings.sweep_seconds, count_sweep))
        yield
        sweeping.cancel()
        await asyncio.wait([sweeping])
        for _tenth in range(20):  # requests that were cancelled have two seconds to clean up
            if admission.requests:
                await asyncio.sleep(0.1)
        await d.close()

    metrics = Metrics()
    count_sweep = _sweep_count(metrics)
    app = Documented(
        title="Inlake",
        version=inlake.__version__,
        summary="Records and binaries in; checked, stored, and published as one event each.",
        openapi_tags=TAGS,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a path that is nearly right is 404: a redirect would have the body sent twice
        exception_handlers={
            InlakeError: _inlake_error,
            HTTPException: _http_error,
            RequestValidationError: _validation_error,
            Exception: _fault,
        },
    )
    site, admission = make_site(d.settings, metrics), Admission(d.settings)
    app.state.site = site
    metrics.gauge("inlake_requests_in_flight", "Requests to the ingress routes now.", lambda: admission.requests)
    metrics.gauge("inlake_memory_in_flight_bytes", "Memory set aside for their bodies.", lambda: admission.memory)

    _add_ingress(app, d, site, admission)
    schemas, resources, promises = schema_routes(d), resource_routes(d), promise_routes(d)
    for router in (schemas, health_routes(d, metrics), resources, promises, direct_routes(d), page_routes()):
        app.include_router(router)
    app.keys, app.free = d.settings.api_keys is not None, frozenset(OPEN)
    return Edge(app, app.raw, site, metrics, _api_keys(d.settings))


def _add_ingress(app: Documented, d: Deployment, site: Site, admission: Admission) -> None:
    """The routes that take records and binaries."""

    def raw(path: str, endpoint: Endpoint, gateway: Gateway, extra: dict[str, Any], method: str = "POST") -> RawRoute:
        app.add_raw(route := RawRoute(path, endpoint, gateway, site, admission, extra, method))
        return route

    records = repeatable(record_json, d.answers, admission, whole=True)
    records_and_binaries = repeatable(record_json_and_binary, d.answers, admission, whole=False)
    binaries = repeatable(binary, d.answers, admission, whole=False)
    raw("/ingress/record-json", records, d.gateway, RECORD_JSON)
    raw("/ingress/record-json-and-binary", records_and_binaries, d.gateway, RECORD_JSON_AND_BINARY)
    raw(BINARY_PATH, binaries, d.gateway, BINARY)
    raw("/ingress/validate", validate, d.gateway, VALIDATE)
    for path, endpoint, extra in direct_endpoints(d):
        raw(path, endpoint, d.gateway, extra)
    tus = Tus(d)
    for (method, path), extra in OPERATIONS.items():
        raw(path, tus.handle, d.gateway, extra, method)
        if path == FOLDER:  # many clients are given the folder with a slash
            raw(f"{path}/", tus.handle, d.gateway, extra, method).include_in_schema = False
    if d.settings.unsecured_routes:
        log.warning("INLAKE_UNSECURED_ROUTES: /ingress/unsecured/... take data that nobody checks; for debugging only")
        raw("/ingress/unsecured/record-json", records, d.unsecured, RECORD_JSON)
        raw("/ingress/unsecured/record-json-and-binary", records_and_binaries, d.unsecured, RECORD_JSON_AND_BINARY)


def _sweep_count(metrics: Metrics) -> Callable[[str], None]:
    """What counts a finding of a sweep; all counters are there from the start, at zero."""
    counters: dict[str, Counter] = {w: metrics.counter("inlake_sweep_total", SWEPT, (("what", w),)) for w in WHATS}

    def count(what: str) -> None:
        counters[what].value += 1

    return count


def _api_keys(settings: Settings) -> ApiKeys | None:
    try:
        return ApiKeys(settings.api_keys) if settings.api_keys else None
    except ValueError as error:
        raise SettingsError(f"INLAKE_API_KEYS: {error}") from None


class _Refusal(Response):
    """An error as the raw routes answer it: a client that is still sending its body gets to the answer."""

    def __init__(self, error: InlakeError, site: Site) -> None:
        super().__init__(status_code=error.status)
        self._error, self._site = error, site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Exchange(scope, receive, send, self._site).refuse(self._error)


async def _inlake_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, InlakeError)
    return _Refusal(error, request.app.state.site)


async def _fault(request: Request, _: Exception) -> Response:
    return await _inlake_error(request, fault(request.scope["instance"]))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path[:200]}"
    if error.status_code == 404:
        return await _inlake_error(request, RouteNotFound(f"There is no {where}; /docs lists the routes."))
    if error.status_code == 405:
        allow = ", ".join(method for method in METHODS if _routed(request, method))
        return await _inlake_error(request, MethodNotAllowed(f"{where} is not allowed; {allow} is.", allow=allow))
    return await _inlake_error(request, BadHttp(f"{where}: {error.detail}"))


def _routed(request: Request, method: str) -> bool:
    """Whether some route takes the path with this method: Starlette names those of the first route alone."""
    asked = {**request.scope, "method": method}
    return any(route.matches(asked)[0] is Match.FULL for route in request.app.router.routes)


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return await _inlake_error(request, BadParameter(f"{first['loc'][-1]}: {first['msg']}."))
