"""JSON text to plain Python values without loss: exact numbers, strict UTF-8, errors with line and column.

msgspec parses; -0 and integers that it refuses (over some 38 digits) go through the standard library. Of equal keys in
one object the last wins: no fast parser reports them.
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from inlake.errors import MalformedJson

ABSENT: Any = object()
"""The mark of a value that is not there; null is a value."""
LONGEST_INTEGER = 1_000
"""Digits up to which an integer becomes an `int`; reading longer ones takes quadratic time, and no type holds them."""
EXTRACT = 40
"""Characters of a value shown in an error."""

_NO_NUMBER = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|(NaN|-?Infinity)', re.DOTALL)
_AT_BYTE = re.compile(r"^(?:JSON is malformed: )?(.*) \(byte (\d+)\)$")
_WORD = re.compile(r"[A-Za-z0-9_+.-]{1,20}|.", re.DOTALL)
_ONE_TOO_FAR = ("trailing characters", "invalid escape character in string")
"""Complaints of msgspec that name the byte after the wrong one."""
_HALF_PAIR = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u).{0,5}\Z", re.DOTALL)
_HALF = "a string holds half of a UTF-16 surrogate pair"
_BOM = b"\xef\xbb\xbf"
_MINUS_ZERO = re.compile(rb"-0(?<![^\s:,[]-0)(?![0-9.eE])")  # begins with its literal: that is searched for quickly


class Fractional:
    """A JSON number with a fraction or an exponent (or too long for an int), kept as its text."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


_parse = msgspec.json.Decoder(float_hook=Fractional).decode


def parse_json(text: bytes) -> Any:
    """The value of dict, list, str, int, bool, None and `Fractional` (-0 too). A BOM in front is skipped.

    The caller has checked the depth: see `inlake.formats.depth`. Raises `MalformedJson`.
    """
    text = text.removeprefix(_BOM)
    try:
        value = _parse(text)
    except msgspec.ValidationError:
        return _parse_by_hooks(text)
    except msgspec.DecodeError as error:
        raise _malformed(text, str(error)) from None
    except UnicodeDecodeError:
        raise _not_utf8(text) from None
    return _parse_by_hooks(text) if has_minus_zero(text) else value


def has_minus_zero(text: bytes) -> bool:
    """Whether the integer -0 stands in the text, which msgspec reads as 0; now and then it is found in strings too."""
    return _MINUS_ZERO.search(text) is not None


def read_integer(digits: str) -> int | Fractional:
    """An integer of JSON; -0, which is none in Python, and a very long one as their text."""
    return Fractional(digits) if digits == "-0" or len(digits) > LONGEST_INTEGER else int(digits)


def malformed_json(text: bytes, error: Exception) -> MalformedJson:
    """msgspec's complaint about a text as an error with line and column, both from 1."""
    return _not_utf8(text) if isinstance(error, UnicodeDecodeError) else _malformed(text, str(error))


def kind_of(value: Any) -> str:
    """The kind of a parsed JSON value in a person's words."""
    kinds = {type(None): "null", bool: "boolean", int: "integer", str: "string", list: "array", dict: "object"}
    return kinds.get(type(value), "number")


def describe(value: Any) -> str:
    """The kind of a parsed JSON value and a short extract."""
    kind = kind_of(value)
    if kind in {"array", "object"}:
        return f"{kind} of {len(value)} {'item' if kind == 'array' else 'member'}{'s' * (len(value) != 1)}"
    if kind == "null":
        return kind
    text = json.dumps(value[: EXTRACT + 1], ensure_ascii=False) if kind == "string" else str(value).lower()
    return f"{kind} {shorten(text)}"


def shorten(text: str) -> str:
    """At most `EXTRACT` characters of a text."""
    return text if len(text) <= EXTRACT else text[: EXTRACT - 1] + "…"


def _parse_by_hooks(text: bytes) -> Any:
    try:
        value = json.loads(
            text.decode(),
            parse_float=Fractional,
            parse_int=read_integer,
            parse_constant=lambda _: _refuse_constant(text),
        )
        json.dumps(value, default=str, ensure_ascii=False).encode()  # the standard library lets lone surrogates pass
    except json.JSONDecodeError as error:
        raise _located(text, len(error.doc[: error.pos].encode()), error.msg) from None
    except UnicodeDecodeError:
        raise _not_utf8(text) from None
    except UnicodeEncodeError:
        raise _located(text, 0, _HALF) from None
    return value


def _refuse_constant(text: bytes) -> None:
    at = next(match.start(1) for match in _NO_NUMBER.finditer(text) if match[1])
    raise _located(text, at, "invalid character")


def _malformed(text: bytes, message: str) -> MalformedJson:
    found = _AT_BYTE.match(message)
    if found:
        return _located(text, int(found[2]) - (found[1] in _ONE_TOO_FAR), found[1])
    half = _HALF_PAIR.search(text)
    if half:  # msgspec looks for the other half behind the end
        return _located(text, half.start(), _HALF)
    return _located(text, len(text), "the text ends too early" if "truncated" in message else message)


def _not_utf8(text: bytes) -> MalformedJson:
    try:
        text.decode()
    except UnicodeDecodeError as error:
        return _located(text, error.start, f"the byte 0x{text[error.start]:02x} is not UTF-8")
    return _located(text, 0, "the text is not UTF-8")


def _located(text: bytes, at: int, reason: str) -> MalformedJson:
    """`at`: byte where the parser gave up; line and column count from 1, the column in characters."""
    start = text.rfind(b"\n", 0, at) + 1
    line, column = text.count(b"\n", 0, at) + 1, len(text[start:at].decode(errors="replace")) + 1
    found = _WORD.match(text[at : at + 24].decode(errors="replace"))
    there = f"found {found[0]!r}" if found else "found the end"
    detail = f"Not JSON at line {line}, column {column}: {reason} ({there})."
    return MalformedJson(detail, line=line, column=column)
