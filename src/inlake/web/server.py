"""Runs the gateway: uvicorn on one socket, problem documents even for requests that are not HTTP, a graceful stop."""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from inlake import logs
from inlake.errors import BadHttp, HeadersTooLarge, InlakeError
from inlake.settings import Settings, SettingsError, unknown_variables
from inlake.web.app import create_app
from inlake.web.corked import Corked
from inlake.web.problems import problem_response
from inlake.web.workers import end_with_parent, reserve_port, run_workers
from inlake.wiring import connect

log = logging.getLogger("inlake.web")


def serve(settings: Settings, environment: Mapping[str, str]) -> None:
    """Run until SIGINT or SIGTERM, then answer what is in flight and return. Raises `SettingsError`."""
    logs.configure(settings.log_format, settings.log_level)
    _check_bind(settings)
    for sentence in unknown_variables(environment):
        log.warning("%s", sentence)
    if settings.workers == 1:
        with _bound(settings, reuse=False) as listening:
            _run(settings, environment, listening, say=True)
        return
    create_app(connect(settings, environment))  # a wrong setting is said here, once
    with _bound(settings, reuse=True) as held:
        _say_where(settings, held)
        run_workers(_work, settings, environment, held.getsockname()[1])


def _work(settings: Settings, environment: Mapping[str, str], port: int) -> None:
    """One worker, with a socket of its own on the port of all."""
    logs.configure(settings.log_format, settings.log_level)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all: the parent passes SIGTERM on
    end_with_parent()
    listening = socket.socket(_family(settings.host), socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind((settings.host, port))
    with listening, suppress(SystemExit):
        _run(settings, environment, listening)


def _run(settings: Settings, environment: Mapping[str, str], listening: socket.socket, *, say: bool = False) -> None:
    app = create_app(connect(settings, environment))
    # The collector of reference cycles took a sixth of the time of a stream: what is there now stays for good, and of
    # the thousand records of a window none is in a cycle.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    listening.listen(2048)
    listening.setblocking(False)
    if say:
        _say_where(settings, listening)
    limits = {"head_bytes": settings.max_request_line, "head_seconds": settings.body_idle_seconds}
    config = uvicorn.Config(
        app,
        http=type("Protocol", (Protocol,), limits),
        loop="uvloop",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=int(settings.shutdown_seconds) or 1,
        timeout_keep_alive=75,  # longer than the usual 60 s of proxies, so that it is them who close
    )
    uvicorn.Server(config).run(sockets=[listening])


def _say_where(settings: Settings, listening: socket.socket) -> None:
    host, port = listening.getsockname()[:2]
    log.info("listening on http://%s:%d (docs at /docs)", f"[{host}]" if ":" in host else host, port)
    log.info("bus %s, store %s, registry %s", *map(_without_secrets, (settings.bus, settings.store, settings.registry)))


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which answers what it cannot read with a problem document, bounds the size of the headers and
    the time they may take (uvicorn bounds neither)."""

    head_bytes = 64 << 10
    head_seconds = 60.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a request."""
        super().connection_made(Corked(transport, self.loop))  # type: ignore[arg-type]  # it has all of its methods
        self._read = 0
        self._until: float | None = None
        """When the headers that are expected must be complete, by the event loop's clock."""
        self._timer: asyncio.TimerHandle | None = None
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._until = None
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes while the headers of a request are not complete."""
        answering: RequestResponseCycle | None = self.cycle
        if self._until is None and (answering is None or answering.response_complete):
            self._expect()
        self._read += len(data)
        super().data_received(data)
        if self._read > self.head_bytes and not self.transport.is_closing():
            limit = f"{self.head_bytes:,} bytes (INLAKE_MAX_REQUEST_LINE)"
            self._refuse(HeadersTooLarge(f"Request line and headers are larger than {limit}."))

    def on_headers_complete(self) -> None:
        """They are complete: what follows is the body's."""
        self._until = None
        self._read = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A body has limits of its own; headers, trailers and what frames the chunks have only this one."""
        self._read = 0
        cycle: Any = self.cycle
        if not cycle.body:  # taken as it is: uvicorn would copy it into a bytearray, and that into bytes
            cycle.body, body = body, b""
        elif isinstance(cycle.body, bytes):
            cycle.body = bytearray(cycle.body)
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Answer a request that cannot be parsed, and hang up."""
        self._refuse(BadHttp(f"{msg.rstrip('.')}: it is not HTTP/1.1."))

    def _expect(self) -> None:
        self._read = 0
        self._until = self.loop.time() + self.head_seconds
        if self._timer is None:
            self._timer = self.loop.call_at(self._until, self._look)

    def _look(self) -> None:
        """One timer serves all requests of the connection: setting and stopping one for each costs 2 us."""
        self._timer = None
        if self._until is not None and self._until <= self.loop.time():
            self.transport.close()
        elif self._until is not None:
            self._timer = self.loop.call_at(self._until, self._look)

    def _refuse(self, error: InlakeError) -> None:
        self._until = None
        log.info("refused %s: %s", self.client and self.client[0], error.detail)
        status, headers, body = problem_response(error, "unparsed")
        head = b"".join(b"%b: %b\r\n" % header for header in [*headers, (b"connection", b"close")])
        phrase = HTTPStatus(status).phrase.encode()
        self.transport.write(b"HTTP/1.1 %d %b\r\n%b\r\n%b" % (status, phrase, head, body))
        self.transport.close()


def _check_bind(settings: Settings) -> None:
    try:
        loopback = settings.host == "localhost" or ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        loopback = False
    if not loopback and not settings.allow_anonymous and not settings.api_keys:
        raise SettingsError(
            f"INLAKE_HOST: {settings.host} is reachable from other machines, and no client has to say who it is: "
            "give INLAKE_API_KEYS, or set INLAKE_ALLOW_ANONYMOUS=true if that is meant."
        )


def _bound(settings: Settings, *, reuse: bool) -> socket.socket:
    """A socket on host and port. With `reuse` it only holds the port, for the sockets of the workers."""
    host, port = settings.host, settings.port
    try:
        if reuse:
            return reserve_port(host, port, _family(host))
        bound = socket.socket(_family(host), socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(1)
    except OSError as error:
        raise SettingsError(f"INLAKE_HOST, INLAKE_PORT: cannot listen on {host}:{port}: {error.strerror}.") from None
    return bound


def _family(host: str) -> socket.AddressFamily:
    return socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0][0]


def _without_secrets(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
