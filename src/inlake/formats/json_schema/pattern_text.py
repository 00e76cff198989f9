"""A short text that matches a regular expression, for examples: the common parts of the syntax, none of the exotic."""

from __future__ import annotations

import re

MAX_REPEATS = 1_000
_CLASSES = {"d": "0", "w": "a", "s": " ", "D": "a", "W": "-", "S": "a", "n": "\n", "t": "\t"}
_QUANTIFIER = re.compile(r"([*?]|\+|\{(\d+)(?:,\d*)?\})[?+]?")
_GROUP = re.compile(r"\(\?(?::|<[A-Za-z_]\w*>)")
_SET = re.compile(r"\[(\^?)(\]?(?:\\.|[^\]\\])*)\]", re.DOTALL)
_CANDIDATES = "a0A-_ .:/#é"


class Unsupported(Exception):
    """The pattern has a part that is not read here."""


def text_for(pattern: str) -> str:
    """A text that probably matches, each repetition as short as it may be. `Unsupported`."""
    text, rest = _alternatives(pattern)
    if rest:
        raise Unsupported
    return text


def _alternatives(rest: str) -> tuple[str, str]:
    """The first of the alternatives up to a closing bracket, and what stands behind all of them."""
    first, rest = _sequence(rest)
    while rest.startswith("|"):
        _, rest = _sequence(rest[1:])
    return first, rest


def _sequence(rest: str) -> tuple[str, str]:
    made = ""
    while rest and rest[0] not in "|)":
        piece, rest = _atom(rest)
        quantifier = _QUANTIFIER.match(rest)
        if quantifier:
            least = int(quantifier[2] or (quantifier[1] == "+"))
            piece, rest = piece * min(least, MAX_REPEATS), rest[quantifier.end() :]
        made += piece
    return made, rest


def _atom(rest: str) -> tuple[str, str]:
    """A text for the next part of the pattern, and the pattern behind it."""
    sign = rest[0]
    if sign in "^$":
        return "", rest[1:]
    if sign == ".":
        return "a", rest[1:]
    if sign == "(":
        return _group(rest)
    if sign == "[":
        return _set(rest)
    if sign == "\\":
        if rest[1:2] == "b":
            return "", rest[2:]
        if rest[1:2].isalnum() and rest[1:2] not in _CLASSES:
            raise Unsupported
        return _CLASSES.get(rest[1:2], rest[1:2]), rest[2:]
    return sign, rest[1:]


def _group(rest: str) -> tuple[str, str]:
    opening = _GROUP.match(rest)
    if opening is None and rest.startswith("(?"):
        raise Unsupported
    text, rest = _alternatives(rest[opening.end() if opening else 1 :])
    if not rest.startswith(")"):
        raise Unsupported
    return text, rest[1:]


def _set(rest: str) -> tuple[str, str]:
    found = _SET.match(rest)
    if found is None:
        raise Unsupported
    if found[1]:
        try:
            inside = re.compile(found[0])
        except re.error:
            raise Unsupported from None
        return next((one for one in _CANDIDATES if inside.match(one)), "a"), rest[found.end() :]
    return (_atom(found[2])[0] if found[2].startswith("\\") else found[2][:1]), rest[found.end() :]
