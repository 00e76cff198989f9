"""The gateway that a command talks to: its options, the two variables behind them, and the client made of both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inlake.cli.completion import schema_names
from inlake.cli.failures import Failure

if TYPE_CHECKING:
    from inlake.client import Client

LOCAL = "http://127.0.0.1:8000"
Url = Annotated[str | None, typer.Option(envvar="INLAKE_URL", help=f"Address of the gateway; {LOCAL} if not given.")]
Token = Annotated[str | None, typer.Option(envvar="INLAKE_TOKEN", help="Sent as `Authorization: Bearer`.")]
Destination = Annotated[str | None, typer.Option(help="Database that consumers should load the records into.")]
Version = Annotated[int | None, typer.Option(help="Version of the schema; the latest if not given.")]
MessageName = Annotated[str | None, typer.Option(help="Protobuf: full name of the message.")]
Retry = Annotated[float, typer.Option(metavar="SECONDS", help="How long to send again where that may help.")]
Schema = Annotated[
    str,
    typer.Argument(metavar="SCHEMA", help="Name of the schema: `tate.artwork` for one.", autocompletion=schema_names),
]


def connect(url: str | None, token: str | None, *, retry: float = 60) -> Client:
    """The client for what was given, what `.env` says where nothing was, and `retry` as the Client has it."""
    from inlake.client import Client

    kept = _of_file(Path(".env"))
    try:
        return Client(url or kept.get("INLAKE_URL") or LOCAL, token=token or kept.get("INLAKE_TOKEN"), retry=retry)
    except ValueError as error:
        raise Failure(str(error)) from None


def _of_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(path).items() if value}
