"""How deep a JSON text is nested: bounded before anything goes into it by recursion."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import TypeVar

from inlake.errors import FieldError, RecordRejected

_AROUND = 1_000
"""Python frames left for what stands around a codec: the server and its libraries."""
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)  # an open string ends with the text: linear time
_NOT_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_Type = TypeVar("_Type")


def check_depth(text: bytes, limit: int) -> None:
    """`RecordRejected` when arrays and objects are nested deeper than `limit`; counts first, reads only if it must."""
    if len(text) <= 2 * limit:  # two brackets a level, or it is no JSON
        return
    # `replace` jumps from one bracket to the next, `bytes.count` looks at each byte in turn
    if 2 * len(text) - len(text.replace(b"[", b"")) - len(text.replace(b"{", b"")) <= limit:
        return
    brackets = _STRING.sub(b"", text).translate(None, _NOT_BRACKETS)
    if max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > limit:
        detail = f"Arrays and objects are nested deeper than {limit} levels."
        raise RecordRejected([FieldError("", "too_deep", detail, f"at most {limit} levels", "more")])


def is_within(root: _Type, parts: Callable[[_Type], Iterable[tuple[int, _Type]]], limit: int) -> bool:
    """Whether no value of a type is nested deeper than `limit`: then what a typed reader takes needs no look at its
    depth. `parts` are the types that a type holds, and the levels of JSON (0, 1 or 2) around each."""
    known: dict[int, int] = {}

    def levels(type_: _Type, room: int) -> int:
        if room >= 0 and id(type_) not in known:  # a type that holds itself comes back until there is no room
            known[id(type_)] = max((around + levels(one, room - around) for around, one in parts(type_)), default=0)
        return known.get(id(type_), limit)

    return levels(root, limit - 1) < limit


def allow_levels(levels: int, frames: int) -> None:
    """Make room for a recursion of `levels` with `frames` Python frames each, so that a limit of ours comes first.

    Calls of Python functions take no C stack: the interpreter's limit may go up with ours.
    """
    if sys.getrecursionlimit() < _AROUND + frames * levels:
        sys.setrecursionlimit(_AROUND + frames * levels)
