"""New events as they come, for pages that are open: one reader of the bus for all of them."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

from inlake.access.rights import ACTIONS
from inlake.errors import Busy, InlakeError
from inlake.formats.events import Decoder
from inlake.model import Message
from inlake.ports import Bus
from inlake.web.console import seen
from inlake.web.console.page import environment
from inlake.web.console.row import row
from inlake.web.console.seen import Sees
from inlake.web.request.exchange import Exchange
from inlake.web.request.timeout import with_timeout
from inlake.wiring import Deployment

log = logging.getLogger("inlake.web")
WAITING = 200
"""Events that wait for one page; of more the oldest go."""
PING_SECONDS = 15.0
AGAIN_SECONDS = 5.0
WRITE_SECONDS = 30.0
"""A page that takes nothing for so long is let go."""
MOST = 1_000
"""Pages that may be open at a process."""


class Coming:
    """A new event, and its row as text for pages: made once, however many show it."""

    def __init__(self, message: Message) -> None:
        self.message = message
        self._shown: asyncio.Future[str] | None = None

    async def shown(self, make: Callable[[Message], Awaitable[str]]) -> str:
        """The row, made by the first page that is to show it."""
        if self._shown is None:
            self._shown = asyncio.ensure_future(make(self.message))
        return await asyncio.shield(self._shown)


class Viewer:
    """An open page, and the events that it has not been sent."""

    def __init__(self, sees: Sees) -> None:
        self.sees = sees
        self.coming: deque[Coming] = deque(maxlen=WAITING)
        self.some = asyncio.Event()


class Live:
    """Reads the bus while a page is open."""

    def __init__(self, bus: Bus, decoder: Decoder) -> None:
        """`decoder`: for all pages that show events; what it has compiled is theirs together."""
        self._bus = bus
        self.decoder = decoder
        self._viewers: set[Viewer] = set()
        self._reading: asyncio.Task[None] | None = None
        self.is_over = False

    def join(self, sees: Sees) -> Viewer:
        """A page is open, whose person sees of all events these. Raises `Busy`."""
        if len(self._viewers) >= MOST:
            raise Busy(f"{MOST:,} pages look at new events already: load the page again later.")
        viewer = Viewer(sees)
        self._viewers.add(viewer)
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read())
        return viewer

    def leave(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)
        if not self._viewers and self._reading is not None:
            self._reading.cancel()
            self._reading = None  # it ends some moments later: who joins before has one begun

    def close(self) -> None:
        """The gateway stops: let all pages go."""
        self.is_over = True
        for viewer in self._viewers:
            viewer.some.set()

    async def _read(self) -> None:
        while True:
            try:
                async for message in self._bus.read(start="latest", follow=True):
                    coming = Coming(message)
                    for viewer in self._viewers:
                        if viewer.sees(message):
                            viewer.coming.append(coming)
                            viewer.some.set()
            except InlakeError as error:
                log.warning("new events cannot be shown: %s", error.detail)
            except Exception:
                log.exception("new events cannot be shown")
            await asyncio.sleep(AGAIN_SECONDS)


async def stream(x: Exchange, d: Deployment) -> None:
    """New events as server-sent events, each the row of its table."""
    live: Live = x.scope["app"].live
    viewer = live.join(seen.viewer(x, d))
    gone = asyncio.create_task(x.gone())
    try:
        await x.start(200, [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")])
        await _write(x, b"retry: 1000\n\n")
        await _send(x, live, viewer, gone)
        await _write(x, b"", more=False)
    except TimeoutError:
        return  # whoever reads nothing gets no end, either
    finally:
        live.leave(viewer)
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone


async def _send(x: Exchange, live: Live, viewer: Viewer, gone: asyncio.Task[None]) -> None:
    """Send rows until the page is closed, the session over, or the gateway stops. Raises `TimeoutError`."""
    template = environment().get_template("row.html")

    async def make(message: Message) -> str:
        event = await live.decoder.decode(message)
        return template.render(row=row(event), url=x.address, needs_key=x.settings.has_authentication)

    while True:
        some = asyncio.create_task(viewer.some.wait())
        done, _ = await asyncio.wait({gone, some}, timeout=PING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        some.cancel()
        if gone in done or live.is_over or not _is_let(x):
            return
        viewer.some.clear()
        if not done:
            await _write(x, b":\n\n")
        while viewer.coming:
            shown = await viewer.coming.popleft().shown(make)
            lines = "".join(f"data: {line}\n" for line in shown.splitlines())
            await _write(x, f"{lines}\n".encode())


def _is_let(x: Exchange) -> bool:
    """Whether who opened the page is still signed in, and may still see pages."""
    person = x.site.auth.person(x)
    try:
        x.caller.check_some(ACTIONS)
    except InlakeError:
        return False
    return person is not None and person.principal == x.principal


async def _write(x: Exchange, body: bytes, *, more: bool = True) -> None:
    await with_timeout(WRITE_SECONDS, x.write(body, more=more))
