"""`inlake serve` with a clock in its event loop, which tells how late it ran.

It imports nothing that the gateway does not: its memory is compared.
"""

from __future__ import annotations

import asyncio
import json
import os
from time import perf_counter
from typing import Any

from benchmarks import LAG
from inlake.settings import load
from inlake.web import app
from inlake.web.request.exchange import Receive, Scope, Send
from inlake.web.serving import server
from inlake.wiring import Deployment

TICK = 0.005
"""Seconds between two looks; uvloop's timers count in milliseconds, so a lag is right to one of them."""
_create_app = app.create_app


class Measured:
    """The application, and how much later than asked for the loop called back, in seconds."""

    def __init__(self, deployment: Deployment, *shared: Any) -> None:
        self._app = _create_app(deployment, *shared)
        self._lags: list[float] = []
        self._due = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self._look_again()
        elif scope["path"] == LAG:
            await self._tell(send)
            return
        await self._app(scope, receive, send)

    def _look_again(self) -> None:
        self._due = perf_counter() + TICK
        asyncio.get_running_loop().call_later(TICK, self._look)

    def _look(self) -> None:
        self._lags.append(max(perf_counter() - self._due, 0.0))
        self._look_again()

    async def _tell(self, send: Send) -> None:
        lags, self._lags = self._lags, []
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(lags).encode()})


def main() -> None:
    app.create_app = Measured  # type: ignore[assignment]
    server.serve(load(os.environ), os.environ)


if __name__ == "__main__":
    main()
