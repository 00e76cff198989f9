"""The command line: every command by its name, and what they have in common."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Annotated

import typer

from inlake import __version__
from inlake.cli.failures import DEBUG, guarded

COMMANDS: Mapping[str, str] = {
    "serve": "serve:serve",
    "send": "send:send",
    "map": "map:draft",
    "upload": "upload:upload",
    "verify": "readback:verify",
    "get": "readback:get",
    "tail": "tail:tail",
    "top": "top:top",
    "open": "open:open_",
    "check": "check:check",
    "config": "config:config",
    "sweep": "sweep:sweep",
}
"""Commands of one word: the module and the function of each."""
GROUPS: Sequence[tuple[str, str, Mapping[str, str]]] = (
    (
        "schemas",
        "Add schemas to the registry and look at them.",
        {"add": "schemas:add", "list": "schemas:list_", "show": "schemas:show", "infer": "infer:infer"},
    ),
    (
        "promise",
        "Binaries that wait for their record, and records for theirs.",
        {"list": "promise:list_", "show": "promise:show", "cancel": "promise:cancel"},
    ),
    (
        "rejects",
        "Records that were refused: see why, mend them, send them again.",
        {"list": "rejects:list_", "show": "rejects:show", "export": "rejects:export", "resend": "rejects:resend"},
    ),
    (
        "outbox",
        "Events that wait on this disk while Kafka is away.",
        {"list": "outbox:list_", "resend": "outbox:resend"},
    ),
    ("keys", "Make API keys for those who send.", {"new": "keys:new"}),
    ("rights", "Look at who may do what.", {"check": "rights:check"}),
)
"""Commands of two words: the first, what it is about, and the second ones."""


def main() -> None:
    """The entry point. Exit codes are those of `inlake.cli.failures`."""
    build(next(iter(sys.argv[1:]), ""))(prog_name="inlake")


def build(word: str = "") -> typer.Typer:
    """The commands that begin with a word, or all where none does: the others take a third of the time of a start.

    Modules import what is heavy inside their commands, so that `--help` is quick.
    """
    app = typer.Typer(
        name="inlake",
        help="Send museum records and binaries through checks into a store and an event log.",
        epilog="Settings are environment variables INLAKE_*, or lines of the file .env.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_common)
    names = [*COMMANDS, *(name for name, _, _ in GROUPS)]
    wanted = [word] if word in names else names
    for name, place in COMMANDS.items():
        if name in wanted:
            app.command(name)(guarded(_function(place)))
    for name, about, commands in GROUPS:
        if name in wanted:
            group = typer.Typer(help=about, no_args_is_help=True)
            for command, place in commands.items():
                group.command(command)(guarded(_function(place)))
            app.add_typer(group, name=name)
    return app


def _function(place: str) -> Callable[..., None]:
    """The function of a command, whose module is imported now."""
    module, _, name = place.partition(":")
    function: Callable[..., None] = getattr(import_module(f"inlake.cli.commands.{module}"), name)
    return function


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
