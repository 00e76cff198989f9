"""The ASGI application: routes, the one handler of errors, start and stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

import inlake
from inlake.errors import BadHttp, BadParameter, InlakeError, InternalError, MethodNotAllowed, RouteNotFound
from inlake.web.about import about_routes
from inlake.web.binaries import record_json_and_binary
from inlake.web.documented import RECORD_JSON, RECORD_JSON_AND_BINARY, RawRoute
from inlake.web.exchange import Edge
from inlake.web.problems import problem_response
from inlake.web.records import record_json
from inlake.wiring import Deployment

log = logging.getLogger("inlake.web")


def create_app(d: Deployment) -> Edge:
    """The whole gateway as an ASGI application; it closes the deployment when it stops."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(d.sweep.run_for_ever(d.settings.sweep_seconds))
        yield
        sweeping.cancel()
        await asyncio.wait([sweeping])
        await d.close()

    app = FastAPI(
        title="Inlake",
        version=inlake.__version__,
        summary="Records and binaries in; checked, stored, and published as one event each.",
        lifespan=lifespan,
        redoc_url=None,
        exception_handlers={
            InlakeError: _inlake_error,
            HTTPException: _http_error,
            RequestValidationError: _validation_error,
            Exception: _fault,
        },
    )
    # appended and not included: include_router would build the routes anew from the documented stubs
    app.router.routes += [
        RawRoute("/ingress/record-json", record_json, d.gateway, d.settings, RECORD_JSON),
        RawRoute(
            "/ingress/record-json-and-binary", record_json_and_binary, d.gateway, d.settings, RECORD_JSON_AND_BINARY
        ),
    ]
    app.include_router(about_routes(d))
    return Edge(app)


async def _inlake_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, InlakeError)
    status, headers, body = problem_response(error, request.scope["instance"])
    return Response(body, status, {k.decode(): v.decode() for k, v in headers})


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
