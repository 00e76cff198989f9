"""New events as they come, for pages that are open: one reader of the bus for all of them."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from contextlib import suppress

from inlake.errors import InlakeError
from inlake.model import Message
from inlake.ports import Bus
from inlake.web.console import seen
from inlake.web.console.page import environment
from inlake.web.console.seen import row
from inlake.web.request.exchange import Exchange
from inlake.wiring import Deployment

log = logging.getLogger("inlake.web")
WAITING = 200
"""Events that wait for one page; of more the oldest go."""
PING_SECONDS = 15.0
AGAIN_SECONDS = 5.0


class Viewer:
    """An open page, and the events that it has not been sent."""

    def __init__(self) -> None:
        self.coming: deque[Message] = deque(maxlen=WAITING)
        self.some = asyncio.Event()


class Live:
    """Reads the bus while a page is open."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._viewers: set[Viewer] = set()
        self._reading: asyncio.Task[None] | None = None
        self.is_over = False

    def join(self) -> Viewer:
        viewer = Viewer()
        self._viewers.add(viewer)
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        return viewer

    def leave(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)
        if not self._viewers and self._reading is not None:
            self._reading.cancel()

    def close(self) -> None:
        """The gateway stops: let all pages go."""
        self.is_over = True
        for viewer in self._viewers:
            viewer.some.set()

    async def _read(self) -> None:
        while True:
            try:
                async for message in self._bus.read(start="latest", follow=True):
                    for viewer in self._viewers:
                        viewer.coming.append(message)
                        viewer.some.set()
            except InlakeError as error:
                log.warning("new events cannot be shown: %s", error.detail)
            await asyncio.sleep(AGAIN_SECONDS)


async def stream(x: Exchange, d: Deployment) -> None:
    """New events as server-sent events, each the row of its table."""
    sees, live = seen.viewer(x, d), x.scope["app"].live
    viewer, template = live.join(), environment().get_template("row.html")
    gone = asyncio.create_task(x.gone())
    try:
        await x.start(200, [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")])
        await x.write(b"retry: 1000\n\n", more=True)
        for number in itertools.count(1):
            some = asyncio.create_task(viewer.some.wait())
            done, _ = await asyncio.wait({gone, some}, timeout=PING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            some.cancel()
            if gone in done or live.is_over:
                break
            viewer.some.clear()
            await x.write(b": %d\n\n" % number, more=True)
            while viewer.coming:
                message = viewer.coming.popleft()
                if sees(message):
                    shown = template.render(row=row(message), url=x.address)
                    lines = "".join(f"data: {line}\n" for line in shown.splitlines())
                    await x.write(f"{lines}\n".encode(), more=True)
    finally:
        live.leave(viewer)
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone
    await x.write(b"", more=False)
