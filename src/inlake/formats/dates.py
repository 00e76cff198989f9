"""Dates as people write them: days of the calendar, zones, and what to say of those that no computer can count."""

from __future__ import annotations

import re
from datetime import date

from inlake.formats.reasons import Misfit

ADVICE = "For uncertain, partial or very old dates use a field of type string, with EDTF."
DAY_SECONDS = 86_400
_DAY_ZERO = date(1970, 1, 1).toordinal()
FIRST_DAY, LAST_DAY = date.min.toordinal() - _DAY_ZERO, date.max.toordinal() - _DAY_ZERO
"""The years 1 to 9999 in days since 1970-01-01."""
_OTHER_YEAR = re.compile(r"([+-]\d{4,}|\d{5,}|0000)(-.*)?\Z|\d+ *(BCE?|B\.C\.)", re.ASCII | re.IGNORECASE | re.DOTALL)
_PARTIAL = re.compile(r"\d{2}[\dux]{2}(-[\dux]{2}){0,2}[?~%]?\Z", re.ASCII | re.IGNORECASE)
_PARTIAL_TIME = re.compile(r"T\d{2}(:\d{2}){0,2}(\.\d+)?\Z", re.ASCII | re.IGNORECASE)


def day_number(year: str, month: str, day: str) -> int:
    """Days since 1970-01-01, from decimal digits. `Misfit`."""
    if int(year) == 0:
        raise outside_years()
    try:
        return date(int(year), int(month), int(day)).toordinal() - _DAY_ZERO
    except ValueError:
        raise Misfit("invalid_date", "The calendar has no such day.") from None


def day_text(number: int) -> str:
    """The ISO 8601 date of a number of days since 1970-01-01."""
    return date.fromordinal(number + _DAY_ZERO).isoformat()


def second_of_day(hour: str, minute: str, second: str | None) -> int:
    """Seconds since midnight, from decimal digits. `Misfit`."""
    if int(hour) > 23 or int(minute) > 59 or int(second or 0) > 59:
        raise Misfit("invalid_time", "The time of day is not between 00:00:00 and 23:59:59.")
    return (int(hour) * 60 + int(minute)) * 60 + int(second or 0)


def zone_seconds(zone: str | None) -> int:
    """How much a zone is ahead of UTC: Z, +01, +0100, +01:00, or None. `Misfit`."""
    if zone is None or zone in "Zz":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[3:].lstrip(":") or 0)
    if hours > 23 or minutes > 59:
        raise Misfit("invalid_time", "The zone is not between -23:59 and +23:59.")
    return (hours * 60 + minutes) * (-60 if zone[0] == "-" else 60)


def outside_years(years: str = "1 to 9999") -> Misfit:
    return Misfit("date_out_of_range", f"The date is outside the years {years}. {ADVICE}")


def unreadable_date(text: str, wanted: str, *, with_time: bool) -> Misfit:
    """Text that is not `wanted`: of another age, a part of a date only, or no date at all."""
    if _OTHER_YEAR.match(text):
        return outside_years()
    day = _PARTIAL_TIME.sub("", text) if with_time else text
    if _PARTIAL.match(day):
        return Misfit("date_incomplete", f"The text is only a part of {wanted}. {ADVICE}")
    return Misfit("invalid_date", f"The text is not {wanted}. {ADVICE}")
