"""The trace context of a request (W3C Trace Context, level 1), which goes on with its events."""

from __future__ import annotations

import re

from inlake.model import Trace
from inlake.web.request.exchange import Exchange

_PARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_MEMBER = re.compile(r"[a-z0-9][a-z0-9_*/@-]{0,255}=[ -+\--<>-~]{0,256}")
MEMBERS, LENGTH = 32, 4_096
"""Most members of a `tracestate`, as the standard has it, and most characters."""


def trace_of(x: Exchange) -> Trace | None:
    """The trace of `traceparent` and `tracestate`; None without a well-formed `traceparent`."""
    parent = x.header(b"traceparent")
    if not parent or not _PARENT.fullmatch(parent):
        return None
    return Trace(parent, _state(",".join(value for name, value in x.headers() if name == "tracestate")))


def _state(text: str) -> str:
    """The state if it is well formed, else nothing; the standard then keeps the parent."""
    members = [member.strip(" \t") for member in text.split(",")]
    members = [member for member in members if member]
    well_formed = len(members) <= MEMBERS and len(text) <= LENGTH and all(map(_MEMBER.fullmatch, members))
    return ",".join(members) if well_formed else ""
