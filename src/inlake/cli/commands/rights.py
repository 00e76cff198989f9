"""`inlake rights`: what the file of rights says of somebody."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from inlake.cli.failures import Failure
from inlake.cli.terminal import as_json as to_json


def check(
    principal: Annotated[
        str, typer.Argument(metavar="PRINCIPAL", help="As events have it: token:NAME, oidc:NAME, ...")
    ],
    schema: Annotated[str, typer.Argument(metavar="SCHEMA", help="Name of a schema, which need not be there.")],
    destination: Annotated[str | None, typer.Option(metavar="NAME", help="Destination of the records.")] = None,
    group: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A group of theirs; may be repeated.")] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The file of rules. Default: that of INLAKE_RIGHTS.")
    ] = None,
    may: Annotated[str | None, typer.Option(metavar="ACTION", help="Exit code 1 unless this is allowed.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what a principal may do with a schema.

    The rule of the file that decides it is named. The first rule that fits the principal or a group of theirs, the
    schema and the destination decides; where none fits, nothing is allowed.
    """
    from inlake.access.rights import ACTIONS, WHO, Caller, read
    from inlake.settings import read_environment

    if not WHO.fullmatch(principal) or principal == "*":
        raise Failure(
            f"{principal} is no principal: write token:{principal} for who sends with an API key, oidc:{principal} for "
            f"who has a token, proxy:{principal} for whom a proxy names, or anonymous."
        )
    path = file or read_environment(environ=os.environ).get("INLAKE_RIGHTS")
    if path is None:
        raise Failure("There is no file of rights: INLAKE_RIGHTS is not set, so everybody may do all. Or give --file.")
    if may is not None and may not in ACTIONS:
        raise Failure(f"There is no action {may!r}: there are {', '.join(ACTIONS)}.")
    try:
        rights = read(Path(path))
    except ValueError as error:
        raise Failure(str(error)) from None
    decisive = rights.decisive(Caller(principal, frozenset(group or ())).names, schema, destination)
    allowed = decisive.rule.may if decisive else ()
    if as_json:
        rule = decisive.number if decisive else None
        typer.echo(to_json({"principal": principal, "schema": schema, "may": list(allowed), "rule": rule}))
    else:
        for action in ACTIONS:
            typer.echo(f"{action:<11} {'yes' if action in allowed else 'no'}")
        typer.echo(f"Rule {decisive.number} of {path} decides." if decisive else f"No rule of {path} fits.")
    if may is not None and may not in allowed:
        raise typer.Exit(1)
