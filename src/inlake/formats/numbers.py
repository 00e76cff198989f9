"""JSON numbers as IEEE 754 numbers: the nearest one to what the text says, an integer only where it is exact.

A double that stands for a decimal text cannot be rounded again to a single: 1.0000000596046448 is nearest to the double
that lies halfway between two singles, but not halfway itself. So a single is rounded from the text.
"""

from __future__ import annotations

import math
from decimal import Decimal

from inlake.formats.binary import pack_float, unpack_float
from inlake.formats.json_text import LONGEST_INTEGER
from inlake.formats.reasons import Misfit
from inlake.formats.source import Undecided

SMALLEST_NORMAL = 2.0**-126
"""Below this singles have fewer digits."""
_SPLIT = 2.0**28 + 1


def nearest(kind: str, text: str) -> float:
    """The `float` or `double` that is nearest to a JSON number, ties to even. `Misfit`."""
    number = float(text)
    if number == 0 and not says_zero(text):
        raise too_small(kind)
    if kind == "float":
        number = _single(text, number)
    if math.isinf(number):
        raise Misfit("out_of_range", f"The number does not fit {kind} ({64 if kind == 'double' else 32} bits).")
    if text.lstrip("-").isdigit() and (len(text) > LONGEST_INTEGER or int(text) != number):
        raise Misfit("not_exact", f"The integer cannot be kept exactly in {kind}.")
    return number


def says_zero(text: str) -> bool:
    """Whether a JSON number is 0, whatever its sign and exponent."""
    return not text.lower().partition("e")[0].strip("-0.")


def too_small(kind: str) -> Misfit:
    """The reason for a number that is not 0, and would be kept as 0."""
    return Misfit("out_of_range", f"The number is so small that {kind} would keep 0.")


def keeps(number: float, text: str) -> bool:
    """Whether a number is the one that a JSON text says: its own shortest text says the same."""
    return Decimal(repr(number)) == Decimal(text)


def single_text(number: float) -> str:
    """A single's four bytes as text (latin-1), from the double nearest to an unknown decimal text; `Undecided` where
    that text could be nearer to another single, or be kept as 0."""
    # a double halfway between two singles has 25 bits: then it is equal to its first 25 (Veltkamp's splitting)
    if number and (-SMALLEST_NORMAL < number < SMALLEST_NORMAL or (c := number * _SPLIT) - (c - number) == number):
        packed = pack_float(number)
        if unpack_float(packed)[0] != number:
            raise Undecided
        return packed.decode("latin-1")
    return pack_float(number).decode("latin-1")


def _single(text: str, number: float) -> float:
    """The single that is nearest to a decimal text, whose nearest double is `number`."""
    if not math.isfinite(number) or number == 0:
        return number
    exact = Decimal(text)
    # of the two doubles around the text the odd one: it is never halfway between singles, and on the right side
    if exact != number and not int(math.frexp(number)[0] * 2**53) & 1:
        number = math.nextafter(number, math.inf if exact > number else -math.inf)
    try:
        rounded: float = unpack_float(pack_float(number))[0]
    except OverflowError:
        return math.copysign(math.inf, number)
    return rounded
