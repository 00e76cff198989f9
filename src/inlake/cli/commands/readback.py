"""`inlake verify` and `inlake get`: objects and events are read back from the gateway."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inlake.cli.failures import REFUSED, Failure
from inlake.cli.gateway import Token, Url, connect
from inlake.cli.terminal import as_json as to_json
from inlake.cli.terminal import bar_width, messages, output, printable, shown

if TYPE_CHECKING:
    from inlake.client import Client
    from inlake.client.readback import Verdict
    from inlake.client.receipts import Receipt

EVENT_VERSIONS = "57"
"""The versions of UUIDs that are an event's; an object's are 4 and 8."""
PUUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def verify(
    receipts: Annotated[Path, typer.Argument(metavar="RECEIPTS", help="What --receipts wrote.")],
    bag: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="A BagIt bag that went in: check it too, and that all of it is in."),
    ] = None,
    events: Annotated[
        bool, typer.Option("--events", help="Read the events too, from the bus of the settings (INLAKE_BUS).")
    ] = False,
    url: Url = None,
    token: Token = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each receipt.")] = False,
) -> None:
    """Read objects back and compare them with receipts.

    Where their events are is asked of the gateway and compared too; --events reads their topics through, and compares
    the events themselves. It needs inlake[server], and to be where the gateway's settings are.

    Exit code: 0 all is as the receipts say; 1 something is not; 2 the file holds no receipts; 3 the gateway cannot
    be reached or failed.
    """
    found = _receipts(receipts)
    published = _events_of(found) if events else None
    checked = bad = 0
    with connect(url, token) as client:
        for receipt, found_in_store in _read_back(client, found, quiet=as_json):
            differences = (*found_in_store, *(published(receipt) if published else ()))
            checked += 1
            bad += bool(differences)
            name = receipt.get("file") or receipt["puuid"]
            if as_json:
                line = {"file": receipt.get("file"), "puuid": receipt["puuid"], "differences": differences}
                typer.echo(to_json(line))
            for difference in differences if not as_json else ():
                output().print(printable(f"{name}: {difference}"))
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
        list[str],
        typer.Argument(
            metavar="PUUID|EVENT|RECEIPTS", help="Names of objects, ids of events, or what --receipts wrote."
        ),
    ],
    into: Annotated[Path, typer.Option(metavar="FOLDER", help="Where files go.")] = Path(),
    url: Url = None,
    token: Token = None,
) -> None:
    """Download objects under the names that their files had.

    A download that was cut goes on. The id of an event is looked up on the bus of the settings (INLAKE_BUS), which
    needs inlake[server].

    Exit code: 0 all are there; 1 refused, or one is not what was stored; 2 the command is wrong; 3 the gateway
    cannot be reached or failed.
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


def _read_back(client: Client, receipts: list[Receipt], *, quiet: bool) -> Iterator[Verdict]:
    """Reads back what each receipt names, with a bar meanwhile unless it is `quiet`."""
    from rich.progress import BarColumn, MofNCompleteColumn

    from inlake.cli.progress import progress
    from inlake.client.readback import verify as read_back

    with shown(progress(BarColumn(bar_width(messages())), MofNCompleteColumn(), quiet=quiet)) as bar:
        task = bar.add_task("read back", total=sum(1 for one in receipts if one.get("puuid")))
        for verdict in read_back(client, receipts):
            bar.advance(task)
            yield verdict


def _puuids(name: str) -> list[str]:
    from inlake.client.readback import puuids_of

    if PUUID.fullmatch(name):
        if name[14] in EVENT_VERSIONS:
            from inlake.cli.published import puuid_of

            return [puuid_of(name.lower())]
        return [name]
    if not Path(name).exists():
        raise Failure(
            f"{name} is neither the name of an object or the id of an event (both are UUIDs, such as "
            "1b4e28ba-2fa1-4cd2-883f-0016d3cca427), nor a file of receipts that is here."
        )
    return list(puuids_of(_receipts(Path(name))))


def _events_of(receipts: list[Receipt]) -> Callable[[Receipt], tuple[str, ...]]:
    """A function that says how the events of a receipt differ from it."""
    from inlake.cli.published import differences, find_events

    topics = sorted({str(receipt["topic"]) for receipt in receipts if receipt.get("topic")})
    found = find_events({str(receipt["id"]) for receipt in receipts}, topics) if topics else {}
    return lambda receipt: tuple(differences(receipt, found))


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
