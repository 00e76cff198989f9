"""The fast path of Avro and Protobuf: struct classes that msgspec reads into, and functions that are written as source.

A typed reader and a generated encoder say yes, or leave the decision to the exact rules; they never say no. The source
consists of names made here (x1, K1, write_2); all that comes from a schema is in constants.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import msgspec

from inlake.formats.binary import varint


class Undecided(Exception):
    """The fast path cannot vouch for a value."""


UNDECIDED = (Undecided, LookupError, ValueError, ArithmeticError)
"""The exceptions of a generated encoder when the exact rules have to decide."""
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Errors of a typed reader."""
# nearly all that follows a minus ends the search there: what stands before it is looked at last
_UNSURE = re.compile(rb"-(?:0(?![0-9.eE])(?<![^\s:,[]-0)|[0-9]{3}(?<=[0-9][eE]-[0-9]{3})[0-9]*(?=[\s,\]}]|\Z))")
_ZEROS = b"0" * 40
_LAST = [chr(byte) for byte in range(128)]
_BEFORE = [chr(byte | 0x80) for byte in range(128)]


class StructModule:
    """A module in name only: msgspec looks there for struct classes that mention each other."""

    def __init__(self) -> None:
        self._module = ModuleType("")
        self.name = self._module.__name__ = f"inlake_formats_{id(self._module):x}"

    def decoder(
        self, root: Any, classes: Iterable[type], float_hook: Callable[[str], Any] | None = None
    ) -> Callable[[bytes], Any]:
        """A function from JSON text to values of the type `root`."""
        vars(self._module).update({made.__name__: made for made in classes})
        sys.modules[self.name] = self._module  # forward references are looked up there, now and never again
        try:
            return msgspec.json.Decoder(root, float_hook=float_hook).decode
        finally:
            del sys.modules[self.name]


class Source:
    """Lines of Python so far, and the names that they use."""

    def __init__(self, **names: Any) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = {"UNSET": msgspec.UNSET, "Undecided": Undecided, "utf8": utf8}
        self.names |= names
        self._variables = 0

    def line(self, indent: int, code: str) -> None:
        self.lines.append(" " * indent + code)

    def constant(self, value: Any) -> str:
        name = f"K{len(self.names)}"
        self.names[name] = value
        return name

    def variable(self) -> str:
        self._variables += 1
        return f"x{self._variables}"

    def note_zero(self, indent: int, value: str) -> None:
        """A line that notes a zero among the doubles and singles of a record."""
        self.names |= {"zeros": [], "has_unsure_zero": has_unsure_zero}
        self.line(indent, f"if not {value}: zeros.append({value})")

    def refuse_unsure_zeros(self, indent: int) -> None:
        """Lines that look through `text` where a zero was noted."""
        if "zeros" in self.names:
            self.line(indent, "if zeros:")
            self.line(indent + 1, "zeros.clear()")
            self.line(indent + 1, "if has_unsure_zero(text): raise Undecided")

    def compile(self, name: str) -> Any:
        """The function of this name."""
        exec("\n".join(self.lines), self.names)  # noqa: S102  made of our own words only
        return self.names[name]


def varint_text(n: int) -> str:
    """See `varint`: as text in which every character is a byte (latin-1); quick for identifiers, which never end."""
    if 0x7F < n < 1 << 21:
        rest = n >> 7
        return _BEFORE[n & 0x7F] + (_BEFORE[rest & 0x7F] + _LAST[rest >> 7] if rest > 0x7F else _LAST[rest])
    return _LAST[n] if 0 <= n <= 0x7F else varint(n).decode("latin-1")


def utf8(text: str) -> str:
    """The UTF-8 of text that is not ASCII, as text in which every character is a byte."""
    return text.encode().decode("latin-1")


def has_unsure_zero(text: bytes) -> bool:
    """Whether a zero that msgspec reads as a double may be another number: -0, or one that is very small."""
    return _UNSURE.search(text) is not None or text.find(_ZEROS) >= 0
