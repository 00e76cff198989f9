"""One HTTP request and its answer on raw ASGI: the hot routes use it in place of a framework's request object."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from inlake.errors import BadParameter, InlakeError, RequestTimeout, TooLarge
from inlake.settings import Settings
from inlake.web.problems import problem_response

Scope = MutableMapping[str, Any]
ASGIMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[ASGIMessage]]
Send = Callable[[ASGIMessage], Awaitable[None]]

log = logging.getLogger("inlake.web")
_number = itertools.count(1)
_process = os.urandom(4).hex()


class ClientGoneError(Exception):
    """The client closed the connection before its request was whole; there is nobody to answer."""


class Exchange:
    """Reads the body of a request, writes its answer."""

    __slots__ = ("_receive", "_send", "at_end", "instance", "scope", "settings", "started", "status")

    def __init__(self, scope: Scope, receive: Receive, send: Send, settings: Settings) -> None:
        self.scope = scope
        self.settings = settings
        self._receive = receive
        self._send = send
        self.at_end = False
        """The body was read whole."""
        self.started = False
        self.status = 0
        self.instance: str = scope["instance"]

    def header(self, name: bytes) -> str:
        """Value of a request header (name in lower case), empty when absent."""
        for key, value in self.scope["headers"]:
            if key == name:
                return str(value, "latin-1")
        return ""

    @property
    def content_length(self) -> int | None:
        text = self.header(b"content-length")
        if not text:
            return None
        if not text.isdecimal():
            raise BadParameter("Content-Length is not a number.")
        return int(text)

    # ----------------------------------------------------------------------------------------------------- request
    async def receive(self, pause: float) -> bytes:
        """The next bytes of the body, empty at its end. Raises `TimeoutError` after `pause` seconds without any."""
        while not self.at_end:
            async with asyncio.timeout(pause):
                message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            self.at_end = not message.get("more_body", False)
            if body := message.get("body"):
                return bytes(body)
        return b""

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes; asking for the next chunk is what lets the server read the socket again."""
        while chunk := await self.next_chunk():
            yield chunk

    async def body(self, limit: int, too_large: type[TooLarge]) -> bytes:
        """The whole body of at most `limit` bytes, else `too_large`."""
        length = self.content_length
        body = await self.next_chunk() if length is None or length <= limit else b""
        if not self.at_end and body:
            parts, size = [body], len(body)
            while size <= limit and (chunk := await self.next_chunk()):
                parts.append(chunk)
                size += len(chunk)
            body = b"".join(parts)
        if len(body) > limit or (length or 0) > limit:
            raise too_large(f"The body is larger than {limit:,} bytes.")
        return body

    async def next_chunk(self) -> bytes:
        """The next bytes of the body, empty at its end. Raises `RequestTimeout`, `ClientGoneError`."""
        try:
            return await self.receive(self.settings.body_idle_seconds)
        except TimeoutError:
            seconds = self.settings.body_idle_seconds
            raise RequestTimeout(f"No byte of the body came for {seconds:g} seconds.") from None

    # ------------------------------------------------------------------------------------------------------ answer
    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.started, self.status = True, status
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, body: bytes, *, more: bool) -> None:
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def reply(self, status: int, body: bytes, content_type: bytes = b"application/json") -> None:
        """A whole answer to a request whose body was read."""
        await self.start(status, [(b"content-type", content_type), (b"content-length", b"%d" % len(body))])
        await self.write(body, more=False)

    async def refuse(self, error: InlakeError) -> None:
        """Answer with a problem document. What is left of the body is read up to a limit: a client that watches stops
        sending, one that does not gets to its answer, and one that never ends is cut off."""
        status, headers, body = problem_response(error, self.instance)
        if self.at_end or not self._has_body():
            await self.start(status, headers)
            await self.write(body, more=False)
            return
        await self.start(status, [*headers, (b"connection", b"close")])
        await self.write(body, more=True)
        await self._drain()
        await self.write(b"", more=False)

    def _has_body(self) -> bool:
        return bool(self.header(b"content-length").strip("0") or self.header(b"transfer-encoding"))

    async def _drain(self) -> None:
        left = self.settings.drain_bytes
        with suppress(TimeoutError, ClientGoneError):
            async with asyncio.timeout(self.settings.drain_seconds):
                while left > 0 and (chunk := await self.receive(self.settings.drain_seconds)):
                    left -= len(chunk)


class Edge:
    """The outermost ASGI application: gives each request its id, writes its log line, catches what nobody caught."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        scope["instance"] = f"{_process}-{next(_number)}"
        status = 0

        async def watched(message: ASGIMessage) -> None:
            nonlocal status
            if not status:
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            log.exception("request %s failed", scope["instance"])
        finally:
            if log.isEnabledFor(logging.INFO):
                took = (time.perf_counter() - began) * 1000
                fields = (scope["method"], scope["path"], status or 499, took, scope["instance"])  # 499: client gone
                log.info("%s %s %d %.1f ms %s", *fields, extra={"principal": scope.get("principal", "anonymous")})
