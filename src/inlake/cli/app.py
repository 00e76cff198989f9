"""The command line: every command by its name, and what they have in common."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from inlake import __version__
from inlake.cli.commands import keys, promise, readback, rejects, rights, schemas
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
    group = typer.Typer(help="Add schemas to the registry and look at them.", no_args_is_help=True)
    group.command("add")(guarded(schemas.add))
    group.command("list")(guarded(schemas.list_))
    group.command("show")(guarded(schemas.show))
    group.command("infer")(guarded(infer))
    app.add_typer(group, name="schemas")
    group = typer.Typer(help="Binaries that wait for their record, and records for theirs.", no_args_is_help=True)
    group.command("list")(guarded(promise.list_))
    group.command("show")(guarded(promise.show))
    group.command("cancel")(guarded(promise.cancel))
    app.add_typer(group, name="promise")
    group = typer.Typer(help="Records that were refused: see why, mend them, send them again.", no_args_is_help=True)
    group.command("list")(guarded(rejects.list_))
    group.command("show")(guarded(rejects.show))
    group.command("export")(guarded(rejects.export))
    group.command("resend")(guarded(rejects.resend))
    app.add_typer(group, name="rejects")
    group = typer.Typer(help="Make API keys for those who send.", no_args_is_help=True)
    group.command("new")(guarded(keys.new))
    app.add_typer(group, name="keys")
    group = typer.Typer(help="Look at who may do what.", no_args_is_help=True)
    group.command("check")(guarded(rights.check))
    app.add_typer(group, name="rights")
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
