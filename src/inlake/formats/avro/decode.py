"""Avro binary to plain values for a person to read.

fastavro, which the tests read with, ends the whole process when a payload is nested deeply (a C recursion without a
limit), and events can come from anywhere: hence a reader with limits.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from decimal import Context, Decimal
from typing import Any

from inlake.errors import Unprocessable
from inlake.formats.avro.temporal import CLOCKS, show
from inlake.formats.avro.types import Type
from inlake.formats.binary import read_varint, unpack_double, unpack_float

MAX_VALUES = 1_000_000
"""Values in one payload: an array of nulls takes no bytes, whatever its length."""
_EXACT = Context(prec=10_000)


def read_payload(root: Type, payload: bytes, max_depth: int) -> Any:
    """The value as JSON-like Python values. `Unprocessable` when the payload does not fit the type to its last byte."""
    reader = _Reader(payload, max_depth)
    try:
        value = reader.value(root)
    except (IndexError, struct.error):
        raise _unfit("it ends too early") from None
    except UnicodeDecodeError:
        raise _unfit("a string in it is not UTF-8") from None
    except ValueError as error:
        raise _unfit(str(error)) from None
    if reader.at != len(payload):
        raise _unfit(f"{len(payload) - reader.at} bytes follow the value")
    return value


def show_bytes(data: bytes) -> str:
    """Text when all of it is printable UTF-8, else `0x` and hexadecimal digits."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return "0x" + data.hex()
    return text if text.isprintable() else "0x" + data.hex()


def _number(value: float) -> float | str:
    """A number as JSON has it; what it has not, as ProtoJSON writes it."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _unfit(reason: str) -> Unprocessable:
    return Unprocessable(f"The payload does not fit the schema: {reason}.")


class _Reader:
    def __init__(self, data: bytes, depth: int) -> None:
        self.data = data
        self.at = 0
        self.depth = depth
        self.room = MAX_VALUES

    def value(self, type_: Type) -> Any:
        self.room -= 1
        if self.room < 0:
            raise _unfit(f"it holds more than {MAX_VALUES:,} values")
        while type_.kind == "union":
            type_ = type_.inner[self.index(len(type_.inner))]
        raw = _READ[type_.kind](self, type_)
        return _show(type_, raw) if type_.logical or type(raw) is bytes else raw

    def take(self, size: int) -> bytes:
        end = self.at + size
        if size < 0 or end > len(self.data):
            raise IndexError
        taken, self.at = self.data[self.at : end], end
        return taken

    def long(self, _type: Type | None = None) -> int:
        result, self.at = read_varint(self.data, self.at)
        return (result >> 1) ^ -(result & 1)

    def null(self, _type: Type) -> None:
        return None

    def boolean(self, _type: Type) -> bool:
        byte = self.take(1)
        if byte > b"\1":
            raise _unfit("a boolean in it is neither 0 nor 1")
        return byte == b"\1"

    def single(self, _type: Type) -> Any:
        return _number(unpack_float(self.take(4))[0])

    def double(self, _type: Type) -> Any:
        return _number(unpack_double(self.take(8))[0])

    def octets(self, _type: Type) -> Any:
        return self.take(self.long())

    def string(self, _type: Type) -> str:
        return self.take(self.long()).decode()

    def fixed(self, type_: Type) -> Any:
        return self.take(type_.size)

    def enum(self, type_: Type) -> str:
        return list(type_.symbols)[self.index(len(type_.symbols))]

    def index(self, size: int) -> int:
        number = self.long()
        if not 0 <= number < size:
            raise _unfit(f"{number} is not the number of a branch or symbol")
        return number

    def record(self, type_: Type) -> dict[str, Any]:
        self.enter()
        value = {}
        for name, field in type_.fields.items():
            value[name] = self.value(field.type)
        self.depth += 1
        return value

    def array(self, type_: Type) -> list[Any]:
        return [self.value(type_.inner[0]) for _ in self.blocks()]

    def map(self, type_: Type) -> dict[str, Any]:
        return {self.string(type_): self.value(type_.inner[0]) for _ in self.blocks()}

    def blocks(self) -> Any:
        self.enter()
        while (count := self.long()) != 0:
            if count < 0:
                self.long()  # the block's size in bytes, for readers that skip it
            yield from range(abs(count))
        self.depth += 1

    def enter(self) -> None:
        self.depth -= 1
        if self.depth < 0:
            raise _unfit("it is nested too deeply")


def _show(type_: Type, raw: Any) -> Any:
    if type_.logical in CLOCKS:
        return show(CLOCKS[type_.logical], raw)
    if type_.logical == "decimal":
        return str(Decimal(int.from_bytes(raw, "big", signed=True)).scaleb(-type_.scale, _EXACT))
    if type_.logical == "duration":
        months, days, millis = struct.unpack("<3I", raw)
        return f"P{months}M{days}DT{millis // 1000}.{millis % 1000:03}S"
    if type_.logical == "uuid" and type_.kind == "fixed":
        digits = raw.hex()
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    return show_bytes(raw) if isinstance(raw, bytes) else raw


_READ: dict[str, Callable[[_Reader, Type], Any]] = {
    "null": _Reader.null,
    "boolean": _Reader.boolean,
    "int": _Reader.long,
    "long": _Reader.long,
    "float": _Reader.single,
    "double": _Reader.double,
    "bytes": _Reader.octets,
    "string": _Reader.string,
    "fixed": _Reader.fixed,
    "enum": _Reader.enum,
    "array": _Reader.array,
    "map": _Reader.map,
    "record": _Reader.record,
}
