"""`inlake keys`: API keys for those who send."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import Annotated

import typer

from inlake.cli.failures import Failure
from inlake.cli.terminal import as_json as to_json

NAME = re.compile(r"[A-Za-z0-9._@-]{1,100}")
"""A name as `inlake.access.keys` takes it."""
KEY_BYTES = 32


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Who sends: events say token:NAME.")],
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Add the line to this file, that of INLAKE_API_KEYS.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make a random API key.

    The line of INLAKE_API_KEYS that lets it in is printed with it. The key is shown once and kept nowhere: the line
    holds its sha256 only. A second key of one name is as good as the first, so that a key can be changed without a
    pause; take the old line out when it is no longer used.
    """
    if not NAME.fullmatch(name):
        raise Failure(f"{name!r} is no name of a sender: 1 to 100 of the characters A-Z a-z 0-9 . _ @ -")
    key = secrets.token_urlsafe(KEY_BYTES)
    line = f"{name}:{hashlib.sha256(key.encode()).hexdigest()}"
    if file:
        _append(file, line)
    if as_json:
        typer.echo(to_json({"name": name, "key": key, "line": line}))
        return
    typer.echo(f"Key for {name}, to be set as INLAKE_TOKEN there; it is shown only now:\n{key}")
    typer.echo(f"Added to {file}:" if file else "Line for the file that INLAKE_API_KEYS names:")
    typer.echo(line)


def _append(file: Path, line: str) -> None:
    """Add a line; a new file is for its owner only."""
    with os.fdopen(os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "r+b") as opened:
        text = opened.read()
        between = b"" if not text or text.endswith(b"\n") else b"\n"
        opened.write(between + line.encode() + b"\n")
