"""Avro's logical types: which are valid where, and JSON values to the bytes of the underlying type."""

from __future__ import annotations

import re
import struct
from decimal import Context, Decimal
from typing import Any

from inlake.formats.avro.binary import sized
from inlake.formats.avro.temporal import CLOCKS, count, read_duration
from inlake.formats.avro.types import Type
from inlake.formats.binary import zigzag
from inlake.formats.json_text import Fractional
from inlake.formats.reasons import Misfit

_UNDERLYING = {"date": {"int"}, "time-millis": {"int"}, "uuid": {"string", "fixed"}, "decimal": {"bytes", "fixed"}}
_TAKEN: dict[str, tuple[type, ...]] = {"uuid": (str,), "duration": (str,), "decimal": (str, int, Fractional)}
"""The Python types of the JSON values of logical types; those not named take text and integers."""
_SUCH_AS = {
    "date": '"1897-01-31"',
    "time-": '"13:45:00"',
    "timestamp": '"1897-01-31T13:45:00Z"',
    "local-timestamp": '"1897-01-31T13:45:00"',
    "uuid": '"596c52d4-16d3-580c-a7db-1e59cdb5ccf1"',
    "decimal": '12.5 or "12.5"',
    "duration": '"P1Y2M10DT2H30M"',
}
"""Values by the beginning of the name of a logical type."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?\Z", re.ASCII)
_HINT = "write a number, or its digits as text such as 1234.50, without a comma, spaces or a unit"
_EXACT = Context(Emax=999_999_999_999_999_999, Emin=-999_999_999_999_999_999, traps=[])
MAX_PRECISION = 4_000
"""Digits; beyond, and beyond what a fixed can hold, a decimal is not valid and ignored."""
_LONGEST_EXPONENT = 15
"""Digits of an exponent that are read; longer ones fit no precision there is."""


def find_logical(underlying: Type, node: dict[str, Any]) -> Type:
    """`underlying` with the logical type of its schema, if it is one we know and it is valid there."""
    logical = node.get("logicalType")
    if not isinstance(logical, str) or logical not in CLOCKS.keys() | {"uuid", "decimal", "duration"}:
        return underlying
    if logical == "duration":
        fits = underlying.kind == "fixed" and underlying.size == 12
    else:
        fits = underlying.kind in _UNDERLYING.get(logical, {"long"})
    if logical == "uuid" and underlying.kind == "fixed":
        fits = underlying.size == 16
    if logical == "decimal" and fits:
        fits = _digits(underlying, node.get("precision"), node.get("scale", 0))
    underlying.logical = logical if fits else None
    return underlying


def _digits(underlying: Type, precision: Any, scale: Any) -> bool:
    """Note precision and scale of a decimal if they are valid."""
    if type(precision) is not int or type(scale) is not int or not 0 <= scale <= precision:
        return False
    if not 0 < precision <= MAX_PRECISION:
        return False
    if underlying.kind == "fixed" and 10**precision > 1 << 8 * min(underlying.size, MAX_PRECISION) >> 1:
        return False
    underlying.precision, underlying.scale = precision, scale
    return True


def encode_logical(type_: Type, value: Any, *, only_bytes: bool = False) -> bytes:
    """A JSON value encoded. `only_bytes`: text of decimals and durations is the specification's bytes. `Misfit`."""
    logical = type_.logical
    taken = _TAKEN.get(logical or "", (str, int))
    if type(value) not in (taken[:1] if only_bytes and logical == "decimal" else taken):
        such = "such as " + such_as(type_)
        if only_bytes and logical in ("decimal", "duration"):
            such = "in the tagged form its bytes, as text with a character each"
        raise Misfit("wrong_type", f"A value of type {type_.label} is expected here, {such}.")
    if logical == "uuid":
        return _encode_uuid(type_, value)
    if logical == "decimal":
        return _encode_decimal(type_, value, only_bytes=only_bytes)
    if logical == "duration":
        return code_points(value, 12) if only_bytes else struct.pack("<3I", *read_duration(value))
    return zigzag(count(CLOCKS[logical or ""], value))


def such_as(type_: Type) -> str:
    """An example of a value of a logical type, as JSON."""
    return next(text for name, text in _SUCH_AS.items() if (type_.logical or "").startswith(name))


def code_points(text: str, size: int | None = None) -> bytes:
    """Bytes written as text, a code point each, as Avro's JSON encoding wants. `Misfit`."""
    try:
        data = text.encode("latin-1")
    except UnicodeEncodeError:
        raise Misfit(
            "not_bytes",
            "Bytes are written as text with one character from U+0000 to U+00FF each, such as \\u00ff for the byte ff.",
        ) from None
    if size is not None and len(data) != size:
        raise Misfit("wrong_length", f"The schema wants {size} bytes here; these are {len(data)}.")
    return data


def _encode_uuid(type_: Type, text: str) -> bytes:
    fits = _UUID.match(text)
    if type_.kind == "fixed":
        return bytes.fromhex(text.replace("-", "")) if fits else code_points(text, 16)
    if not fits:
        raise Misfit("invalid_uuid", "The text is not a UUID such as 596c52d4-16d3-580c-a7db-1e59cdb5ccf1.")
    return sized(text.encode())


def _encode_decimal(type_: Type, value: Any, *, only_bytes: bool) -> bytes:
    if only_bytes:
        data = code_points(value, type_.size if type_.kind == "fixed" else None)
        if not data:
            raise Misfit("wrong_length", "A decimal needs at least one byte.")
        if abs(int.from_bytes(data, "big", signed=True)) >= 10**type_.precision:
            raise Misfit("too_many_digits", f"These bytes hold more than {type_.precision} digits.")
        return data if type_.kind == "fixed" else sized(data)
    if isinstance(value, str) and not _NUMBER.match(value):
        raise Misfit("invalid_decimal", f"The text is not a decimal number: {_HINT}.")
    unscaled = _unscaled(type_, value.text if isinstance(value, Fractional) else str(value))
    if type_.kind == "fixed":
        return unscaled.to_bytes(type_.size, "big", signed=True)
    bits = (unscaled if unscaled >= 0 else ~unscaled).bit_length()
    return sized(unscaled.to_bytes(bits // 8 + 1, "big", signed=True))


def _unscaled(type_: Type, text: str) -> int:
    """The number times 10^scale; sizes are compared before anything is multiplied."""
    exponent_text = text.lower().partition("e")[2].lstrip("+-0")
    if len(exponent_text) > _LONGEST_EXPONENT or len(text) > 100_000:
        raise _too_many_digits(type_)
    sign, digits, exponent = Decimal(text, _EXACT).as_tuple()
    kept = "".join(map(str, digits)).lstrip("0")
    significant = kept.rstrip("0")
    if not significant:
        return 0
    power = int(exponent) + len(kept) - len(significant) + type_.scale
    if power < 0 or len(significant) + power > type_.precision:
        raise _too_many_digits(type_)
    number = int(significant + "0" * power)
    return -number if sign else number


def _too_many_digits(type_: Type) -> Misfit:
    whole = type_.precision - type_.scale
    fits = ("1234"[:whole] or "0") + (".50"[: type_.scale + 1] if type_.scale else "")
    return Misfit(
        "too_many_digits",
        f"The number has more digits than {type_.label} keeps, and is not rounded: at most {whole} before the point "
        f"and {type_.scale} behind it, such as {fits}.",
    )
