"""Why a value does not fit: reasons as the exact rules find them, and as a client is told them.

A place is kept as a chain of keys, and written as a JSON Pointer only when there is something to say about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from inlake.errors import FieldError

MAX_POINTERS = 1 << 16
"""Characters of all pointers of one refused record: keys of maps can be as long as the record."""
_SHOWN = 20

Place = tuple[Any, str | int] | None
"""(place of the parent, key or index); None is the whole record."""


class Reason(NamedTuple):
    """A reason why the value at a place does not fit."""

    place: Place
    code: str
    detail: str
    expected: str
    got: str


class Misfit(ValueError):
    """A value that does not fit its type, wherever it stands: a stable code and a sentence."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


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
    room = MAX_POINTERS
    for place, *reason in reasons:
        written.append(FieldError(pointer(place), *reason))
        room -= len(written[-1].pointer)
        if room < 0:
            break
    return written


def wrong_type(label: str, value: Any, place: Place) -> str:
    """The sentence for a value of another type than `label`; an array of records is told how to be sent."""
    advice = " Send one record a line, as application/x-ndjson." if place is None and type(value) is list else ""
    return f"A value of type {label} is expected here.{advice}"


def unknown_symbol(name: str, symbols: Iterable[str]) -> Misfit:
    """An enum does not know the value."""
    known = list(symbols)
    shown = ", ".join(known[:_SHOWN]) + (", …" if len(known) > _SHOWN else "")
    return Misfit("unknown_symbol", f"The enum {name} knows {shown} only.")
