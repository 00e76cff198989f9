"""Why a value does not fit: reasons as the exact rules find them, and as a client is told them.

A place is kept as a chain of keys, and written as a JSON Pointer only when there is something to say about it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any, NamedTuple

from inlake.errors import FieldError

MAX_POINTERS = 1 << 16
"""Characters of all pointers of one refused record: keys of maps can be as long as the record."""
_SHOWN = 200
"""Characters of the values that an error lists."""
_LONGEST = 200
"""Characters of a value that is looked at for another form of it."""
_COMPARED, _LONGEST_NAME, _QUESTIONS = 100, 40, 5
"""Names that a wrong one is compared with, its characters, and the wrong ones of a record that are: to compare two
names that are nearly the same takes up to 0.2 ms."""
_WHOLE = re.compile(r"(-?[0-9]+)\.0+\Z")
_BARE = re.compile(r"-?[0-9]+(\.[0-9]+)?\Z|true\Z|false\Z")
_COMMA = re.compile(r"-?[0-9]+,[0-9]+\Z")
_TEXT, _LISTS, _BOOLEANS = {"string"}, {"array", "repeated"}, {"boolean", "bool"}
_INTEGERS, _FRACTIONS = {"int", "long", "integer"}, {"float", "double", "number"}
_NUMBERS = _INTEGERS | _FRACTIONS


Place = tuple[Any, str | int] | None
"""(place of the parent, key or index); None is the whole record."""


class Reason(NamedTuple):
    """A reason why the value at a place does not fit."""

    place: Place
    code: str
    detail: str
    expected: str
    got: str
    meant: Meant | None = None


class Meant(NamedTuple):
    """A name that is not known, and those that are: the sentence goes on with the nearest one."""

    name: str
    known: tuple[str, ...]


class Misfit(ValueError):
    """A value that does not fit its type, wherever it stands: a stable code and a sentence."""

    def __init__(self, code: str, detail: str, meant: Meant | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.meant = meant


def pointer(place: Place) -> str:
    """The place as a JSON Pointer (RFC 6901)."""
    steps: list[str] = []
    while place is not None:
        place, key = place
        steps.append("/" + str(key).replace("~", "~0").replace("/", "~1"))
    return "".join(reversed(steps))


def field_errors(reasons: Iterable[Reason]) -> list[FieldError]:
    """The reasons with their pointers, as many as fit in `MAX_POINTERS` characters, at least one."""
    written: list[FieldError] = []
    room, questions = MAX_POINTERS, _QUESTIONS
    for place, code, detail, expected, got, meant in reasons:
        question = ""
        if meant is not None and len(meant.name) <= _LONGEST_NAME and questions:
            question, questions = _nearest(meant), questions - 1
        written.append(FieldError(pointer(place), code, detail + question, expected, got))
        room -= len(written[-1].pointer)
        if room < 0:
            break
    return written


def wrong_type(label: str, value: Any, *, is_record: bool = False) -> str:
    """The sentence for a value of another type than `label`, with what to do about the usual causes."""
    advice = " Send one record a line, as application/x-ndjson." if is_record and type(value) is list else ""
    return f"A value of type {label} is expected here.{advice or other_form(label, value)}"


def other_form(label: str, value: Any) -> str:
    """How a value is to be written where a value of the type `label` is expected; empty if that is plain."""
    types = set(re.findall("[a-z]+", label))
    if value is None:
        return " It must not be null."
    if types & _LISTS and type(value) is not list:
        return " Write it in square brackets, also where it is one value."
    text = value if type(value) is str else repr(value)
    if len(text) > _LONGEST:
        return ""
    if type(value) is not str:
        if types & _INTEGERS and (whole := _WHOLE.match(text)):
            return (
                f" Write {whole[1]}, without .0 (pandas adds it where a column has gaps, but not with its type Int64)."
            )
        if types & _BOOLEANS and text in ("0", "1"):
            return " Write true or false."
        return " Write it in quotes." if types & _TEXT and _BARE.match(text.lower()) else ""
    if types & _FRACTIONS and _COMMA.match(text):
        return f" Write {text.replace(',', '.')}, with a point and without quotes."
    return " Write it without quotes." if types & (_NUMBERS | _BOOLEANS) and _BARE.match(text) else ""


def quoted(text: str) -> str:
    """A text as JSON writes it, for sentences."""
    return json.dumps(text, ensure_ascii=False)


def listed(values: Sequence[Any], write: Callable[[Any], str] = quoted) -> str:
    """The values that fit in a sentence, none cut unless it alone is too long, and how many more there are."""
    shown: list[str] = []
    room = _SHOWN
    for value in values:
        text = write(value)
        room -= len(text) + 2
        if shown and room < 0:
            break
        shown.append(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")
    more = len(values) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def unknown_symbol(name: str, symbols: Iterable[str], value: Any) -> Misfit:
    """An enum does not know the value."""
    known = tuple(symbols)
    meant = Meant(value, known) if type(value) is str else None
    return Misfit("unknown_symbol", f"The enum {name} knows {listed(known)} only.", meant)


@lru_cache(1_000)
def _nearest(meant: Meant) -> str:
    """A question for the name that was probably meant."""
    known = {name.casefold(): name for name in meant.known[:_COMPARED] if len(name) <= _LONGEST_NAME}
    near = get_close_matches(meant.name.casefold(), known, 1)
    return f" Did you mean {quoted(known[near[0]])}?" if near else ""
