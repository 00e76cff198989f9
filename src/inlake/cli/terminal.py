"""The two streams that a command writes, and JSON that cannot move the cursor."""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from textwrap import fill
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

WIDE = 10_000
STYLES = {
    "bar.complete": "green", "bar.finished": "green", "bar.pulse": "green", "bar.back": "dim",
    "progress.percentage": "none", "progress.remaining": "none", "progress.elapsed": "none", "progress.spinner": "none",
}  # fmt: skip
"""Styles in the terminal's own colours, readable on a dark ground and on a light one; red is for what is wrong."""


_WITH_BAR: list[Console] = []
"""Where a bar is shown now: what is printed on the terminal meanwhile goes above it, and so by the same console."""


def output() -> Console:
    """stdout; what goes to a file or a pipe is not cut to a width."""
    if _WITH_BAR and sys.stdout.isatty():
        return _WITH_BAR[-1]
    return _screen(width=None if sys.stdout.isatty() else WIDE, soft_wrap=True)


def messages() -> Console:
    """stderr: progress and notes, wrapped between words on a terminal."""
    return _WITH_BAR[-1] if _WITH_BAR else _screen(stderr=True, soft_wrap=not sys.stderr.isatty())


@contextmanager
def shown(bar: Progress) -> Iterator[Progress]:
    """The bar while something is done; nothing of it where no one looks."""
    with bar:
        if bar.disable:
            yield bar
            return
        _WITH_BAR.append(bar.console)
        try:
            yield bar
        finally:
            _WITH_BAR.pop()


def _screen(**options: Any) -> Console:
    from rich.console import Console  # a third of the time that `inlake --version` takes
    from rich.theme import Theme

    class Screen(Console):
        """A console that reports a reader who went away as every other stream does, instead of ending the program."""

        def on_broken_pipe(self) -> NoReturn:
            raise BrokenPipeError

    return Screen(highlight=False, markup=False, emoji=False, theme=Theme(STYLES), **options)


def say(text: str) -> None:
    """Writes a line on stdout."""
    _write(text, sys.stdout, output)


def note(text: str) -> None:
    """Writes a line on stderr."""
    _write(text, sys.stderr, messages)


def _write(text: str, stream: TextIO, screen: Callable[[], Console]) -> None:
    """Only a terminal needs to know how wide it is, and the library that does is a tenth of a command's start."""
    if stream.isatty():
        screen().print(text)
    else:
        stream.write(f"{text}\n")
        stream.flush()  # both streams may go to one file


def paragraph(text: str, indent: str = "") -> str:
    """Text for stdout: on a terminal broken between words, each further line indented by two more columns."""
    text = printable(text)
    return between_words(text, output().width, indent) if sys.stdout.isatty() else indent + text


def between_words(text: str, width: int, indent: str = "") -> str:
    """Text of at most so many columns; a word that is longer, such as an address or a path, stays whole. Each of its
    lines stays one, and what goes on below is indented by two more columns."""

    def broken(line: str) -> str:
        own = line[: len(line) - len(line.lstrip(" "))]
        further = f"{indent}{own}  "
        return fill(
            line,
            width,
            initial_indent=indent,
            subsequent_indent=further,
            break_long_words=False,
            break_on_hyphens=False,
        )

    return "\n".join(map(broken, text.split("\n")))


def sums_of(counts: Mapping[str, int]) -> str:
    """Words with their numbers below one another."""
    numbers = {word: f"{count:,}" for word, count in counts.items()}
    wide, high = max(map(len, numbers)), max(map(len, numbers.values()))
    return "\n".join(f"{word:{wide}}  {number:>{high}}" for word, number in numbers.items())


def bar_width(console: Console) -> int:
    """Columns of a bar that leave room for what is said beside it."""
    return max(4, min(20, console.width - 50))


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


def speed(rate: float) -> str:
    """Bytes a second, in a unit that has a digit before the point."""
    return f"{rate / 1e6:,.1f} MB/s" if rate >= 1e6 else f"{rate / 1e3:,.1f} kB/s"
