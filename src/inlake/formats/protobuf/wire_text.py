"""What the generated encoder is made of: single values as wire text, in which every character is a byte (latin-1).

Python joins text faster than bytes, and most of a record is ASCII text already, which is its own UTF-8.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from typing import Any

from inlake.formats.protobuf import wire
from inlake.formats.protobuf.types import Element, Enum

REMEMBERED = 1024
"""Integers, and lengths, of a field that are encoded once only: years, small identifiers, sizes."""
_LIMITS = wire.RANGES | {
    "bool": (0, 1),
    "float": (1 - (1 << 24), (1 << 24) - 1),
    "double": (1 - (1 << 53), (1 << 53) - 1),
}
"""Between these every integer is exact in a float; msgspec rounds those outside without a word."""
_LAST = [chr(byte) for byte in range(128)]
_BEFORE = [chr(byte | 0x80) for byte in range(128)]


class Doubt(Exception):
    """The fast path cannot vouch for this value."""


DOUBTS = (Doubt, LookupError, ValueError, ArithmeticError)
"""What the generated encoder raises when the walker has to decide: ValueError is no base64, or `Misfit`."""


class Remembered(dict[Any, Any]):
    """What a function makes of a value: of those values that come first, it is kept."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        super().__init__()
        self.make = make

    def __missing__(self, value: Any) -> Any:
        made = self.make(value)
        if len(self) < REMEMBERED:
            self[value] = made
        return made


def latin(encode: Callable[[Any], bytes]) -> Callable[[Any], str]:
    """A function that gives wire text of one that gives bytes."""
    return lambda value: encode(value).decode("latin-1")


def varint(n: int) -> str:
    """See `wire.varint`; quick for identifiers, of which there is no end."""
    if 0x7F < n < 1 << 21:
        rest = n >> 7
        return _BEFORE[n & 0x7F] + (_BEFORE[rest & 0x7F] + _LAST[rest >> 7] if rest > 0x7F else _LAST[rest])
    return _LAST[n] if 0 <= n <= 0x7F else wire.varint(n).decode("latin-1")


_PACKERS: dict[str, Callable[[Any], str]] = {
    kind: varint if pack is wire.varint else latin(pack) for kind, pack in wire.PACKERS.items()
} | {"float": latin(wire.pack_float), "double": latin(wire.pack_double), "bool": varint}


@latin
def utf8(text: str) -> bytes:
    """Text that is not ASCII."""
    return text.encode()


@latin
def base64(text: str) -> bytes:
    """Standard base64 with padding, the usual form; all others are for the walker."""
    data = binascii.a2b_base64(text, strict_mode=True)
    if len(text) % 4:
        raise Doubt
    return data


def heads(tag: bytes, wrapped: bytes = b"") -> Remembered:
    """Tag and length, by length; with `wrapped`, its field's tag, also those of the text inside of a wrapper."""

    def make(size: int) -> str:
        inner = wrapped + wire.varint(size) if wrapped and size else b""
        return (tag + wire.varint(len(inner) + size) + inner).decode("latin-1")

    return Remembered(make)


def numbers(element: Element, tag: bytes, *, implicit: bool = False) -> Callable[[Any], str]:
    """A function from a number to tag and number, as a message of its own for a wrapper; nothing for the default if
    `implicit`. It raises `Doubt`."""
    first, zero = tag.decode("latin-1"), element.zero.decode("latin-1")
    if element.message is not None:
        field = element.message.fields[0]
        write = numbers(field.element, field.tag, implicit=True)
        return lambda value: first + varint(len(inner := write(value))) + inner
    pack, (low, high) = _PACKERS[element.kind], _LIMITS[element.kind]

    def make(value: Any) -> str:
        if not low <= value <= high:
            raise Doubt
        packed = pack(value)
        return "" if implicit and packed == zero else first + packed

    return make


def either(make: Callable[[int], str]) -> Callable[[int | str], tuple[str, ...]]:
    """The pieces of a 64-bit integer: text, plain decimal digits as ProtoJSON writes them, gives one more."""

    def pieces(value: int | str) -> tuple[str, ...]:
        if isinstance(value, int):
            return (make(value),)
        number = int(value) if len(value) <= 20 else 1 << 64
        if str(number) != value:
            raise Doubt
        return make(number), ""

    return pieces


def symbols(enum: Enum, tag: bytes, *, implicit: bool = False) -> dict[str | int, tuple[str, ...]]:
    """The pieces of an enum's values: a name gives one more than a number."""
    table: dict[str | int, tuple[str, ...]] = {}
    for name, number in enum.numbers.items():
        piece = "" if implicit and number == 0 else tag.decode("latin-1") + varint(number)
        table |= {name: (piece, ""), number: (piece,)}
    return table
