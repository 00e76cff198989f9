"""The fast path, writing: typed values to the wire format by an encoder generated from the schema.

The source consists of names made here (f0, K1, write_2); all that comes from the schema is in constants.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable
from typing import Any

from msgspec import UNSET

from inlake.formats.protobuf.fast import has_alias, is_open
from inlake.formats.protobuf.moments import MOMENTS
from inlake.formats.protobuf.types import WRAPPERS, Element, Field, Message
from inlake.formats.protobuf.wire import (
    MAX_NESTING,
    PACKERS,
    RANGES,
    pack_double,
    pack_float,
    varint,
)

_EXACT = {"float": float(1 << 24), "double": float(1 << 53)}
"""Below this every integer is exact; msgspec rounds those above without a word."""

REMEMBERED = 512
"""Integers, and lengths, of a field that are encoded once only: years, small identifiers, sizes."""
TAG_OF_KEY = b"\x0a"


class Doubt(Exception):
    """The fast path cannot vouch for this value."""


DOUBTS = (Doubt, LookupError, ValueError, ArithmeticError)
"""What the generated encoder raises when the walker has to decide: ValueError is no base64, or `Misfit`."""


def compile_writer(root: Message, messages: list[Message]) -> Callable[[Any], bytes]:
    """A function from the typed values of `fast.compile_reader` to the message in bytes; raises one of `DOUBTS`."""
    generator = _Generator()
    for message in messages:
        generator.define(message)
    exec("\n".join(generator.lines), generator.names)  # noqa: S102  made of our own words only
    write: Callable[[Any, int], bytes] = generator.names[f"write_{root.number}"]
    return lambda value: write(value, 0)


def _digits(kind: str) -> Callable[[str], int]:
    """A function for 64-bit integers in text, as ProtoJSON writes them: plain decimal digits."""
    low, high = RANGES[kind]

    def read(text: str) -> int:
        number = int(text) if len(text) <= 20 else high + 1
        if not low <= number <= high or str(number) != text:
            raise Doubt
        return number

    return read


def _base64(text: str) -> bytes:
    """Standard base64 with padding, the usual form; all others are for the walker."""
    data = binascii.a2b_base64(text, strict_mode=True)
    if len(text) % 4:
        raise Doubt
    return data


class _Numbers(dict[int, bytes]):
    """Tag and value of integers: those that come first are remembered."""

    def __init__(self, tag: bytes, pack: Callable[[int], bytes]) -> None:
        super().__init__()
        self.tag = tag
        self.pack = pack

    def __missing__(self, number: int) -> bytes:
        piece = self.tag + self.pack(number)
        if len(self) < REMEMBERED:
            self[number] = piece
        return piece


class _Sizes(_Numbers):
    """Tag and length of what has one."""

    def __init__(self, tag: bytes) -> None:
        super().__init__(tag, varint)


class _Generator:
    """Source so far and the names it uses."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.variables = 0
        self.names: dict[str, Any] = {
            "UNSET": UNSET, "Doubt": Doubt, "base64": _base64,
            "pack_float": pack_float, "pack_double": pack_double,
        }  # fmt: skip

    def line(self, indent: int, code: str) -> None:
        self.lines.append(" " * indent + code)

    def constant(self, value: Any) -> str:
        name = f"K{len(self.names)}"
        self.names[name] = value
        return name

    def variable(self) -> str:
        self.variables += 1
        return f"x{self.variables}"

    def define(self, message: Message) -> None:
        """`deep` is the number of messages and map entries around this one."""
        self.line(0, f"def write_{message.number}(v, deep):")
        self.line(1, f"if deep > {MAX_NESTING}: raise Doubt")
        self.line(1, "out = []")
        oneofs = {name: self.variable() for name in sorted({field.oneof for field in message.fields if field.oneof})}
        for count in oneofs.values():
            self.line(1, f"{count} = 0")
        for index, field in enumerate(message.fields):
            value = self.variable()
            self.line(1, f"{value} = v.f{index}")
            if has_alias(message, field):
                self.line(1, f"if v.g{index} is not UNSET:")
                self.line(2, f"if {value} is not UNSET: raise Doubt")
                self.line(2, f"{value} = v.g{index}")
            self.field(field, value, oneofs.get(field.oneof or ""))
        for count in oneofs.values():
            self.line(1, f"if {count} > 1: raise Doubt")
        self.line(1, "return b''.join(out)")

    def field(self, field: Field, value: str, count: str | None) -> None:
        if is_open(field):
            self.line(1, f"if {value} is not UNSET: raise Doubt")
            return
        single = not field.repeated and field.key is None
        if single and field.element.kind.endswith("64"):
            self.number(field.element.kind, value, 1)
        # UNSET, None, and the defaults that are not written are all false; structs are always true
        truthy = not single or (field.element.message and not field.element.message.special)
        plain = not field.explicit and field.element.kind not in _EXACT
        self.line(1, f"if {value}:" if truthy or plain else f"if {value} is not None and {value} is not UNSET:")
        if count:
            self.line(2, f"{count} += 1")
        if field.key is not None:
            self.entries(field, value)
        elif field.packed:
            self.packed(field, value)
        elif field.repeated:
            item = self.variable()
            self.line(2, f"for {item} in {value}:")
            self.put(self.tagged(field.element, field.tag, item, 3, "deep + 1", field.end), 3)
        else:
            self.put(self.tagged(field.element, field.tag, value, 2, "deep + 1", field.end, field.explicit), 2)
        if field.required:
            self.line(1, "else: raise Doubt")

    def put(self, pieces: list[str], indent: int) -> None:
        self.line(indent, f"out.append({pieces[0]})" if len(pieces) == 1 else f"out += ({', '.join(pieces)})")

    def packed(self, field: Field, value: str) -> None:
        item, encoded = self.variable(), self.variable()
        self.line(2, f"{encoded} = []")
        self.line(2, f"for {item} in {value}:")
        [piece] = self.tagged(field.element, b"", item, 3, "deep", b"")
        self.line(3, f"{encoded}.append({piece})")
        self.line(2, f"{encoded} = b''.join({encoded})")
        self.put([f"{self.constant(_Sizes(field.tag))}[len({encoded})]", encoded], 2)

    def entries(self, field: Field, value: str) -> None:
        """Entries of a map, messages of their own: 1 is the key, always text here, 2 the value."""
        key, item, entry = self.variable(), self.variable(), self.variable()
        self.line(2, f"for {key}, {item} in {value}.items():")
        self.line(3, f"{key} = {key}.encode()")
        tag = varint(2 << 3 | field.element.wire_type)
        pieces = self.tagged(field.element, tag, item, 3, "deep + 2", b"")
        parts = ", ".join([f"{self.constant(_Sizes(TAG_OF_KEY))}[len({key})]", key, *pieces])
        self.line(3, f"{entry} = b''.join(({parts}))")
        self.put([f"{self.constant(_Sizes(field.tag))}[len({entry})]", entry], 3)

    def tagged(
        self, element: Element, tag: bytes, value: str, indent: int, deep: str, end: bytes, explicit: bool = True
    ) -> list[str]:
        """Expressions for tag and value, after lines that prepare them; not `explicit`: empty for the default."""
        kind = element.kind
        if element.message is not None or kind in ("string", "bytes"):
            data = self.variable()
            self.line(indent, f"{data} = {self.body(element, value, indent, deep)}")
            if end:
                return [self.constant(tag), data, self.constant(end)]
            return [f"{self.constant(_Sizes(tag))}[len({data})]", data]
        if element.enum:
            table = {key: tag + varint(n) for name, n in element.enum.numbers.items() for key in (name, n)}
            if not explicit:
                table |= {key: b"" for key in table if element.enum.numbers.get(str(key), key) == 0}
            return [f"{self.constant(table)}[{value}]"]
        if kind == "bool":
            true, false = self.constant(tag + bytes([1])), self.constant(tag + bytes([0]))
            return [f"{true} if {value} else {false}"]
        if kind in _EXACT:
            self.line(indent, f"if not -{_EXACT[kind]} < {value} < {_EXACT[kind]}: raise Doubt")
            packed = self.variable()
            self.line(indent, f"{packed} = pack_{kind}({value})")
            piece = f"{self.constant(tag)} + {packed}"
            return [piece if explicit else f"{piece} if {packed} != {self.constant(element.zero)} else b''"]
        if kind.endswith("64"):
            self.number(kind, value, indent)
        if kind in ("uint64", "fixed64"):  # a bound that msgspec cannot keep
            self.line(indent, f"if {value} > {RANGES[kind][1]}: raise Doubt")
        return [f"{self.constant(_Numbers(tag, PACKERS[kind]))}[{value}]"]

    def number(self, kind: str, value: str, indent: int) -> None:
        """64-bit integers come as text, or as numbers."""
        self.line(indent, f"if {value}.__class__ is str: {value} = {self.constant(_digits(kind))}({value})")

    def body(self, element: Element, value: str, indent: int, deep: str) -> str:
        """An expression for what has a length: text, bytes or a message."""
        message = element.message
        if message is None:
            return f"{value}.encode()" if element.kind == "string" else f"base64({value})"
        if message.name in MOMENTS:
            return f"{self.constant(MOMENTS[message.name])}({value})"
        if message.name not in WRAPPERS:
            return f"write_{message.number}({value}, {deep})"
        # a wrapper: the scalar inside is a field of its own, left out when it is the default
        self.line(indent, f"if {deep} > {MAX_NESTING}: raise Doubt")
        inner = message.fields[0]
        if inner.element.kind.endswith("64"):
            self.number(inner.element.kind, value, indent)
        pieces = self.tagged(inner.element, inner.tag, value, indent, deep, b"", explicit=False)
        joined = pieces[0] if len(pieces) == 1 else f"b''.join(({', '.join(pieces)}))"
        return joined if inner.element.kind in _EXACT else f"({joined}) if {value} else b''"
