"""Reads the value at a JSON Pointer (RFC 6901) in a JSON text without decoding all of it; `reasons` writes pointers."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

import msgspec

_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}")


@lru_cache(8)
def steps_of(pointer: str) -> tuple[str, ...]:
    """The names and indexes of a pointer, their escapes resolved."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:])


def value_at(record: bytes, steps: tuple[str, ...]) -> bytes | None:
    """The value at the end of the steps: text as UTF-8, all else as JSON; None where there is none, or null.

    Nothing but the way to it is decoded.
    """
    value = record.strip()
    for step in steps:
        if value.startswith(b"{"):
            found = _member(step)(value)
        elif value.startswith(b"[") and _INDEX.fullmatch(step) and len(items := _items(value)) > int(step):
            found = items[int(step)]
        else:
            return None
        value = bytes(found).strip()
    if value.startswith(b'"'):
        return _text(value).encode()
    if value.startswith((b"{", b"[")):
        return msgspec.json.format(value, indent=-1)
    return value if value not in {b"", b"null"} else None


@lru_cache(100)
def _member(name: str) -> Callable[[bytes], msgspec.Raw]:
    """A function that takes the member of that name out of a JSON object; without such a member it returns no bytes.

    The struct has that member only: all others are skipped, which is much quicker than to make a dictionary of them.
    """
    nothing = msgspec.Raw()
    try:
        only = msgspec.defstruct("Only", [("member", msgspec.Raw, nothing)], rename={"member": name}, gc=False)
    except ValueError:  # a struct takes no name with quotes, backslashes or control characters
        members = msgspec.json.Decoder(dict[str, msgspec.Raw])
        return lambda value: members.decode(value).get(name, nothing)
    decoder = msgspec.json.Decoder(only)
    return lambda value: decoder.decode(value).member  # type: ignore[attr-defined]
