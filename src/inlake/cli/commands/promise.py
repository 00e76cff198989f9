"""`inlake promise`: binaries that wait for their record, and records that wait for their binary."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from inlake.cli.gateway import Token, Url, connect
from inlake.cli.terminal import as_json as to_json
from inlake.cli.terminal import output, printable

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object a promise.")]
Puuid = Annotated[str, typer.Argument(metavar="PUUID", help="Its name, as the gateway told it.")]


def list_(url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """List your own promises that wait for their binary or their record.

    Exit code: 0 listed; 1 refused; 2 the command is wrong; 3 the gateway cannot be reached or failed.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    with connect(url, token) as client:
        found = list(client.promises())
    if as_json:
        for promise in found:
            typer.echo(to_json(promise))
        return
    if not found:
        typer.echo("No promise of yours waits.")
        return
    table = Table("promise", "state", "bytes", "expires", "file", box=SIMPLE_HEAD, pad_edge=False)
    for promise in found:
        names = (promise["puuid"], promise["state"], _bytes(promise), promise["expires_at"] or "", promise["filename"])
        table.add_row(*map(printable, names))
    output().print(table)


def show(puuid: Puuid, url: Url = None, token: Token = None, as_json: AsJson = False) -> None:
    """Show a promise.

    Its state is shown, the bytes received, and the receipt once its event is published.

    Exit code: 0 it is there; 1 it is not, or has expired; 2 the command is wrong; 3 the gateway cannot be reached
    or failed.
    """
    with connect(url, token) as client:
        promise = client.promise(puuid)
    if as_json:
        typer.echo(to_json(promise))
        return
    lines = {
        "promise": promise["puuid"],
        "state": promise["state"] + (f": {promise['reason']}" if promise.get("reason") else ""),
        "file": f"{promise['filename'] or '(no name)'}, {promise['content_type']}",
        "bytes": _bytes(promise),
        "sha256": promise["sha256"],
        "expires": promise["expires_at"],
        "event": promise["receipt"] and _place(promise["receipt"]),
    }
    for name, value in lines.items():
        if value:
            typer.echo(f"{name:<8} {printable(str(value))}")


def cancel(puuid: Puuid, url: Url = None, token: Token = None) -> None:
    """Give a promise up.

    Its binary is deleted, and a record that waits for it is not published.

    Exit code: 0 given up; 1 it is not there, or its event is out; 2 the command is wrong; 3 the gateway cannot be
    reached or failed.
    """
    with connect(url, token) as client:
        client.cancel_promise(puuid)
    typer.echo(f"Given up: {printable(puuid)}")


def _bytes(promise: dict[str, Any]) -> str:
    received, size = promise["received"], promise["size"]
    return f"{received:,}" if size in {None, received} else f"{received:,} of {size:,}"


def _place(receipt: dict[str, Any]) -> str:
    if receipt["offset"] is None:
        return f"{receipt['id']} for {receipt['topic']}, by the gateway's outbox"
    return f"{receipt['id']} at {receipt['topic']}, partition {receipt['partition']}, offset {receipt['offset']}"
