"""Runs the gateway: uvicorn on one socket, problem documents even for requests that are not HTTP, a graceful stop.

What a server needs is imported where it runs: the parent of workers only watches them, and does without.
"""

from __future__ import annotations

import gc
import ipaddress
import logging
import signal
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from inlake import logs
from inlake.access.usage import BYTES, Usage
from inlake.settings import Settings, SettingsError, unknown_variables
from inlake.web.serving.workers import SharedFile, end_with_parent, reserve_port, run_workers, try_once

if TYPE_CHECKING:
    from inlake.web.openapi import Application

log = logging.getLogger("inlake.web")


def serve(settings: Settings, environment: Mapping[str, str]) -> None:
    """Run until SIGINT or SIGTERM, then answer what is in flight and return. Raises `SettingsError`."""
    logs.configure(settings.log_format, settings.log_level)
    _check_bind(settings)
    for sentence in unknown_variables(environment):
        log.warning("%s", sentence)
    if settings.workers == 1:
        with _bound(settings, reuse=False) as listening:
            _run(_application(settings, environment), settings, listening, say=True)
        return
    if refused := try_once(_refused, settings, environment):  # a wrong setting is said here, once
        raise SettingsError(refused)
    with _bound(settings, reuse=True) as held:
        _say_where(settings, held)
        run_workers(_work, settings, environment, held.getsockname()[1], SharedFile(BYTES))


def _application(
    settings: Settings, environment: Mapping[str, str], worker: int = 0, usage: Usage | None = None
) -> Application:
    from inlake.web.app import create_app
    from inlake.wiring import connect

    return create_app(connect(settings, environment, worker=worker), usage)


def _refused(settings: Settings, environment: Mapping[str, str]) -> str:
    """The fault of the settings; empty when a gateway can be made of them."""
    logs.configure(settings.log_format, settings.log_level)
    try:
        _application(settings, environment)
    except SettingsError as error:
        return str(error)
    return ""


def _work(settings: Settings, environment: Mapping[str, str], port: int, worker: int, usage: SharedFile) -> None:
    """One worker, with a socket of its own on the port of all."""
    logs.configure(settings.log_format, settings.log_level)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all: the parent passes SIGTERM on
    end_with_parent()
    listening = socket.socket(_family(settings.host), socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind((settings.host, port))
    with listening, suppress(SystemExit):
        _run(_application(settings, environment, worker, Usage(usage.descriptor)), settings, listening)


def _run(app: Application, settings: Settings, listening: socket.socket, *, say: bool = False) -> None:
    import uvicorn

    from inlake.web.serving.protocol import Protocol

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
        proxy_headers=False,  # who a client is, its key says; what a proxy tells of it, nobody asks
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=int(settings.shutdown_seconds) or 1,
        timeout_keep_alive=75,  # longer than the usual 60 s of proxies, so that it is them who close
    )

    class Server(uvicorn.Server):
        """Lets pages that wait for new events go before it waits for requests to end."""

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            app.live.close()
            await super().shutdown(sockets)

    Server(config).run(sockets=[listening])


def _say_where(settings: Settings, listening: socket.socket) -> None:
    host, port = listening.getsockname()[:2]
    log.info("listening on http://%s:%d (docs at /docs)", f"[{host}]" if ":" in host else host, port)
    log.info("bus %s, store %s, registry %s", *map(_without_secrets, (settings.bus, settings.store, settings.registry)))


def _check_bind(settings: Settings) -> None:
    try:
        loopback = settings.host == "localhost" or ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        loopback = False
    if not loopback and not settings.allow_anonymous and not settings.has_authentication:
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
