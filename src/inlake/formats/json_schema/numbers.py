"""JSON numbers as Python values that lose nothing: a double where it says the same, the decimal digits where not."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from inlake.errors import RecordRejected
from inlake.formats.json_text import LONGEST_INTEGER, Fractional, describe, has_minus_zero, parse_json
from inlake.formats.numbers import says_zero
from inlake.formats.reasons import Place, Reason, field_errors

SURE = 16
"""A number of this many characters has at most 15 digits: a double gives all of them back (IEEE 754, binary64)."""
LONGEST_INT = 4_300
"""Digits of an integer that Python reads from text."""
SCHEMA_ERRORS = 100
"""Numbers of one schema that its author is told of."""


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
    try:
        digits = Decimal(text)
    except InvalidOperation:  # its exponent has too many digits for a Decimal
        digits = Decimal(not says_zero(text))
    if math.isinf(number) or (number == 0 and digits):
        raise OutOfRange
    return number if Decimal(repr(number)) == digits else digits


decode = msgspec.json.Decoder(float_hook=exact_number).decode
"""JSON as plain Python values, quickly; -0 as 0. `msgspec.DecodeError`, `OutOfRange` and other `ValueError`s."""


def parse_exactly(text: bytes, max_errors: int) -> Any:
    """JSON as plain Python values. `MalformedJson`; `RecordRejected` names the numbers that are out of range.

    The caller has checked the depth. What the fast parser does not take is refused: the other one says why, or
    skips the BOM that it begins with.
    """
    try:
        if not has_minus_zero(text):
            return decode(text)
    except (msgspec.DecodeError, ValueError):  # not JSON, not UTF-8, or a number out of range: say which
        pass
    return _Numbers(exact_number, max_errors).read(parse_json(text))


def read_schema(text: str) -> Any:
    """A schema's text as plain Python values, its numbers exact. `MalformedJson`, `RecordRejected` (numbers)."""
    return _Numbers(_bound, SCHEMA_ERRORS).read(parse_json(text.encode()))


def _bound(text: str) -> float | Decimal | int:
    """A number in a schema, which may bound the numbers of records and be beyond all of them. `OutOfRange`."""
    try:
        return exact_number(text)
    except OutOfRange:
        if len(text) > LONGEST_INTEGER:
            raise
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise OutOfRange from None
    if abs(number.adjusted()) > LONGEST_INT:  # the library writes such a number out
        raise OutOfRange
    return number


class _Numbers:
    """Reads the numbers of a parsed document, and gives up when `max_errors` of them are out of range."""

    def __init__(self, number: Callable[[str], float | Decimal | int], max_errors: int) -> None:
        self._number = number
        self._max_errors = max_errors
        self._errors: list[Reason] = []

    def read(self, document: Any) -> Any:
        """The document with its numbers read. `RecordRejected`."""
        value = self._read(document, None)
        if self._errors:
            raise RecordRejected(field_errors(self._errors))
        return value

    def _read(self, value: Any, place: Place) -> Any:
        if isinstance(value, dict):
            return {key: self._read(item, (place, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self._read(item, (place, index)) for index, item in enumerate(value)]
        if not isinstance(value, Fractional):
            return value
        try:
            return self._number(value.text)
        except OutOfRange:
            wanted = f"a number that a double comes near, of at most {LONGEST_INTEGER} characters"
            detail = "The number is out of range: readers of JSON could not hold it."
            self._errors.append(Reason(place, "out_of_range", detail, wanted, describe(value)))
            if len(self._errors) == self._max_errors:
                raise RecordRejected(field_errors(self._errors)) from None
            return None
