"""The trace context of a request (W3C Trace Context, level 1), which goes on with its events."""

from __future__ import annotations

import re

from inlake.model import Trace
from inlake.web.request.exchange import Exchange
from inlake.web.request.route import Route

_PARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_MEMBER = re.compile(r"[a-z0-9][a-z0-9_*/@-]{0,255}=[ -+\--<>-~]{0,256}")
MEMBERS, LENGTH = 32, 4_096
"""Most members of a `tracestate`, as the standard has it, and most characters."""


def trace_of(x: Exchange) -> Trace | None:
    """The span of the request, where the gateway traces; else its `traceparent`, if well formed, and `tracestate`."""
    if x.trace is not None:
        return x.trace
    parent = x.header(b"traceparent")
    if not parent or not _PARENT.fullmatch(parent):
        return None
    return Trace(parent, _state(",".join(value for name, value in x.headers() if name == "tracestate")))


class TracedRoute(Route):
    """A route each of whose requests has a span, below the client's if it named one."""

    async def answer(self, x: Exchange) -> None:
        """Have the request handled, and say in its span what it was and how it went."""
        from inlake.tracing.spans import end, trace_of_span

        spans = self._deployment.spans
        assert spans is not None
        method = x.scope["method"]
        about = {"http.request.method": method, "http.route": self.row.path, "inlake.request": x.instance}
        with spans.of_request(f"{method} {self.row.path}", about, trace_of(x)) as span:
            x.trace = trace_of_span(span)
            try:
                await super().answer(x)
            finally:
                end(span, x.status, {"inlake.principal": x.principal})


def _state(text: str) -> str:
    """The state if it is well formed, else nothing; the standard then keeps the parent."""
    members = [member.strip(" \t") for member in text.split(",")]
    members = [member for member in members if member]
    well_formed = len(members) <= MEMBERS and len(text) <= LENGTH and all(map(_MEMBER.fullmatch, members))
    return ",".join(members) if well_formed else ""
