"""The outermost ASGI application: each request gets its id and its principal, and leaves a log line and its counts."""

from __future__ import annotations

import itertools
import logging
import os
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache

from inlake.errors import Forbidden, Unauthorized
from inlake.logs import Lines
from inlake.metrics import Counter, Histogram, Metrics
from inlake.model import ANONYMOUS, masked
from inlake.web.request.auth import ApiKeys
from inlake.web.request.exchange import Exchange, Receive, Scope, Send, Site
from inlake.web.request.route import RawRoute

log = logging.getLogger("inlake.web")
OPEN = {"/health/live", "/health/ready", "/metrics", "/docs", "/docs/errors", "/openapi.json"}
"""Paths for everybody: they tell nothing of what clients sent."""
OPEN_FOLDER = "/docs/static/"
CLIENT_GONE = 499
"""As nginx logs it: the client closed the connection, and nobody is there to read an answer."""
_LOCAL_HOST = re.compile(r"(localhost|[0-9.]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?", re.IGNORECASE)
PUUID_LENGTH = 36
_number = itertools.count(1)
_process = os.urandom(4).hex()


class Edge:
    """Wraps the application. One look finds a raw route: FastAPI's own way there, for any request, costs as much as all
    the rest."""

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        raw: Mapping[tuple[str, str], RawRoute],
        site: Site,
        metrics: Metrics,
        keys: ApiKeys | None,
    ) -> None:
        """`raw`: routes by method and path."""
        self._app = app
        self._raw = raw
        self._site = site
        self._metrics = metrics
        self._keys = keys
        self._lines = Lines(site.settings.log_format, log.name)
        self._counts: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            self._lines.flush()  # the process may end by a signal now
            return
        began = time.perf_counter()
        scope["instance"], scope["principal"] = f"{_process}-{next(_number)}", ANONYMOUS
        x = Exchange(scope, receive, send, self._site)
        try:
            self._identify(x)
            if route := self._raw.get((scope["method"], scope["path"])):
                scope["route"], scope["path_params"] = route, {}
                await route.answer(x)
            else:
                await self._app(scope, receive, x.relay)
        except (Unauthorized, Forbidden) as error:
            await x.refuse(error)
        except Exception:
            log.exception("request %s failed", x.instance)
        finally:
            self._note(scope, x.status or CLIENT_GONE, time.perf_counter() - began)

    def _identify(self, x: Exchange) -> None:
        """Learn who sends. Raises `Unauthorized`, `Forbidden`."""
        if self._keys is None:
            _refuse_foreign_pages(x, loopback=not self._site.settings.allow_anonymous)
        elif x.scope["path"] not in OPEN and not x.scope["path"].startswith(OPEN_FOLDER):
            x.principal = x.scope["principal"] = self._keys.principal(x.header(b"authorization"))

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "none")
        counter, times = self._counts.get((route, status)) or self._counts.setdefault(
            (route, status), self._count(route, status)
        )
        counter.value += 1
        times.observe(seconds)
        if self._lines.are_wanted():
            path = scope["path"] if len(scope["path"]) < PUUID_LENGTH else masked(scope["path"])
            if not path.isprintable():  # a decoded newline would write a log line of the client's own
                path = path.encode("unicode_escape").decode()
            instance, principal = scope["instance"], scope["principal"]
            self._lines.add(f"{scope['method']} {path} {status} {seconds * 1000:.1f} ms {instance} {principal}")

    def _count(self, route: str, status: int) -> tuple[Counter, Histogram]:
        labels = (("route", route), ("status", str(status)))
        counter = self._metrics.counter("inlake_requests_total", "Requests by route and status.", labels)
        return counter, self._metrics.histogram("inlake_request_seconds", "Time of a request.", labels[:1])


def _refuse_foreign_pages(x: Exchange, *, loopback: bool) -> None:
    """A page of another origin must not send through the browser of somebody who can reach an anonymous gateway.

    A browser names the page's origin with every POST (Fetch standard, 3.2); other clients send no `Origin`. A page
    whose own name leads to this machine (DNS rebinding) is told by `Host`: on loopback it is an address or localhost.
    """
    host, origin = x.header(b"host"), x.header(b"origin")
    if origin and origin.partition("://")[2] != host:
        raise Forbidden(
            f"A page of {origin[:100]} may not use this gateway: it takes anonymous clients, and no other pages."
        )
    if loopback and host and not _is_local(host):
        raise Forbidden(
            f"This gateway is anonymous and for this machine only; it is not {host[:100]}. Behind a proxy give it "
            "INLAKE_API_KEYS, or set INLAKE_ALLOW_ANONYMOUS=true."
        )


@lru_cache(1000)
def _is_local(host: str) -> bool:
    return _LOCAL_HOST.fullmatch(host) is not None
