"""The two streams that a command writes, and JSON that cannot move the cursor."""

from __future__ import annotations

import base64
import json
import re
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 10_000


def output() -> Console:
    """stdout; what goes to a file or a pipe is not cut to a width."""
    return _screen(width=None if sys.stdout.isatty() else WIDE)


def messages() -> Console:
    """stderr: progress and notes."""
    return _screen(stderr=True)


def _screen(**options: Any) -> Console:
    from rich.console import Console  # a third of the time that `inlake --version` takes

    class Screen(Console):
        """A console that reports a reader who went away as every other stream does, instead of ending the program."""

        def on_broken_pipe(self) -> NoReturn:
            raise BrokenPipeError

    return Screen(soft_wrap=True, highlight=False, markup=False, **options)


def as_json(value: Any, *, indent: int | None = None) -> str:
    """JSON of anything a codec decodes; what JSON has no word for becomes text, bytes as base64."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(value, ensure_ascii=False, indent=indent, separators=separators, default=_text)
    return printable(text)


def printable(text: str) -> str:
    """Text without control characters and lone surrogates, each replaced by its JSON escape; newlines stay."""
    return re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]", lambda m: f"\\u{ord(m[0]):04x}", text)


def _text(value: Any) -> str:
    return base64.b64encode(value).decode() if isinstance(value, bytes | bytearray) else str(value)
