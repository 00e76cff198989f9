"""The ASGI application: routes, the one handler of errors, start and stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

import inlake
from inlake.errors import BadHttp, BadParameter, InlakeError, InternalError, MethodNotAllowed, RouteNotFound
from inlake.gateway import Gateway
from inlake.metrics import Metrics
from inlake.settings import Settings, SettingsError
from inlake.web.about import health_routes, schema_routes
from inlake.web.admission import Admission
from inlake.web.auth import ApiKeys
from inlake.web.binaries import record_json_and_binary
from inlake.web.documented import RECORD_JSON, RECORD_JSON_AND_BINARY, VALIDATE, Documented, Endpoint, RawRoute
from inlake.web.edge import OPEN, Edge
from inlake.web.exchange import Exchange, Receive, Scope, Send, Site, make_site
from inlake.web.pages import page_routes
from inlake.web.records import record_json, validate
from inlake.web.resources import resource_routes
from inlake.wiring import Deployment

log = logging.getLogger("inlake.web")


def create_app(d: Deployment) -> Edge:
    """The whole gateway as an ASGI application; it closes the deployment when it stops. Raises `SettingsError`."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(d.sweep.run_for_ever(d.settings.sweep_seconds))
        yield
        sweeping.cancel()
        await asyncio.wait([sweeping])
        for _tenth in range(20):  # requests that were cancelled have two seconds to clean up
            if admission.requests:
                await asyncio.sleep(0.1)
        await d.close()

    metrics = Metrics()
    app = Documented(
        title="Inlake",
        version=inlake.__version__,
        summary="Records and binaries in; checked, stored, and published as one event each.",
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

    def raw(path: str, endpoint: Endpoint, gateway: Gateway, extra: dict[str, Any]) -> None:
        # appended and not included: include_router would build the route anew from its documented stub
        app.router.routes.append(RawRoute(path, endpoint, gateway, site, admission, extra))

    raw("/ingress/record-json", record_json, d.gateway, RECORD_JSON)
    raw("/ingress/record-json-and-binary", record_json_and_binary, d.gateway, RECORD_JSON_AND_BINARY)
    raw("/ingress/validate", validate, d.gateway, VALIDATE)
    if d.settings.unsecured_routes:
        log.warning("INLAKE_UNSECURED_ROUTES: /ingress/unsecured/... take data that nobody checks; for debugging only")
        raw("/ingress/unsecured/record-json", record_json, d.unsecured, RECORD_JSON)
        raw("/ingress/unsecured/record-json-and-binary", record_json_and_binary, d.unsecured, RECORD_JSON_AND_BINARY)
    for router in (schema_routes(d), health_routes(d, metrics), resource_routes(d), page_routes()):
        app.include_router(router)
    app.keys, app.free = d.settings.api_keys is not None, frozenset(OPEN)
    return Edge(app, site, metrics, _api_keys(d.settings))


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
    instance = request.scope["instance"]
    return await _inlake_error(request, InternalError(f"This is a fault of the gateway; its log has it as {instance}."))


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    where = f"{request.method} {request.url.path[:200]}"
    if error.status_code == 404:
        return await _inlake_error(request, RouteNotFound(f"There is no {where}; /docs lists the routes."))
    if error.status_code == 405:
        allow = (error.headers or {}).get("Allow", "")
        return await _inlake_error(request, MethodNotAllowed(f"{where} is not allowed; {allow} is.", allow=allow))
    return await _inlake_error(request, BadHttp(f"{where}: {error.detail}"))


async def _validation_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return await _inlake_error(request, BadParameter(f"{first['loc'][-1]}: {first['msg']}."))
