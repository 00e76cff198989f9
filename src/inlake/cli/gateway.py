"""The gateway that a command talks to: its options, the two variables behind them, and the client made of both."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inlake.cli.completion import schema_names
from inlake.cli.failures import REFUSED, Failure

if TYPE_CHECKING:
    from inlake.client import Client

LOCAL = "http://127.0.0.1:8000"
UNKNOWN_SCHEMA = "schema_not_found"
"""The code of a refusal."""
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


def connect(url: str | None, token: str | None, *, retry: float = 60, timeout: float = 60) -> Client:
    """The client for what was given, what `.env` says where nothing was, and the rest as the Client has it."""
    from inlake.client import Client

    kept = _of_file(Path(".env"))
    address, known = url or kept.get("INLAKE_URL") or LOCAL, token or kept.get("INLAKE_TOKEN")
    try:
        return Client(address, token=known, retry=retry, timeout=timeout)
    except ValueError as error:
        raise Failure(str(error)) from None


def require_order(command: str, schema: str, sources: Sequence[str]) -> None:
    """`Failure` where the schema is the name of a file, and what should be a file is none: they are swapped."""
    if sources and Path(schema).exists() and not any(source == "-" or Path(source).exists() for source in sources):
        name = sources[0]
        raise Failure(
            f"{schema} is a file, and there is none called {name}. The schema comes first: "
            f"`inlake {command} {shlex.quote(name)} {shlex.quote(schema)}`."
        )


@contextmanager
def suggesting(client: Client, schema: str) -> Iterator[None]:
    """Where the gateway does not have the schema, the name of one that it has, and that is most like it, is said."""
    from inlake.client import Refused

    try:
        yield
    except Refused as refused:
        if refused.code != UNKNOWN_SCHEMA or (near := _most_like(client, schema)) is None:
            raise
        raise Failure(f"{client.url} has no schema {schema!r}. Did you mean {near!r}?", REFUSED) from None


def _most_like(client: Client, schema: str) -> str | None:
    """None where there is none, and where the schema is there after all: it has not that version."""
    from difflib import get_close_matches

    from inlake.client import ClientError

    try:
        names = [str(entry.get("name")) for entry in client.schemas()]
    except ClientError:
        return None
    return next(iter(get_close_matches(schema, names, n=1)), None) if schema not in names else None


def note_rejects(client: Client, schema: str) -> None:
    """Say on stderr how one sees what the gateway refused; nothing where it keeps none of that."""
    from inlake.cli.terminal import note
    from inlake.client import ClientError

    try:
        client.causes(schema=schema)
    except ClientError:
        return
    there = "" if client.url in {LOCAL, os.environ.get("INLAKE_URL")} else f" --url {client.url}"
    note(f"The gateway keeps what it refused: `inlake rejects list --schema {schema}{there}` shows why, by causes.")


def _of_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(path).items() if value}
