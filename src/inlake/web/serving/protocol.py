"""HTTP/1.1 on a connection: uvicorn's protocol, with limits for what comes and one write for a whole answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from inlake.errors import BadHttp, HeadersTooLarge, InlakeError
from inlake.web.corked import Corked
from inlake.web.request.problems import problem_response

log = logging.getLogger("inlake.web")


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which answers what it cannot read with a problem document, bounds the size of the headers and
    the time they may take (uvicorn bounds neither)."""

    head_bytes = 64 << 10
    head_seconds = 60.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a request."""
        super().connection_made(Corked(transport, self.loop))  # type: ignore[arg-type]  # it has all of its methods
        self._read = 0
        self._idle = False
        """The last request is answered, and nothing of the next one came."""
        self._until: float | None = None
        """When the headers that are expected must be complete, by the event loop's clock."""
        self._timer: asyncio.TimerHandle | None = None
        self._pause = min(self.head_seconds, self.timeout_keep_alive)
        self._expect(self.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._until = None
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes while the headers of a request are not complete."""
        self._read += len(data)
        try:
            while data:
                data = self._parse(data)
        except HttpParserError:
            message = "Invalid HTTP request received."
            self.logger.warning(message)
            self.send_400_response(message)
        if self._idle:
            self._idle = False
            self._expect(self.head_seconds)
        if self._read > self.head_bytes and not self.transport.is_closing():
            limit = f"{self.head_bytes:,} bytes (INLAKE_MAX_REQUEST_LINE)"
            self._refuse(HeadersTooLarge(f"Request line and headers are larger than {limit}."))

    def _parse(self, data: bytes) -> bytes:
        """What is left of it, behind the head of a request that offers another protocol (`Upgrade`).

        HTTP/2 without TLS is offered by Java's clients, by Ktor and `curl --http2` to whom they do not know. A server
        may ignore that (RFC 9110, 7.8), and the body is HTTP/1.1's. httptools would drop it, so that a file was stored
        as empty (uvicorn's issue 2722): another parser is told how long it is.
        """
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as offer:
            self.parser = Rest(self).parser
            framing = (b"content-length", b"transfer-encoding")
            lines = [b"%b: %b\r\n" % field for field in self.scope["headers"] if field[0] in framing]
            self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(lines))
            return data[offer.args[0] :]
        return b""

    def on_headers_complete(self) -> None:
        """They are complete: what follows is the body's."""
        self._until = None
        self._idle = False
        self._read = 0
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        """As uvicorn has it, but for the timer that it sets and stops for each request."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle, self._read = True, 0
            self._expect(self.timeout_keep_alive)

    def on_body(self, body: bytes) -> None:
        """A body has limits of its own; headers, trailers and what frames the chunks have only this one."""
        self._read = 0
        cycle: Any = self.cycle
        if not cycle.body:  # taken as it is: uvicorn would copy it into a bytearray, and that into bytes
            cycle.body, body = body, b""
        elif isinstance(cycle.body, bytes):
            cycle.body = bytearray(cycle.body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The body is whole, unless it is only for the parser."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that cannot be parsed, and hang up."""
        self._refuse(BadHttp(f"{msg.rstrip('.')}: it is not HTTP/1.1."))

    def _expect(self, seconds: float) -> None:
        """Hang up if no headers are complete by then."""
        self._until = self.loop.time() + seconds
        if self._timer is None:
            self._timer = self.loop.call_later(self._pause, self._look)

    def _look(self) -> None:
        """One timer serves all requests of the connection: setting and stopping one for each costs 2 us."""
        self._timer, now = None, self.loop.time()
        if self._until is not None and self._until <= now:
            self.transport.close()
        elif self._until is not None:
            self._timer = self.loop.call_at(min(self._until, now + self._pause), self._look)

    def _refuse(self, error: InlakeError) -> None:
        self._until = None
        log.info("refused %s: %s", self.client and self.client[0], error.detail)
        status, headers, body = problem_response(error, "unparsed")
        head = b"".join(b"%b: %b\r\n" % header for header in [*headers, (b"connection", b"close")])
        phrase = HTTPStatus(status).phrase.encode()
        self.transport.write(b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (status, phrase, head, body))
        self.transport.close()


class Rest:
    """A parser that tells a protocol of all that follows the first head."""

    def __init__(self, protocol: Protocol) -> None:
        self._told = False
        for name in ("on_message_begin", "on_url", "on_header", "on_headers_complete"):
            setattr(self, name, self._after_the_head(getattr(protocol, name)))
        self.on_body = protocol.on_body
        self._complete = protocol.on_message_complete
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does it

    def on_message_complete(self) -> None:
        self._told = True
        self._complete()

    def _after_the_head(self, tell: Callable[..., None]) -> Callable[..., None]:
        return lambda *what: tell(*what) if self._told else None
