"""`inlake verify` and `inlake get`: objects and events are read back from the gateway."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inlake.cli.failures import REFUSED, Failure
from inlake.cli.gateway import Token, Url, connect
from inlake.cli.terminal import as_json as to_json
from inlake.cli.terminal import printable

if TYPE_CHECKING:
    from inlake.client.receipts import Receipt

PUUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def verify(
    receipts: Annotated[Path, typer.Argument(metavar="RECEIPTS", help="What --receipts wrote.")],
    url: Url = None,
    token: Token = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each receipt.")] = False,
) -> None:
    """Read objects back and compare them, and where their events are, with receipts.

    Exit code: 0 all is as the receipts say; 1 something is not; 2 the file holds no receipts; 3 the gateway cannot be
    reached or failed.
    """
    from inlake.client.readback import verify as read_back

    found = _receipts(receipts)
    checked = bad = 0
    with connect(url, token) as client:
        for receipt, differences in read_back(client, found):
            checked += 1
            bad += bool(differences)
            name = receipt.get("file") or receipt["puuid"]
            if as_json:
                typer.echo(
                    to_json({"file": receipt.get("file"), "puuid": receipt["puuid"], "differences": differences})
                )
            for difference in differences if not as_json else ():
                typer.echo(printable(f"{name}: {difference}"))
    if not as_json:
        typer.echo(f"verified  {checked - bad:,}\ndifferent {bad:,}")
        if checked < len(found):
            typer.echo(f"{len(found) - checked:,} without an object were not read", err=True)
    raise typer.Exit(REFUSED if bad else 0)


def get(
    what: Annotated[
        list[str], typer.Argument(metavar="PUUID|RECEIPTS", help="Names of objects, or what --receipts wrote.")
    ],
    into: Annotated[Path, typer.Option(metavar="FOLDER", help="Where files go.")] = Path(),
    url: Url = None,
    token: Token = None,
) -> None:
    """Download objects under the names that their files had; a download that was cut goes on.

    Exit code: 0 all are there; 1 refused, or one is not what was stored; 2 the command is wrong; 3 the gateway cannot
    be reached or failed.
    """
    from inlake.client.readback import Damaged, download

    puuids = [puuid for name in what for puuid in _puuids(name)]
    into.mkdir(parents=True, exist_ok=True)
    with connect(url, token) as client:
        for puuid in puuids:
            try:
                typer.echo(printable(str(download(client, puuid, into))))
            except Damaged as damaged:
                raise Failure(str(damaged), REFUSED) from None


def _puuids(name: str) -> list[str]:
    if PUUID.fullmatch(name):
        return [name]
    return [str(receipt["puuid"]) for receipt in _receipts(Path(name)) if receipt.get("puuid")]


def _receipts(path: Path) -> list[Receipt]:
    from inlake.client.readback import read_ledger

    try:
        return read_ledger(path)
    except ValueError:
        raise Failure(f"{path}: these are no receipts.") from None
