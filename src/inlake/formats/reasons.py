"""Why a value does not fit: reasons as a walk finds them, and as a client is told them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from inlake.errors import FieldError
from inlake.formats.pointer import Place, pointer

MAX_POINTERS = 1 << 16
"""Characters of all pointers of one refused record: keys of maps can be as long as the record."""


class Misplaced(NamedTuple):
    """A reason why the value does not fit, before its pointer is written out."""

    place: Place
    code: str
    detail: str
    expected: str
    got: str


def field_errors(errors: Iterable[Misplaced]) -> list[FieldError]:
    """The errors with their pointers, as many as fit in `MAX_POINTERS` characters, at least one."""
    written: list[FieldError] = []
    room = MAX_POINTERS
    for place, *reason in errors:
        written.append(FieldError(pointer(place), *reason))
        room -= len(written[-1].pointer)
        if room < 0:
            break
    return written
