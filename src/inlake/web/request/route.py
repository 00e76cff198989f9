"""From a request to its handler: its route is looked up, it is admitted, and an error is answered in one place."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from fastapi import FastAPI, Response
from fastapi.routing import APIRoute
from starlette.routing import Match

from inlake.errors import InlakeError, InternalError, MethodNotAllowed, RouteNotFound, ShuttingDown
from inlake.web.request.access_log import AccessLog
from inlake.web.request.exchange import ClientGoneError, Exchange, Receive, Scope, Send, Site
from inlake.wiring import Deployment

log = logging.getLogger("inlake.web")
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
Handler = Callable[[Exchange, Deployment], Awaitable[None]]
Document = dict[str, Any]
"""What OpenAPI calls an operation; in place of a JSON Schema there may be a type."""


class Row(NamedTuple):
    """A row of the table of routes. What the handler's docstring says stands in the document."""

    method: str
    path: str
    handle: Handler
    document: Document | None = None
    """None: not in the OpenAPI document."""
    may_hold: Callable[[Exchange], int] | None = None
    """Bytes of memory that the request may take at once, told by its headers; None: it is not counted."""
    keyed: Callable[[Handler], Handler] | None = None
    """Makes of the handler the one that takes requests with an `Idempotency-Key`."""
    is_open: bool = False
    """Needs no API key: it tells nothing of what clients sent."""


class Route(APIRoute):
    """A row whose requests are answered: in the document as every route of FastAPI, its ASGI application ours."""

    def __init__(self, row: Row, d: Deployment, site: Site) -> None:
        self.row, self._deployment, self._site = row, d, site
        self._handle_keyed = row.keyed(row.handle) if row.keyed else row.handle
        text = (row.handle.__doc__ or "").strip()
        super().__init__(
            row.path,
            _documented,
            methods=[row.method],
            name=row.handle.__name__,
            summary=text.partition("\n")[0].rstrip("."),
            description=text,
            response_class=Response,
            include_in_schema=row.document is not None,
        )

    async def answer(self, x: Exchange) -> None:
        """Have the request handled. What nobody expected is answered, too, and raised: it belongs in the log."""
        row, admission = self.row, self._site.admission
        try:
            self._site.auth.identify(x, row.is_open)
            handle = self._handle_keyed if x.has(b"idempotency-key") else row.handle
            if row.may_hold is None:
                await handle(x, self._deployment)
                return
            held = admission.admit(row.may_hold(x))
            try:
                await handle(x, self._deployment)
            finally:
                admission.release(held)
        except InlakeError as error:
            if x.status:
                raise
            await x.refuse(error)
        except ClientGoneError:
            return  # nobody is there to read an answer
        except asyncio.CancelledError:  # the server stops, and has waited as long as it may
            await x.turn_away(ShuttingDown("The gateway is stopping: send the request again."))
        except Exception:
            if not x.status:
                await x.refuse(fault(x.instance))
            raise


def fault(instance: str) -> InternalError:
    """What a client is told of an error that nobody expected."""
    return InternalError(f"This is a fault of the gateway; its log has it as {instance}.")


async def _documented() -> None:
    """What FastAPI takes for the endpoint: nothing of it is called."""


class Routed(FastAPI):
    """FastAPI that answers requests by our table. One look finds a route whose path is fixed: FastAPI's own way there
    costs as much as all the rest."""

    def __init__(self, table: Sequence[Route], d: Deployment, site: Site, access_log: AccessLog, **given: Any) -> None:
        """`given`: as FastAPI has it."""
        super().__init__(**given)
        self.table = table
        self.router.routes.extend(table)
        self._fixed = {(route.row.method, route.path): route for route in table if "{" not in route.path}
        self._nowhere = Route(Row("GET", "/", self._refuse), d, site)
        """Answers what no route does."""
        self._site = site
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)  # start and stop
            self._access_log.flush()  # the process may end by a signal now
            return
        began = time.perf_counter()
        scope["app"], x = self, Exchange(scope, receive, send, self._site)
        route = self._fixed.get((scope["method"], scope["path"])) or self._find(scope, scope["method"])
        try:
            await route.answer(x)
        except Exception:
            log.exception("request %s failed", x.instance)
        finally:
            path = route.path if route is not self._nowhere else "none"
            self._access_log.note(x, path, time.perf_counter() - began)

    def _find(self, scope: Scope, method: str) -> Route:
        """The route; one for GET takes HEAD too, whose answer the server sends without its body (RFC 9110, 9.3.2)."""
        asked = {**scope, "method": method}
        for route in self.table:
            match, found = route.matches(asked)
            if match is Match.FULL:
                scope["path_params"] = found["path_params"]
                return route
        return self._find(scope, "GET") if method == "HEAD" else self._nowhere

    async def _refuse(self, x: Exchange, _: Deployment) -> None:
        where = f"{x.scope['method']} {x.scope['path'][:200]}"
        allowed = [method for method in METHODS if self._find(dict(x.scope), method) is not self._nowhere]
        if not allowed:
            raise RouteNotFound(f"There is no {where}; /docs lists the routes.")
        allow = ", ".join(allowed)
        raise MethodNotAllowed(f"{where} is not allowed; {allow} is.", allow=allow)
