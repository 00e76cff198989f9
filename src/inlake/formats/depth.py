"""How deep a JSON text is nested: bounded before anything goes into it by recursion."""

from __future__ import annotations

import re
import sys
from itertools import accumulate

from inlake.errors import FieldError, RecordRejected

_AROUND = 1_000
"""Python frames left for what stands around a codec: the server and its libraries."""
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)  # an open string ends with the text: linear time
_NOT_BRACKETS = bytes(sorted(set(range(256)) - set(b"[]{}")))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def check_depth(text: bytes, limit: int) -> None:
    """`RecordRejected` when arrays and objects are nested deeper than `limit`; counts first, reads only if it must."""
    # `replace` jumps from one bracket to the next, `bytes.count` looks at each byte in turn
    if 2 * len(text) - len(text.replace(b"[", b"")) - len(text.replace(b"{", b"")) <= limit:
        return
    brackets = _STRING.sub(b"", text).translate(None, _NOT_BRACKETS)
    if max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > limit:
        detail = f"Arrays and objects are nested deeper than {limit} levels."
        raise RecordRejected([FieldError("", "too_deep", detail, f"at most {limit} levels", "more")])


def check_typed_depth(text: bytes, limit: int) -> None:
    """As `check_depth`, for a reader that goes into arrays and objects only where its types have them, no array in an
    array: two levels take a brace, a key and a bracket, five bytes. What it refuses may be deeper."""
    if len(text) > 2 * limit and 2 * (len(text) - len(text.replace(b"{", b""))) > limit:
        check_depth(text, limit)


def allow_levels(levels: int, frames: int) -> None:
    """Make room for a recursion of `levels` with `frames` Python frames each, so that a limit of ours comes first.

    Calls of Python functions take no C stack: the interpreter's limit may go up with ours.
    """
    if sys.getrecursionlimit() < _AROUND + frames * levels:
        sys.setrecursionlimit(_AROUND + frames * levels)
