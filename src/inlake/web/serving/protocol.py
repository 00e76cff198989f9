"""HTTP/1.1 on a connection: uvicorn's protocol, with limits for what comes and one write for a whole answer."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from contextlib import suppress
from fcntl import ioctl
from functools import lru_cache
from http import HTTPStatus
from termios import TIOCOUTQ
from typing import Any, cast
from urllib.parse import unquote

from httptools import HttpParserError, HttpParserInvalidMethodError, HttpParserUpgrade, HttpRequestParser, parse_url
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from inlake.errors import BadHttp, HeadersTooLarge, InlakeError, MethodNotBuilt
from inlake.web.request.exchange import WHOLE
from inlake.web.request.problems import problem_response
from inlake.web.serving.cycle import LARGE, Cycle

log = logging.getLogger("inlake.web")
_REQUEST_LINE = re.compile(rb"([A-Z]{2,40}) \S+ HTTP/1\.[01]\r\n")
_CHUNKED = b"transfer-encoding: chunked\r\n"
HIGH_WATER = 64 << 10
"""Bytes that may wait for a client before more waits to be written; of TLS, too, where uvloop has eight times that."""
LEAST = 16 << 10
"""Bytes that a client must take of its answers each time that it is looked at."""
OFTEN = 500
"""Bytes of a request's target that may come again: a longer one is not remembered."""


def _split(target: bytes) -> tuple[str, bytes, bytes]:
    """Path, path as it came, and query of a request's target."""
    url = parse_url(target)
    return unquote(url.path.decode("ascii")), url.path, url.query or b""


_split_often = lru_cache(maxsize=1024)(_split)


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which answers what it cannot read with a problem document, bounds the size of the headers and
    the time they may take (uvicorn bounds neither)."""

    head_bytes = 64 << 10
    head_seconds = 60.0
    write_seconds = 60.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a request."""
        transport.set_write_buffer_limits(HIGH_WATER)
        joined = JoinedWrites(transport, self.loop, self.write_seconds)
        super().connection_made(joined)  # type: ignore[arg-type]  # it has all of its methods
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
        cast("JoinedWrites", self.transport).end()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """So much is written that the client must read before there is more."""
        super().pause_writing()
        cast("JoinedWrites", self.transport).watch()

    def resume_writing(self) -> None:
        """The client has read nearly all."""
        super().resume_writing()
        cast("JoinedWrites", self.transport).unwatch()

    def data_received(self, data: bytes) -> None:
        """Count what comes while the headers of a request are not complete."""
        self._read += len(data)
        try:
            while data:
                data = self._parse(data)
        except HttpParserInvalidMethodError:
            if found := _REQUEST_LINE.match(data):
                self._refuse(MethodNotBuilt(f"The method {found[1].decode()[:40]} is none that this gateway knows."))
            else:
                self.send_400_response("Invalid HTTP request received.")
        except HttpParserError:
            if not self.transport.is_closing():  # else it is answered
                self.send_400_response("Invalid HTTP request received.")
        if self._idle:
            self._idle = False
            self._expect(self.head_seconds)
        if self._read > self.head_bytes and not self.transport.is_closing():
            self._refuse_head()

    def _parse(self, data: bytes) -> bytes:
        """The rest of the data, behind the head of a request that offers another protocol (`Upgrade`).

        HTTP/2 without TLS is offered by Java's clients, by Ktor and `curl --http2` to whom they do not know. A server
        may ignore that (RFC 9110, 7.8), and the body is HTTP/1.1's. httptools would drop it, so that a file was stored
        as empty (uvicorn's issue 2722): another parser is told how long it is.
        """
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as offer:
            self.parser = BodyParser(self).parser
            framing = (b"content-length", b"transfer-encoding")
            lines = [b"%b: %b\r\n" % field for field in self.scope["headers"] if field[0] in framing]
            self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % b"".join(lines))
            return data[offer.args[0] :]
        return b""

    def on_headers_complete(self) -> None:
        """The headers are complete: what follows is the body's."""
        self._until = None
        self._idle = False
        if self._read > self.head_bytes and self._head_size() > self.head_bytes:  # all of it came in one read
            self._refuse_head()
            raise HttpParserError
        self._read = 0
        is_old = self.parser.get_http_version() == "1.0"
        hosts = [name for name, _ in self.headers].count(b"host")
        if hosts > 1 or (hosts == 0 and not is_old):  # RFC 9112, 3.2
            self._refuse(BadHttp(f"The request has {hosts} headers Host, and must have one."))
            raise HttpParserError
        if self.url == b"*" and self.parser.get_method() == b"OPTIONS":
            self.url = b"/*"  # of the server as a whole; the URL of no resource
        if is_old:  # it knows neither chunks nor 100 (RFC 9110, 10.1.1; RFC 9112, 6.1)
            self.expect_100_continue = False
        self._begin_cycle(is_old=is_old)

    def _begin_cycle(self, *, is_old: bool) -> None:
        """Start the application, or let the request wait for the answers before its own, as uvicorn does it."""
        scope: Any = self.scope
        scope["method"] = self.parser.get_method().decode("ascii")
        if is_old:
            scope["http_version"] = "1.0"
        split = _split_often if len(self.url) < OFTEN else _split
        scope["path"], scope["raw_path"], scope["query_string"] = split(self.url)
        before: Any = self.cycle
        transport = cast("asyncio.Transport", WithoutChunks(self.transport)) if is_old else self.transport
        self.cycle = scope[WHOLE] = Cycle(
            scope=scope,
            transport=transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=not is_old and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def eof_received(self) -> bool:  # type: ignore[override]
        """Let a client that sends no more have its answer, if its request is whole: half a connection stays open."""
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete or cycle.more_body:
            self.transport.close()
            return False
        cycle.keep_alive = False
        return self.transport.get_extra_info("sslcontext") is None  # of TLS there is no half

    def on_response_complete(self) -> None:
        """Ends a request as uvicorn does, but for the timer that uvicorn sets and stops for each."""
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
        if cycle.response_complete:
            return
        if not cycle.body:  # taken as it is: uvicorn would copy it into a bytearray, and that into bytes
            cycle.body = body
        elif isinstance(cycle.body, bytes):
            cycle.body = bytearray(cycle.body) + body
        else:
            cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        """The body is whole, unless it is only for the parser."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that cannot be parsed, and hang up."""
        self._refuse(BadHttp(f"{msg.rstrip('.')}: it is not HTTP/1.1."))

    def _head_size(self) -> int:
        """Bytes of the request line and the headers, but for what separates them."""
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _refuse_head(self) -> None:
        limit = f"{self.head_bytes:,} bytes (INLAKE_MAX_REQUEST_LINE)"
        self._refuse(HeadersTooLarge(f"Request line and headers are larger than {limit}."))

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
        headers = [*self.server_state.default_headers, *headers, (b"connection", b"close")]
        head = b"".join(b"%b: %b\r\n" % header for header in headers)
        phrase = HTTPStatus(status).phrase.encode()
        self.transport.write(b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (status, phrase, head, body))
        self.transport.close()


class BodyParser:
    """A parser for what follows a head that another parser has read: its body, then requests as ever.

    It is told of that head once more, for the length of the body, and says nothing of it to the protocol.
    """

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._is_behind_body = False
        self.on_body = protocol.on_body
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does it

    def on_message_begin(self) -> None:
        if self._is_behind_body:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self._is_behind_body:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_behind_body:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_behind_body:
            self._protocol.on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_behind_body = True
        self._protocol.on_message_complete()


class WithoutChunks:
    """A transport that takes off the framing which uvicorn gives an answer of unknown length, a write for each chunk:
    for HTTP/1.0 such an answer ends with its connection."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head_is_written = self._is_chunked = False

    def write(self, data: bytes) -> None:
        """A head, or a chunk."""
        if not self._head_is_written:
            self._head_is_written, self._is_chunked = True, _CHUNKED in data
            data = data.replace(_CHUNKED, b"")
        elif self._is_chunked:
            size, _, rest = data.partition(b"\r\n")
            data = rest[: int(size, 16)] if size else b""
        if data:
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        """All else is the transport's own."""
        return getattr(self._transport, name)


class JoinedWrites:
    """A transport that sends small writes of one turn of the event loop together, and waits for no client for ever.

    uvicorn writes the head and the body of an answer apart: two system calls, and two packets to the client. A client
    that reads nothing would keep what is written for it in memory, also once its connection is closed.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop, seconds: float = 60.0) -> None:
        """`seconds`: pause between two looks at what the client has taken."""
        self._transport = transport
        self._loop = loop
        self._seconds = seconds
        self._waiting: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._is_lost = False
        self.is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        """Write as the transport does, small data at the end of the event loop's turn."""
        if len(data) > LARGE:
            self.write_now(data)
            return
        if not self._waiting:
            self._loop.call_soon(self.flush)
        self._waiting.append(data)

    def write_now(self, data: bytes) -> None:
        """Send what waits and the data."""
        if self._waiting:
            self.flush()
        if not self.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Send what waits, then close."""
        self.flush()
        self._transport.close()
        self.watch()

    def watch(self) -> None:
        """Look from now on whether the client takes what is written."""
        if self._timer is None and not self._is_lost:
            self._timer = self._loop.call_later(self._seconds, self._look, self._left())

    def unwatch(self) -> None:
        """The client takes what is written; of a connection that closes it must take all."""
        if self._timer is not None and not self.is_closing():
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """The connection is lost: nothing is to be looked at."""
        self._is_lost = True
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, before: int) -> None:
        """Cut off a client that took next to nothing since there were so many bytes for it."""
        self._timer = None
        if self._left() > before - LEAST:
            self._transport.abort()
        else:
            self.watch()

    def _left(self) -> int:
        """Bytes that the client has not taken, those among them that the kernel has: it asks for more only once it has
        sent a third of them, which may be megabytes."""
        in_kernel = bytearray(4)
        with suppress(OSError, ValueError):  # of a socket that is closed, or a system that does not tell
            ioctl(self._transport.get_extra_info("socket").fileno(), TIOCOUTQ, in_kernel)
        return self._transport.get_write_buffer_size() + int.from_bytes(in_kernel, sys.byteorder)

    def __getattr__(self, name: str) -> Any:
        """All else is the transport's own."""
        return getattr(self._transport, name)

    def flush(self) -> None:
        """Send what waits."""
        waiting, self._waiting = self._waiting, []
        if waiting and not self.is_closing():
            self._transport.write(b"".join(waiting))
