"""`inlake verify` and `inlake get`: objects and events are read back from the gateway."""

from __future__ import annotations

import re
from collections.abc import Iterator
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
    bag: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="A BagIt bag that went in: check it too, and that all of it is in."),
    ] = None,
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
    in_bag = 0
    for name, difference in _of_bag(bag, found) if bag else ():
        in_bag += 1
        told = to_json({"file": name, "puuid": None, "differences": [difference]})
        typer.echo(told if as_json else printable(f"{name}: {difference}"))
    if not as_json:
        typer.echo(f"verified  {checked - bad:,}\ndifferent {bad + in_bag:,}")
        if checked < len(found):
            typer.echo(f"{len(found) - checked:,} without an object were not read", err=True)
    raise typer.Exit(REFUSED if bad or in_bag else 0)


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


def _of_bag(folder: Path, receipts: list[Receipt]) -> Iterator[tuple[str, str]]:
    from inlake.client.bag import Bag, differences, is_bag

    if not is_bag(folder):
        raise Failure(f"{folder}: this is no bag: there is no bagit.txt in it.")
    return differences(Bag(folder), {str(one.get("file")): str(one.get("sha256")) for one in receipts})


def _receipts(path: Path) -> list[Receipt]:
    from inlake.client.readback import read_ledger

    try:
        return read_ledger(path)
    except ValueError:
        raise Failure(f"{path}: these are no receipts.") from None
