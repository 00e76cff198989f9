"""JSON numbers as Python values that lose nothing: a double where it says the same, the decimal digits where not."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import msgspec

from inlake.errors import FieldError, RecordRejected
from inlake.formats.json_text import LONGEST_INTEGER, Fractional, describe, parse_json
from inlake.formats.reasons import Place, pointer

SURE = 16
"""A number of this many characters has at most 15 digits: a double gives all of them back (IEEE 754, binary64)."""
LONGEST_INT = 4_300
"""Digits of an integer that Python reads from text."""


class OutOfRange(ValueError):
    """No double comes near the number, or it has too many digits."""


def exact_number(text: str) -> float | Decimal | int:
    """The value of a JSON number: a float if its shortest text is the same number, else a Decimal. `OutOfRange`."""
    if len(text) <= SURE and "e" not in text and "E" not in text:
        return float(text)
    if text.removeprefix("-").isdigit() and len(text) <= LONGEST_INT:
        return int(text)
    if len(text) > LONGEST_INTEGER:
        raise OutOfRange
    number = float(text)
    if math.isinf(number):
        raise OutOfRange
    digits = Decimal(text)
    if number == 0 and digits:
        raise OutOfRange
    return number if Decimal(repr(number)) == digits else digits


_parse = msgspec.json.Decoder(float_hook=exact_number).decode


def parse_exactly(text: bytes, max_errors: int) -> Any:
    """JSON as plain Python values. `MalformedJson`; `RecordRejected` names the numbers that are out of range.

    The caller has checked the depth. What the fast parser does not take is refused: the other one says why, or
    skips the BOM that it begins with.
    """
    try:
        return _parse(text)
    except (msgspec.DecodeError, ValueError):  # not JSON, not UTF-8, or a number out of range: say which
        errors: list[FieldError] = []
        value = _exact(parse_json(text), None, errors)
        if errors:
            raise RecordRejected(errors[:max_errors]) from None
        return value


def _exact(value: Any, place: Place, errors: list[FieldError]) -> Any:
    """The value with its numbers read."""
    if isinstance(value, dict):
        return {key: _exact(item, (place, key), errors) for key, item in value.items()}
    if isinstance(value, list):
        return [_exact(item, (place, index), errors) for index, item in enumerate(value)]
    if not isinstance(value, Fractional):
        return value
    try:
        return exact_number(value.text)
    except OutOfRange:
        wanted = f"a number that a double comes near, of at most {LONGEST_INTEGER} characters"
        detail = "The number is out of range: readers of JSON could not hold it."
        errors.append(FieldError(pointer(place), "out_of_range", detail, wanted, describe(value)))
        return None
