"""The command line: every command by its name, and what they have in common."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import typer

from inlake import __version__
from inlake.cli.commands import keys, outbox, promise, readback, rejects, rights, schemas
from inlake.cli.commands.check import check
from inlake.cli.commands.config import config
from inlake.cli.commands.infer import infer
from inlake.cli.commands.map import draft
from inlake.cli.commands.open import open_
from inlake.cli.commands.send import send
from inlake.cli.commands.serve import serve
from inlake.cli.commands.sweep import sweep
from inlake.cli.commands.tail import tail
from inlake.cli.commands.top import top
from inlake.cli.commands.upload import upload
from inlake.cli.failures import DEBUG, guarded

GROUPS: Sequence[tuple[str, str, Mapping[str, Callable[..., None]]]] = (
    (
        "schemas",
        "Add schemas to the registry and look at them.",
        {"add": schemas.add, "list": schemas.list_, "show": schemas.show, "infer": infer},
    ),
    (
        "promise",
        "Binaries that wait for their record, and records for theirs.",
        {"list": promise.list_, "show": promise.show, "cancel": promise.cancel},
    ),
    (
        "rejects",
        "Records that were refused: see why, mend them, send them again.",
        {"list": rejects.list_, "show": rejects.show, "export": rejects.export, "resend": rejects.resend},
    ),
    (
        "outbox",
        "Events that wait on this disk while Kafka is away.",
        {"list": outbox.list_, "resend": outbox.resend},
    ),
    ("keys", "Make API keys for those who send.", {"new": keys.new}),
    ("rights", "Look at who may do what.", {"check": rights.check}),
)
"""Commands of two words: the first, what it is about, and the second ones."""


def main() -> None:
    """The entry point. Exit codes are those of `inlake.cli.failures`."""
    build()(prog_name="inlake")


def build() -> typer.Typer:
    """All commands. Modules import what is heavy inside their commands, so that `--help` is quick."""
    app = typer.Typer(
        name="inlake",
        help="Send museum records and binaries through checks into a store and an event log.",
        epilog="Settings are environment variables INLAKE_*, or lines of the file .env.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_common)
    app.command("serve")(guarded(serve))
    app.command("send")(guarded(send))
    app.command("map")(guarded(draft))
    app.command("upload")(guarded(upload))
    app.command("verify")(guarded(readback.verify))
    app.command("get")(guarded(readback.get))
    app.command("tail")(guarded(tail))
    app.command("top")(guarded(top))
    app.command("open")(guarded(open_))
    app.command("check")(guarded(check))
    app.command("config")(guarded(config))
    app.command("sweep")(guarded(sweep))
    for name, about, commands in GROUPS:
        group = typer.Typer(help=about, no_args_is_help=True)
        for command, does in commands.items():
            group.command(command)(guarded(does))
        app.add_typer(group, name=name)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"inlake {__version__}")
        raise typer.Exit


def _common(
    debug: Annotated[
        bool, typer.Option("--debug", envvar=DEBUG, help="Show where an unexpected error came from.")
    ] = False,
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    if debug:
        os.environ[DEBUG] = "1"
