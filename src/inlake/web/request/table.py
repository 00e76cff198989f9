"""The table of routes: a request finds its route by method and path, and has a line in the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from starlette.routing import Match

from inlake.errors import MethodNotAllowed, MethodNotBuilt, RouteNotFound
from inlake.group import NO_FAULT
from inlake.web.request.access_log import AccessLog
from inlake.web.request.cors import Cors
from inlake.web.request.exchange import Exchange, Receive, Scope, Send
from inlake.web.request.route import Route, Row
from inlake.web.request.site import Site
from inlake.wiring import Deployment

log = logging.getLogger("inlake.web")
METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


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

    def stop(self) -> None:
        """Says in `/health/ready` that the process is about to end."""
        self._site.stopping.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)  # start and stop
            self._access_log.flush()  # the process may end by a signal now
            return
        began = time.perf_counter()
        scope["app"], x = self, Exchange(scope, receive, send, self._site)
        route = self._fixed.get((scope["method"], scope["path"])) or self._find(scope, scope["method"])
        try:
            cors = self._site.auth.cors
            if cors is None or not await cross_origin(x, cors):
                await route.answer(x)
        except NO_FAULT:
            raise
        except BaseException:
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
        method = x.scope["method"]
        where = f"{method} {x.scope['path'][:200]}"
        if method not in METHODS:
            raise MethodNotBuilt(f"The method {method[:40]} is not one of {', '.join(METHODS)}.")
        allowed = [method for method in METHODS if self._find(dict(x.scope), method) is not self._nowhere]
        if not allowed:
            raise RouteNotFound(f"There is no {where}; /docs lists the routes.")
        allow = ", ".join(allowed)
        raise MethodNotAllowed(f"{where} is not allowed; {allow} is.", allow=allow)


async def cross_origin(x: Exchange, cors: Cors) -> bool:
    """Tell the browser of a page of another origin what it may do; whether that was all it asked for."""
    if not (origin := x.header(b"origin")) or not cors.allows(origin):
        return False
    asked = x.header(b"access-control-request-method")
    if x.scope["method"] == "OPTIONS" and asked:
        await x.reply_without_body(204, cors.preflight(origin, x.all(b"access-control-request-headers")))
        return True
    x.always(cors.headers(origin))
    return False
