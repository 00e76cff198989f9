"""Runs the gateway: uvicorn on one socket, problem documents even for requests that are not HTTP, a graceful stop.

What a server needs is imported where it runs: the parent of workers only watches them, and does without.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from inlake import logs
from inlake.access.usage import BYTES, Usage
from inlake.metrics import SLOT, Metrics
from inlake.settings import Settings, SettingsError, unknown_variables
from inlake.web.serving.sockets import address_of, bound, check_bind, inode, leave, of_worker
from inlake.web.serving.tls import certificate
from inlake.web.serving.workers import Shared, SharedFile, end_with_parent, run_workers, try_once

if TYPE_CHECKING:
    import uvicorn

    from inlake.web.openapi import Application

log = logging.getLogger("inlake.web")


def serve(settings: Settings, environment: Mapping[str, str]) -> None:
    """Run until SIGINT or SIGTERM, then answer what is in flight and return. Raises `SettingsError`."""
    logs.configure(settings.log_format, settings.log_level)
    check_bind(settings)
    for sentence in unknown_variables(environment):
        log.warning("%s", sentence)
    if settings.workers == 1:
        with _bound(settings) as listening:
            _run(_application(settings, environment), settings, listening, say=True)
        return
    if refused := try_once(_refused, settings, environment):  # a wrong setting is said here, once
        raise SettingsError(refused)
    with _bound(settings) as held:
        _say_where(settings, held)
        shared = Shared(held, SharedFile(BYTES), SharedFile(settings.workers * SLOT))
        run_workers(_work, settings, environment, shared, leave)


def _application(
    settings: Settings, environment: Mapping[str, str], worker: int = 0, shared: Shared | None = None
) -> Application:
    from inlake.web.app import create_app
    from inlake.wiring import connect

    d = connect(settings, environment, worker=worker)
    if shared is None:
        return create_app(d)
    metrics = Metrics(shared.metrics.descriptor, settings.workers, worker)
    return create_app(d, metrics, Usage(shared.usage.descriptor))


def _refused(settings: Settings, environment: Mapping[str, str]) -> str:
    """The fault of the settings; empty when a gateway can be made of them."""
    logs.configure(settings.log_format, settings.log_level)
    try:
        certificate(settings)
        _application(settings, environment)
    except SettingsError as error:
        return str(error)
    return ""


def _work(settings: Settings, environment: Mapping[str, str], shared: Shared, worker: int) -> None:
    """One worker."""
    logs.configure(settings.log_format, settings.log_level)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all: the parent passes SIGTERM on
    end_with_parent()
    with of_worker(shared.held) as listening, suppress(SystemExit):
        _run(_application(settings, environment, worker, shared), settings, listening)


def _run(app: Application, settings: Settings, listening: socket.socket, *, say: bool = False) -> None:
    import uvicorn

    from inlake.web.serving.backlog import LENGTH
    from inlake.web.serving.protocol import Protocol

    # The collector of reference cycles took a sixth of the time of a stream: what is there now stays for good, and of
    # the thousand records of a window none is in a cycle.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    listening.listen(LENGTH)
    listening.setblocking(False)
    if say:
        _say_where(settings, listening)
    idle = settings.body_idle_seconds
    limits = {"head_bytes": settings.max_request_line, "head_seconds": idle, "write_seconds": idle}
    config = uvicorn.Config(
        app,
        backlog=LENGTH,
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

    _server(config, app, settings).run(sockets=[listening])


def _server(config: uvicorn.Config, app: Application, settings: Settings) -> uvicorn.Server:
    """uvicorn's server with our TLS, whose clients leave before it stops."""
    import uvicorn

    from inlake.web.serving.backlog import Backlog

    tls = certificate(settings)
    config.load()
    config.ssl = None if tls is None else tls.context

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            if tls is not None:
                self.reloading = asyncio.create_task(tls.reload_for_ever())
            await super().startup(sockets)
            self.backlogs = [Backlog(listening, self.protocol, config.ssl) for listening in sockets or ()]

        def protocol(self) -> asyncio.Protocol:
            """Makes the protocol of a new connection, as uvicorn does."""
            protocol: Any = config.http_protocol_class
            made: asyncio.Protocol = protocol(
                config=config, server_state=self.server_state, app_state=self.lifespan.state
            )
            return made

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await self.let_clients_leave()
            app.live.close()  # pages that wait for new events
            for backlog in self.backlogs:
                await backlog.close()
            await super().shutdown(sockets)

        async def let_clients_leave(self) -> None:
            """Takes requests for a while, and says in each answer and in `/health/ready` to send the next elsewhere."""
            app.stop()
            if settings.workers == 1:
                leave(settings)
            self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
            for _tenth in range(round(10 * settings.stop_delay)):
                if self.force_exit:  # a second Ctrl-C
                    break
                await asyncio.sleep(0.1)

    return Server(config)


@contextmanager
def _bound(settings: Settings) -> Iterator[socket.socket]:
    """The socket while the block runs; nothing is left of it in the file system."""
    with bound(settings) as held:
        own = inode(settings)
        try:
            yield held
        finally:
            if inode(settings) == own:
                leave(settings)


def _say_where(settings: Settings, listening: socket.socket) -> None:
    log.info("listening on %s", address_of(settings, listening))
    places = {name: getattr(settings, name) for name in ("bus", "store", "registry", "outbox", "traces")}
    log.info(", ".join(f"{name} {_without_secrets(url)}" for name, url in places.items() if url))


def _without_secrets(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
