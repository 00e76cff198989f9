"""How a command ends: its exit code, and one sentence on stderr where it failed."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import NoReturn, ParamSpec

import typer

from inlake.cli.terminal import between_words, messages
from inlake.errors import InlakeError

P = ParamSpec("P")
DEBUG = "INLAKE_DEBUG"
"""Environment variable that `--debug` sets."""

OK = 0
REFUSED = 1
"""Some of what was sent was refused; another attempt will be refused too."""
USAGE = 2
"""The command, a setting or an input file is wrong; nothing was sent."""
UNAVAILABLE = 3
"""A gateway or a service behind it cannot be reached or failed; another attempt may help."""
UNAUTHORIZED = 401
"""HTTP: the gateway wants to know who sends."""
INTERRUPTED = 130
BROKEN_PIPE = 141
"""Who read the output went away: what a shell reports of a program that SIGPIPE ended."""


class Failure(Exception):
    """A command cannot go on: one sentence for a person, and the exit code."""

    def __init__(self, sentence: str, code: int = USAGE) -> None:
        super().__init__(sentence)
        self.code = code


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """The command with its exceptions turned into sentences and exit codes; no traceback without `--debug`."""

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
            sys.stdout.flush()
        except typer.Exit:
            raise
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            # Python flushes stdout once more at its end, which must not fail again (Python docs, "Note on SIGPIPE")
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(BROKEN_PIPE) from None
        except Exception as error:  # noqa: BLE001 (the edge of the program)
            _end(error)

    return run


def _end(error: Exception) -> NoReturn:
    if os.environ.get(DEBUG):
        raise error
    sentence, code = _explained(error)
    text = f"inlake: {sentence}".encode(errors="backslashreplace").decode()  # a file's name may be bytes
    if sys.stderr.isatty():
        text = between_words(text, messages().width)
    typer.echo(text, err=True)
    raise typer.Exit(code)


def _explained(error: Exception) -> tuple[str, int]:
    from inlake.client import ClientError, Refused
    from inlake.client.journal import JournalError
    from inlake.client.records import BrokenFile
    from inlake.client.tables.faults import TableError

    match error:
        case Failure():
            return str(error), error.code
        case Refused() if error.status == UNAUTHORIZED:
            return f"{error.detail} A key goes into INLAKE_TOKEN, or behind --token.", REFUSED
        case BrokenFile() | JournalError() | TableError():
            return str(error), USAGE
        case ClientError():
            return str(error), REFUSED if isinstance(error, Refused) else UNAVAILABLE
        case InlakeError():
            return error.detail, UNAVAILABLE if error.status >= 500 and error.retryable else REFUSED
        case ModuleNotFoundError() if not (error.name or "inlake").startswith("inlake"):
            return (
                f"This command needs {error.name}, which the server brings: "
                "pip install '.[server]' in a clone of Inlake, or 'FILE.whl[server]' with a wheel of it."
            ), USAGE
        case OSError() if error.filename:
            return f"{error.filename}: {error.strerror}.", USAGE
    return f"Unexpected {type(error).__name__}: {error} (--debug shows where)", UNAVAILABLE
