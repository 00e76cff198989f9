"""Mends a JSON text at some places: all but the value there stays as it was written, to the byte."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

MOST_READ = 64 << 20
"""Characters of the text times steps of a pointer: each step reads what is left of the text."""
_INDEX = re.compile(r"(?<=/)[0-9]+(?=/|$)")
_SPACE = re.compile(r"[ \t\n\r]*")
_parse = json.JSONDecoder(strict=False).raw_decode


class _Place:
    """The change of a value: all of it is set, or what is at the steps of pointers below it."""

    def __init__(self, pointer: str = "") -> None:
        self.pointer = pointer
        self.is_end = False
        self.below: dict[str, _Place] = {}


def set_values(text: str, pointers: Iterable[str], value: str) -> str:
    """The text with another value at each of the JSON Pointers; a member that is not there is added, `-` adds to an
    array. The text is walked once for all of them.

    `value`: JSON. Raises ValueError, with a sentence, when there is no such place or the text is not JSON.
    """
    root, most = _Place(), 0
    for pointer in pointers:
        if pointer and not pointer.startswith("/"):
            raise ValueError(f"{pointer!r} is no JSON Pointer: it begins with /, as /creators/0/name does")
        place, steps = root, pointer.split("/")[1:]
        for step in steps:
            name = step.replace("~1", "/").replace("~0", "~")
            place = place.below.setdefault(name, _Place(f"{place.pointer}/{step}"))
        place.is_end, most = True, max(most, len(steps))
    if len(text) * most > MOST_READ:
        raise ValueError("The record is too long for a place that deep: mend it by hand.")
    pieces, done = list[str](), 0
    try:
        json.loads(value)
        for start, end, written in _edits(text, _skip(text, 0), root, value):
            pieces += [text[done:start], written]
            done = end
    except RecursionError:
        raise ValueError("What is at the place, or the value, is nested too deep.") from None
    return "".join([*pieces, text[done:]])


def _edits(text: str, start: int, place: _Place, value: str) -> Iterator[tuple[int, int, str]]:
    """Where the text changes, from front to back: begin, end, and what then stands there."""
    if place.is_end:
        yield start, _end(text, start), value
        return
    found: dict[str, int] = {}
    count = 0
    for name, at in _members(text, start):
        count += 1
        if name in place.below:
            found[name] = at  # of two with one name the last
    for name, at in sorted(found.items(), key=lambda each: each[1]):
        yield from _edits(text, at, place.below[name], value)
    added = [(name, below) for name, below in place.below.items() if name not in found]
    if not added:
        return
    is_object, is_array = text[start] == "{", text[start] == "["
    for name, below in added:
        if not below.is_end or not (is_object or (is_array and name in {"-", str(count)})):
            raise ValueError(f"There is nothing at {below.pointer}")
    members = [f"{json.dumps(name, ensure_ascii=False)}: {value}" if is_object else value for name, _ in added]
    last = len(text[: _end(text, start) - 1].rstrip(" \t\n\r"))
    yield last, last, ("" if count == 0 else ", ") + ", ".join(members)


def without_member(text: str, name: str) -> str:
    """An object without its members of this name. Raises ValueError where the text is not JSON."""
    end, is_first = _skip(text, 0) + 1, True
    for found, at in _members(text, end - 1):
        after = _end(text, at)
        if found == name:
            behind = _skip(text, after)
            if is_first:
                after = behind + (text[behind : behind + 1] == ",")
            return without_member(text[:end] + text[after:], name)
        end, is_first = after, False
    return text


def without_indexes(pointer: str) -> str:
    """The JSON Pointer with `*` for each number in it, as causes of rejects have it."""
    return _INDEX.sub("*", pointer)


def meant(pointer: str, wrong: Iterable[str]) -> list[str]:
    """The places that a pointer with `*` means: those of `wrong` that it fits; else the pointer itself."""
    return [place for place in dict.fromkeys(wrong) if without_indexes(place) == pointer] or [pointer]


def as_json(text: str) -> str:
    """The JSON of what somebody typed: JSON as it is, all else, and what is nested too deep, as a string."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return json.dumps(text, ensure_ascii=False)
    return text


def _members(text: str, start: int) -> Iterator[tuple[str, int]]:
    """Names of members, or indexes of items as text, and where their values begin; nothing of a scalar."""
    opening = text[start : start + 1]
    if opening not in {"{", "["}:
        return
    at, index = _skip(text, start + 1), 0
    while text[at : at + 1] not in {"}", "]"}:
        name = str(index)
        if opening == "{":
            name, at = _value(text, at)
            at = _skip(text, at)
            if text[at : at + 1] != ":":
                raise ValueError(f"The record is not JSON: a colon is missing at character {at}")
            at = _skip(text, at + 1)
        yield name, at
        at, index = _skip(text, _end(text, at)), index + 1
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
        elif text[at : at + 1] not in {"}", "]"}:
            raise ValueError(f"The record is not JSON: something is missing at character {at}")


def _end(text: str, start: int) -> int:
    return _value(text, start)[1]


def _value(text: str, start: int) -> tuple[str, int]:
    try:
        return _parse(text, start)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"The record is not JSON: {error}") from None


def _skip(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    assert found is not None
    return found.end()
