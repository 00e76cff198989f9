"""Runs the gateway: uvicorn on one socket, problem documents even for requests that are not HTTP, a graceful stop."""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Mapping

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from inlake import logs
from inlake.errors import BadHttp
from inlake.settings import Settings, SettingsError, unknown_variables
from inlake.web.app import create_app
from inlake.web.problems import problem_response
from inlake.wiring import connect

log = logging.getLogger("inlake.web")


def serve(settings: Settings, environment: Mapping[str, str]) -> None:
    """Run until SIGINT or SIGTERM, then answer what is in flight and return. Raises `SettingsError`."""
    logs.configure(settings.log_format, settings.log_level)
    _check_bind(settings)
    for sentence in unknown_variables(environment):
        log.warning("%s", sentence)
    listening = _listen(settings.host, settings.port)
    app = create_app(connect(settings, environment))
    config = uvicorn.Config(
        app,
        http=Protocol,
        loop="uvloop",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=int(settings.shutdown_seconds) or 1,
        timeout_keep_alive=75,  # longer than the usual 60 s of proxies, so that it is them who close
    )
    host, port = listening.getsockname()[:2]
    log.info("listening on http://%s:%d (docs at /docs)", f"[{host}]" if ":" in host else host, port)
    log.info("bus %s, store %s, registry %s", *map(_without_secrets, (settings.bus, settings.store, settings.registry)))
    uvicorn.Server(config).run(sockets=[listening])


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol, which answers what is not HTTP with a problem document and bounds the size of the headers."""

    def send_400_response(self, msg: str) -> None:
        """Answer a request that cannot be parsed, and hang up."""
        status, headers, body = problem_response(BadHttp(f"{msg.rstrip('.')}: it is not HTTP/1.1."), "unparsed")
        head = b"".join(b"%b: %b\r\n" % header for header in [*headers, (b"connection", b"close")])
        self.transport.write(b"HTTP/1.1 %d Bad Request\r\n%b\r\n%b" % (status, head, body))
        self.transport.close()


def _check_bind(settings: Settings) -> None:
    try:
        loopback = settings.host == "localhost" or ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        loopback = False
    if not loopback and not settings.allow_anonymous:
        raise SettingsError(
            f"INLAKE_HOST: {settings.host} is reachable from other machines and no client has to say who it is; "
            "set INLAKE_ALLOW_ANONYMOUS=true if that is meant."
        )


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        raise SettingsError(f"INLAKE_HOST, INLAKE_PORT: cannot listen on {host}:{port}: {error.strerror}.") from None
    listening.setblocking(False)
    return listening


def _without_secrets(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
