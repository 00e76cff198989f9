"""`inlake serve`: the gateway, until it is told to stop."""

from __future__ import annotations

import signal
from typing import Annotated, NoReturn

import typer


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on: INLAKE_HOST.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on, 0 for a free one: INLAKE_PORT.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that share the port: INLAKE_WORKERS.")] = None,
    bus: Annotated[str | None, typer.Option(help="Where events go: INLAKE_BUS.")] = None,
    store: Annotated[str | None, typer.Option(help="Where binaries go: INLAKE_STORE.")] = None,
    registry: Annotated[str | None, typer.Option(help="Where schemas are: INLAKE_REGISTRY.")] = None,
    log_format: Annotated[str | None, typer.Option(help="text or json: INLAKE_LOG_FORMAT.")] = None,
    log_level: Annotated[str | None, typer.Option(help="Least level that is logged: INLAKE_LOG_LEVEL.")] = None,
) -> None:
    """Run the gateway until SIGINT or SIGTERM.

    An option stands above the environment, which stands above the file .env. Without any of them the gateway keeps
    events, binaries and schemas in the folder .inlake and listens on 127.0.0.1:8000.
    """
    from inlake.cli.deployment import load_settings
    from inlake.cli.failures import Failure
    from inlake.settings import SettingsError
    from inlake.web.serving.server import serve as run

    settings, environment = load_settings(
        {
            "host": host,
            "port": port,
            "workers": workers,
            "bus": bus,
            "store": store,
            "registry": registry,
            "log_format": log_format,
            "log_level": log_level,
        }
    )
    for number in signal.SIGINT, signal.SIGTERM:
        signal.signal(number, _end)
    try:
        run(settings, environment)
    except SettingsError as error:
        raise Failure(str(error)) from None


def _end(*_: object) -> NoReturn:
    """End well. The server has its own handlers while it runs; uvicorn raises the signal once more when it is done."""
    raise SystemExit(0)
