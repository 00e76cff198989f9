"""`inlake rejects`: records that were refused, by what they were refused for, mended and sent again."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inlake.cli.failures import Failure
from inlake.cli.gateway import Token, Url, connect
from inlake.cli.terminal import as_json as to_json
from inlake.cli.terminal import messages, output, paragraph, printable

if TYPE_CHECKING:
    from inlake.client import Client

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]
OfSchema = Annotated[str | None, typer.Option("--schema", help="Only those of this schema.")]
Which = Annotated[
    list[str] | None, typer.Argument(metavar="ID", help="A reject, or a cause and all its rejects; all, if not given.")
]
ID_LENGTH = 36
"""The length of a reject's id; a cause's is shorter."""
MOST_REASONS = 5
AT_ONCE = 8
"""Connections that rejects are sent again by."""


def list_(url: Url = None, token: Token = None, schema: OfSchema = None, as_json: AsJson = False) -> None:
    """List what your records were refused for.

    Each cause has how many there are, why, and one for an example. Records that were mended since do not count.

    Exit code: 0 listed; 1 refused; 2 the command is wrong; 3 the gateway cannot be reached or failed.
    """
    with connect(url, token) as client:
        causes = client.causes(schema=schema)
    if as_json:
        for cause in causes:
            typer.echo(to_json(cause))
        return
    if not causes:
        typer.echo("No record of yours is refused and not mended.")
        return
    console = output()
    for cause in causes:
        count = cause["count"]
        console.print(paragraph(f"{count:,} record{'s' if count != 1 else ''} of {cause['schema'] or '(no schema)'}"))
        for reason in cause["reasons"][:MOST_REASONS]:
            console.print(paragraph(f"{reason['code']} at {reason['pointer'] or 'the record'}", "  "))
        if (more := len(cause["reasons"]) - MOST_REASONS) > 0:
            console.print(f"  and {more} more")
        console.print(paragraph(f"cause {cause['id']}, for one {cause['example']}: {cause['detail']}", "  "))


def show(
    reject: Annotated[str, typer.Argument(metavar="ID", help="A reject.")],
    url: Url = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show a refused record.

    Where it came from is shown, all reasons, and its text.

    Exit code: 0 it is there; 1 it is not; 2 the command is wrong; 3 the gateway cannot be reached or failed.
    """
    with connect(url, token) as client:
        found = client.reject(reject)
    if as_json:
        typer.echo(to_json(found))
        return
    line = f", line {found['line']}" if found["line"] else ""
    lines = {
        "reject": found["id"],
        "schema": found["schema"] + (f"/{found['destination']}" if found["destination"] else ""),
        "refused": f"{found['time']}, sent by {found['principal']}{line}",
        "file": found["filename"] + (" (was sent with it, and not kept)" if found["has_file"] else ""),
        "mended": found["mended"] and f"{found['mended_at']}, event {found['mended']}",
    }
    for name, value in lines.items():
        if value:
            typer.echo(f"{name:<8} {printable(value)}")
    for error in found["errors"]:
        typer.echo(paragraph(f"{error['pointer'] or 'record'}: {error['detail']}", "  "))
    typer.echo(printable(found["text"]))


def export(which: Which = None, url: Url = None, token: Token = None, schema: OfSchema = None) -> None:
    """Print the text of refused records, one a line.

    It can be mended by other means, and sent with `inlake send`. Records that came with a file, were no JSON, or
    have several lines are on one line each, as far as they can be.

    Exit code: 0 printed; 1 refused; 2 the command is wrong; 3 the gateway cannot be reached or failed.
    """
    with connect(url, token) as client:
        for found in _chosen(client, which, schema):
            text = found["text"].encode("latin-1" if found["is_bytes"] else "utf-8")
            sys.stdout.buffer.write(b" ".join(text.split(b"\n")).replace(b"\r", b" ") + b"\n")


def resend(
    which: Which = None,
    url: Url = None,
    token: Token = None,
    schema: OfSchema = None,
    values: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="POINTER=VALUE",
            help="Put a value at a place first: JSON, or text as it is; `*` in the pointer stands for each place that "
            "is wrong. May be given several times.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the mended records, and send none.")] = False,
) -> None:
    """Send refused records again, mended or as they came.

    What is accepted counts as mended.

    Exit code: 0 all were accepted; 1 some still do not fit; 2 the command is wrong; 3 the gateway cannot be reached
    or failed.
    """
    from inlake.cli.report import SHOWN_RECORDS

    places = [_place(text) for text in values or []]
    with connect(url, token) as client:
        answers = _at_once(client, list(_chosen(client, which, schema)), partial(_send, places=places, dry_run=dry_run))
        accepted = refused = 0
        for found, error in answers:
            accepted, refused = accepted + (error is None), refused + (error is not None)
            if error is not None and refused <= SHOWN_RECORDS:
                messages().print(printable(f"{found['id']}: {error}"))
    if refused > SHOWN_RECORDS:
        messages().print(f"... and {refused - SHOWN_RECORDS:,} more: `inlake rejects list` has them by their causes.")
    done = "would be accepted" if dry_run else "sent and accepted"
    typer.echo(f"{accepted:,} {done}, {refused:,} still refused.")
    if refused:
        raise typer.Exit(1)


def _at_once(
    client: Client, rejects: list[dict[str, Any]], send: Callable[[Client, dict[str, Any]], None]
) -> Iterator[tuple[dict[str, Any], Exception | None]]:
    """Each reject, and why it was not accepted: a gateway keeps its answer to each, and that takes time."""
    from concurrent.futures import ThreadPoolExecutor
    from threading import local

    from inlake.client.problems import Refused

    mine = local()
    clients: list[Client] = []

    def one(found: dict[str, Any]) -> tuple[dict[str, Any], Exception | None]:
        if not hasattr(mine, "client"):
            mine.client = client.another()
            clients.append(mine.client)
        try:
            send(mine.client, found)
        except (Refused, ValueError) as error:
            return found, error
        return found, None

    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        yield from pool.map(one, rejects)
    finally:
        pool.shutdown(cancel_futures=True)
        for used in clients:
            used.close()


def _send(client: Client, found: dict[str, Any], *, places: list[tuple[str, str]], dry_run: bool) -> None:
    """Raises `Refused`, and ValueError for a place that the record does not have."""
    from inlake.client.gateway import Address
    from inlake.client.mending import meant, set_values

    text = found["text"]
    for pointer, value in places:
        text = set_values(text, meant(pointer, [error["pointer"] for error in found["errors"]]), value)
    record = text.encode("latin-1" if found["is_bytes"] else "utf-8")
    if dry_run:
        to = Address(found["schema"], found["destination"], found["version"], found["message"])
        client.validate_text(to, record)
    else:
        client.resend(found["id"], record)


def _chosen(client: Client, which: list[str] | None, schema: str | None) -> Iterator[dict[str, Any]]:
    if not which:
        yield from client.rejects(schema=schema)
    for name in which or []:
        if len(name) == ID_LENGTH:
            yield client.reject(name)
        else:
            rejects = client.rejects(schema=schema, cause=name)
            first = next(rejects, None)
            if first is None:
                raise Failure(
                    f"No refused record that is still open has the cause {name}: `inlake rejects list` has all causes."
                )
            yield from (first, *rejects)


def _place(text: str) -> tuple[str, str]:
    from inlake.client.mending import as_json

    pointer, equals, value = text.partition("=")
    if not equals or (pointer and not pointer.startswith("/")):
        raise Failure(f"--set {text}: write POINTER=VALUE, for one /dateRange/startYear=1889")
    return pointer, as_json(value)
