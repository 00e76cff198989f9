"""Single values as wire text for the generated encoder: text in which every character is a byte (latin-1)."""

from __future__ import annotations

import binascii
from collections.abc import Callable
from typing import Any

from inlake.formats.binary import pack_double, varint
from inlake.formats.numbers import single_text
from inlake.formats.protobuf import wire
from inlake.formats.protobuf.types import Element, Enum
from inlake.formats.source import Undecided, varint_text

REMEMBERED = 1024
"""Integers, and lengths, of a field that are encoded once only: years, small identifiers, sizes."""
_LIMITS = wire.RANGES | {
    "bool": (0, 1),
    "float": (1 - (1 << 24), (1 << 24) - 1),
    "double": (1 - (1 << 53), (1 << 53) - 1),
}
"""Between these every integer is exact in a float; msgspec rounds those outside without a word."""


class Remembered(dict[Any, Any]):
    """The results of a function by its argument; the first `REMEMBERED` are kept."""

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


_PACKERS: dict[str, Callable[[Any], str]] = {
    kind: varint_text if pack is varint else latin(pack) for kind, pack in wire.PACKERS.items()
} | {"float": single_text, "double": latin(pack_double), "bool": varint_text}


@latin
def base64(text: str) -> bytes:
    """Standard base64 with padding, the usual form; all others are for the exact rules."""
    data = binascii.a2b_base64(text, strict_mode=True)
    if len(text) % 4:
        raise Undecided
    return data


def heads(tag: bytes, wrapped: bytes = b"") -> Remembered:
    """Tag and length, by length; with `wrapped`, its field's tag, also those of the text inside of a wrapper."""

    def make(size: int) -> str:
        inner = wrapped + varint(size) if wrapped and size else b""
        return (tag + varint(len(inner) + size) + inner).decode("latin-1")

    return Remembered(make)


def numbers(element: Element, tag: bytes, *, implicit: bool = False) -> Callable[[Any], str]:
    """A function from a number to tag and number, as a message of its own for a wrapper; nothing for the default if
    `implicit`. It raises `Undecided`."""
    first, zero = tag.decode("latin-1"), element.zero.decode("latin-1")
    if element.message is not None:
        field = element.message.fields[0]
        write = numbers(field.element, field.tag, implicit=True)
        return lambda value: first + varint_text(len(inner := write(value))) + inner
    pack, (low, high) = _PACKERS[element.kind], _LIMITS[element.kind]

    def make(value: Any) -> str:
        if not low <= value <= high:
            raise Undecided
        packed = pack(value)
        return "" if implicit and packed == zero else first + packed

    return make


def either(make: Callable[[int], str]) -> Callable[[int | str], str]:
    """A function from a 64-bit integer, or its plain decimal digits as ProtoJSON writes them, to tag and number."""

    def write(value: int | str) -> str:
        if isinstance(value, int):
            return make(value)
        number = int(value) if len(value) <= 20 else 1 << 64
        if str(number) != value:
            raise Undecided
        return make(number)

    return write


def symbols(enum: Enum, tag: bytes, *, implicit: bool = False) -> dict[str | int, str]:
    """Tag and number of an enum's values, by name and by number."""
    table: dict[str | int, str] = {}
    for name, number in enum.numbers.items():
        table[name] = table[number] = "" if implicit and number == 0 else tag.decode("latin-1") + varint_text(number)
    return table
