"""One JSON value to one scalar in wire bytes, by the ProtoJSON mapping (protobuf.dev, "ProtoJSON Format").

Where the mapping says "number or string", the string holds what JSON calls a number, nothing else: no sign in front
but a minus, no leading zeros, no white space.
"""

from __future__ import annotations

import binascii
import decimal
import math
import re
from collections.abc import Callable
from typing import Any

from inlake.formats.binary import pack_double, pack_float, varint
from inlake.formats.json_text import Fractional
from inlake.formats.numbers import nearest
from inlake.formats.protobuf.types import Element, Enum
from inlake.formats.protobuf.wire import PACKERS, RANGES, sized
from inlake.formats.reasons import Misfit, unknown_symbol, wrong_type

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z")
_BASE64 = re.compile(r"(?:[A-Za-z0-9+/]*|[A-Za-z0-9_-]*)(={0,2})\Z")
_URL_SAFE = str.maketrans("-_", "+/")
_NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_LARGEST_EXPONENT = 20  # 2^64 has 20 digits


def encode_scalar(element: Element, value: Any) -> bytes:
    """The value as it stands behind its tag. `Misfit`."""
    if element.enum is not None:
        return encode_enum(element.enum, value)
    return _ENCODERS[element.kind](element.kind, value)


def encode_key(kind: str, key: str) -> bytes:
    """The key of a map, which is always text in JSON. `Misfit`."""
    if kind != "bool":
        return _ENCODERS[kind](kind, key)
    if key not in ("true", "false"):
        raise Misfit("wrong_type", "The key of this map is true or false.")
    return b"\1" if key == "true" else b"\0"


def encode_enum(enum: Enum, value: Any) -> bytes:
    """An enum value by its name or its number; an open enum keeps numbers that it does not name. `Misfit`."""
    if value is None and enum.is_null:
        return b"\0"
    if type(value) is str:
        number = enum.numbers.get(value)
    elif number_text(value) is None:
        raise Misfit("wrong_type", f"A name or a number of the enum {enum.name} is expected here.")
    else:
        number = read_integer("int32", value)
        if enum.closed and number not in enum.numbers.values():
            number = None
    if number is None:
        raise unknown_symbol(enum.name, enum.numbers, value)
    return varint(number)


def read_integer(kind: str, value: Any) -> int:
    """An integer in the range of its kind: 1, "1", 1.0 and 1e0 are the same, 1.5 is none. `Misfit`."""
    text = number_text(value)
    if text is None:
        raise Misfit("wrong_type", wrong_type(kind, value))
    number = int(text) if len(text) <= _LARGEST_EXPONENT and text.lstrip("-").isdigit() else _integral(kind, text)
    low, high = RANGES[kind]
    if not low <= number <= high:
        raise _out_of_range(kind)
    return number


def read_float(kind: str, value: Any) -> float:
    """A float or double, rounded to the nearest as every reader of decimal digits does; an integer must be exact."""
    if type(value) is str and value in _NOT_FINITE:
        return _NOT_FINITE[value]
    text = number_text(value)
    if text is None:
        raise Misfit("wrong_type", wrong_type(kind, value))
    return nearest(kind, text)


def number_text(value: Any) -> str | None:
    """The text of a JSON number, or of text that holds one; None for everything else."""
    if type(value) is int:
        return str(value)
    text = value.text if type(value) is Fractional else value
    return text if type(text) is str and _NUMBER.match(text) else None


def read_bytes(value: Any) -> bytes:
    """Standard or URL-safe base64, with or without padding. `Misfit`."""
    if type(value) is not str:
        raise Misfit("wrong_type", "A value of type bytes is expected here: text in base64.")
    not_base64 = Misfit("not_bytes", "The text is not base64 (an example: aGVsbG8= for the bytes of hello).")
    found = _BASE64.match(value)
    missing = -len(value) % 4
    if not found or missing == 3 or (found[1] and missing):
        raise not_base64
    try:
        return binascii.a2b_base64(value.translate(_URL_SAFE) + "=" * missing)
    except ValueError:
        raise not_base64 from None


def _integral(kind: str, text: str) -> int:
    try:
        number = decimal.Decimal(text)
    except decimal.InvalidOperation:  # the exponent has too many digits even for this
        raise _out_of_range(kind) from None
    if number and number.adjusted() > _LARGEST_EXPONENT:
        raise _out_of_range(kind)
    if number != number.to_integral_value():
        raise Misfit("wrong_type", f"The number has a fraction; {kind} holds integers only.")
    return int(number)


def _out_of_range(kind: str) -> Misfit:
    return Misfit("out_of_range", f"The number does not fit {kind} ({kind[-2:]} bits).")


def _encode_integer(kind: str, value: Any) -> bytes:
    return PACKERS[kind](read_integer(kind, value))


def _encode_float(kind: str, value: Any) -> bytes:
    number = read_float(kind, value)
    return pack_double(number) if kind == "double" else pack_float(number)


def _encode_bool(_kind: str, value: Any) -> bytes:
    if type(value) is not bool:
        raise Misfit("wrong_type", wrong_type("bool", value))
    return b"\1" if value else b"\0"


def _encode_string(_kind: str, value: Any) -> bytes:
    if type(value) is not str:
        raise Misfit("wrong_type", wrong_type("string", value))
    return sized(value.encode())


def _encode_bytes(_kind: str, value: Any) -> bytes:
    return sized(read_bytes(value))


_ENCODERS: dict[str, Callable[[str, Any], bytes]] = {
    **dict.fromkeys(PACKERS, _encode_integer),
    "double": _encode_float,
    "float": _encode_float,
    "bool": _encode_bool,
    "string": _encode_string,
    "bytes": _encode_bytes,
}
