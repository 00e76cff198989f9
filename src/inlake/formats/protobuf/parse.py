"""JSON text for the exact rules: every number as its text says it, and every object that has a key twice."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NamedTuple

from inlake.formats.json_text import Fractional, parse_json, read_integer


class Doubled(NamedTuple):
    """An object (kept, so that its id stays its own) and the keys it has more than once."""

    value: dict[str, Any]
    keys: list[str]


class Parsed(NamedTuple):
    """A parsed record."""

    value: Any
    doubled: dict[int, Doubled]
    """The objects, by id, that have a key more than once."""


def parse_record(text: bytes) -> Parsed:
    """Plain values as `parse_json` gives them, with the sign of -0. `MalformedJson`. The depth is checked."""
    parse_json(text)  # strict, and says where; the standard library alone lets lone surrogates pass
    doubled: dict[int, Doubled] = {}

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            times = Counter(key for key, _ in pairs)
            doubled[id(found)] = Doubled(found, [key for key in found if times[key] > 1])
        return found

    plain = text.decode("utf-8-sig")
    value = json.loads(plain, object_pairs_hook=members, parse_float=Fractional, parse_int=read_integer)
    return Parsed(value, doubled)


def strings_in(text: bytes) -> int:
    """How many strings a JSON text has, keys among them: all its quotes but those that a backslash escapes."""
    unescaped = text.replace(b"\\\\", b"")
    return (unescaped.count(b'"') - unescaped.count(b'\\"')) // 2
