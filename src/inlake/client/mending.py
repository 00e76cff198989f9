"""Mends a JSON text at a place: all but the value there stays as it was written, to the byte."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_SPACE = re.compile(r"[ \t\n\r]*")
_parse = json.JSONDecoder(strict=False).raw_decode


def set_value(text: str, pointer: str, value: str) -> str:
    """The text with another value at a JSON Pointer; a member that is not there is added, `-` adds to an array.

    `value`: JSON. Raises ValueError, with a sentence, when there is no such place or the text is not JSON.
    """
    if pointer and not pointer.startswith("/"):
        raise ValueError(f"{pointer!r} is no JSON Pointer: it begins with /, as /creators/0/name does")
    json.loads(value)
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    start = _skip(text, 0)
    for n, step in enumerate(steps):
        members = list(_members(text, start))
        is_object = text[start] == "{"
        places = [at for name, at in members if name == step]
        if places:
            start = places[-1]
        elif n == len(steps) - 1 and (is_object or (text[start] == "[" and step in {"-", str(len(members))})):
            return _added(text, start, f"{json.dumps(step, ensure_ascii=False)}: {value}" if is_object else value)
        else:
            raise ValueError(f"There is nothing at {'/'.join(pointer.split('/')[: n + 2])}")
    return text[:start] + value + text[_end(text, start) :]


def as_json(text: str) -> str:
    """What somebody typed as a value: JSON as it is, all else as a JSON string."""
    try:
        json.loads(text)
    except ValueError:
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


def _added(text: str, start: int, member: str) -> str:
    """The text with one more member in the object or array at `start`."""
    last = _end(text, start) - 1
    before = text[:last].rstrip(" \t\n\r")
    comma = "" if before[-1] in "{[" else ", "
    return before + comma + member + text[len(before) : last] + text[last:]


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
