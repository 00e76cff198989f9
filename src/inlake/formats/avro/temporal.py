"""Dates and times of Avro's logical types: ISO 8601 text to the number the schema wants, and back for display."""

from __future__ import annotations

import re
from typing import NamedTuple

from inlake.formats.dates import (
    DAY_SECONDS,
    FIRST_DAY,
    LAST_DAY,
    day_number,
    day_text,
    outside_years,
    second_of_day,
    unreadable_date,
    zone_seconds,
)
from inlake.formats.reasons import Misfit

_DATE = r"(\d{4})-(\d\d)-(\d\d)"
_TIME = r"(\d\d):(\d\d)(?::(\d\d)(?:[.,](\d+))?)?"
_ZONE = r"([Zz]|[+-]\d\d(?::?\d\d)?)?"
_DATE_TEXT = re.compile(_DATE + r"\Z", re.ASCII)
_TIME_TEXT = re.compile(_TIME + r"\Z", re.ASCII)
_STAMP_TEXT = re.compile(_DATE + "[Tt ]" + _TIME + _ZONE + r"\Z", re.ASCII)
_DURATION = re.compile(
    r"P(?:(\d{1,10})Y)?(?:(\d{1,10})M)?(?:(\d{1,10})W)?(?:(\d{1,10})D)?"
    r"(?:T(?=\d)(?:(\d{1,10})H)?(?:(\d{1,10})M)?(?:(\d{1,10})(?:[.,](\d{1,9}))?S)?)?\Z",
    re.ASCII,
)


class Clock(NamedTuple):
    """The unit that a temporal logical type counts, and its range."""

    digits: int
    """Decimal digits of a second in one unit: 3 counts milliseconds; -1 counts days."""
    low: int
    high: int
    kind: str
    """`date`, `time`, `instant` (the text has a zone) or `local` (it has none)."""


def _stamp(digits: int, kind: str) -> Clock:
    unit = 10**digits
    low, high = FIRST_DAY * DAY_SECONDS * unit, (LAST_DAY + 1) * DAY_SECONDS * unit - 1
    return Clock(digits, max(low, -(1 << 63)), min(high, (1 << 63) - 1), kind)


CLOCKS = {
    "date": Clock(-1, FIRST_DAY, LAST_DAY, "date"),
    "time-millis": Clock(3, 0, DAY_SECONDS * 10**3 - 1, "time"),
    "time-micros": Clock(6, 0, DAY_SECONDS * 10**6 - 1, "time"),
    "timestamp-millis": _stamp(3, "instant"),
    "timestamp-micros": _stamp(6, "instant"),
    "timestamp-nanos": _stamp(9, "instant"),
    "local-timestamp-millis": _stamp(3, "local"),
    "local-timestamp-micros": _stamp(6, "local"),
    "local-timestamp-nanos": _stamp(9, "local"),
}


def count(clock: Clock, value: int | str) -> int:
    """The number of units: `value` itself if it is a number, else what the text says. `Misfit`."""
    number = value if isinstance(value, int) else _read(clock, value)
    if clock.low <= number <= clock.high:
        return number
    if clock.kind == "time":
        raise Misfit("time_out_of_range", "The time is not within one day.")
    years = "1678 to 2261 (nanoseconds in 64 bits)" if clock.digits == 9 else "1 to 9999"
    raise outside_years(years)


def show(clock: Clock, number: int) -> str | int:
    """The ISO 8601 text of a number of units; the number itself when it is out of range."""
    if not clock.low <= number <= clock.high:
        return number
    if clock.kind == "date":
        return day_text(number)
    seconds, fraction = divmod(number, 10**clock.digits)
    days, second = divmod(seconds, DAY_SECONDS)
    time = f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.{fraction:0{clock.digits}}"
    if clock.kind == "time":
        return time
    return f"{day_text(days)}T{time}{'Z' * (clock.kind == 'instant')}"


def read_duration(text: str) -> tuple[int, int, int]:
    """Months, days and milliseconds of an ISO 8601 duration. `Misfit`."""
    found = _DURATION.match(text)
    if not found or not any(found.groups()):
        raise Misfit("invalid_duration", "The text is not an ISO 8601 duration such as P1Y2M10DT2H30M.")
    years, months, weeks, days, hours, minutes, seconds = (int(part or 0) for part in found.groups()[:7])
    millis = ((hours * 60 + minutes) * 60 + seconds) * 1000 + _fraction(found[8], 3)
    parts = (years * 12 + months, weeks * 7 + days, millis)
    if max(parts) >= 1 << 32:
        raise Misfit("out_of_range", "Months, days and milliseconds of a duration are below 2^32 each.")
    return parts


def _read(clock: Clock, text: str) -> int:
    if clock.kind == "date":
        found = _DATE_TEXT.match(text)
        if not found:
            raise unreadable_date(text, "an ISO 8601 date such as 1897-01-31", with_time=False)
        return day_number(*found.groups())
    if clock.kind == "time":
        found = _TIME_TEXT.match(text)
        if not found:
            raise Misfit("invalid_time", "The text is not an ISO 8601 time of day such as 13:45:00.")
        return _units(clock, 0, *found.groups())
    found = _STAMP_TEXT.match(text)
    if not found:
        example = "1897-01-31T13:45:00" + ("Z" if clock.kind == "instant" else "")
        raise unreadable_date(text, f"an ISO 8601 date and time such as {example}", with_time=True)
    year, month, day, *time, zone = found.groups()
    if clock.kind == "instant" and zone is None:
        raise Misfit(
            "zone_missing", "The schema wants an instant: the text needs a zone, Z or an offset such as +01:00."
        )
    if clock.kind == "local" and zone is not None:
        raise Misfit("zone_not_allowed", "The schema wants a local date and time: the text must not have a zone.")
    return _units(clock, day_number(year, month, day) * DAY_SECONDS - zone_seconds(zone), *time)


def _units(clock: Clock, seconds: int, hour: str, minute: str, second: str | None, fraction: str | None) -> int:
    unit: int = 10**clock.digits
    return (seconds + second_of_day(hour, minute, second)) * unit + _fraction(fraction, clock.digits)


def _fraction(digits: str | None, kept: int) -> int:
    digits = (digits or "").rstrip("0")
    if len(digits) > kept:
        unit = {3: "milliseconds", 6: "microseconds", 9: "nanoseconds"}[kept]
        raise Misfit("not_exact", f"The text is finer than {unit}, which is what the schema keeps; round it first.")
    return int(digits.ljust(kept, "0"))
