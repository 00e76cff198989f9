"""Timestamp, Duration and FieldMask: the JSON text of these well-known types to the bytes of their messages."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from inlake.formats.binary import varint
from inlake.formats.dates import (
    DAY_SECONDS,
    FIRST_DAY,
    LAST_DAY,
    day_number,
    outside_years,
    second_of_day,
    unreadable_date,
    zone_seconds,
)
from inlake.formats.protobuf.wire import sized
from inlake.formats.reasons import Misfit

_MAX_SECONDS = 315_576_000_000  # 10,000 years, as duration.proto says
_STAMP = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([01][0-9]|2[0-3]):([0-5][0-9]):([0-5][0-9])(?:\.([0-9]{1,9}))?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})\Z"
)
_DURATION = re.compile(r"(-?)(0|[1-9][0-9]{0,12})(?:\.([0-9]{1,9}))?s\Z")
_PATH = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:\.[A-Za-z][A-Za-z0-9]*)*\Z")


def timestamp(value: Any) -> bytes:
    """RFC 3339 text with a zone, as `google.protobuf.Timestamp` (seconds and nanoseconds). `Misfit`."""
    if type(value) is not str:
        raise Misfit("wrong_type", "A timestamp is expected here: text such as 1897-01-31T13:45:00Z.")
    found = _STAMP.match(value)
    if not found:
        raise _no_stamp(value)
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    seconds = day_number(year, month, day) * DAY_SECONDS + second_of_day(hour, minute, second) - zone_seconds(zone)
    if not FIRST_DAY <= seconds // DAY_SECONDS <= LAST_DAY:
        raise outside_years()
    return _seconds_and_nanos(seconds, _nanos(fraction))


def duration(value: Any) -> bytes:
    """Seconds with up to nine decimals and an s behind, as `google.protobuf.Duration`. `Misfit`."""
    if type(value) is not str:
        raise Misfit("wrong_type", "A duration is expected here: text such as 90s or 1.5s.")
    found = _DURATION.match(value)
    if not found:
        raise Misfit("invalid_duration", "The text is not a number of seconds with an s behind, such as 90s or 1.5s.")
    sign = -1 if found[1] else 1
    seconds, nanos = int(found[2]), _nanos(found[3])
    if seconds > _MAX_SECONDS:
        raise Misfit("out_of_range", f"A duration is at most {_MAX_SECONDS:,} seconds.")
    return _seconds_and_nanos(sign * seconds, sign * nanos)


def field_mask(value: Any) -> bytes:
    """Paths in lowerCamelCase joined by commas, as `google.protobuf.FieldMask` with the original names. `Misfit`."""
    if type(value) is not str:
        raise Misfit("wrong_type", "A field mask is expected here: paths in one text, joined by commas.")
    paths = value.split(",") if value else []
    if not all(_PATH.match(path) for path in paths):
        raise Misfit(
            "wrong_type", "A field mask holds paths in lowerCamelCase joined by commas, such as title,image.width."
        )
    original = (re.sub("[A-Z]", lambda capital: "_" + capital[0].lower(), path) for path in paths)
    return b"".join(b"\x0a" + sized(path.encode()) for path in original)


AS_TEXT: dict[str, Callable[[Any], bytes]] = {
    "google.protobuf.Timestamp": timestamp,
    "google.protobuf.Duration": duration,
    "google.protobuf.FieldMask": field_mask,
}
"""The messages that JSON writes as text of a form of its own."""


def _nanos(digits: str | None) -> int:
    return int((digits or "").ljust(9, "0"))


def _seconds_and_nanos(seconds: int, nanos: int) -> bytes:
    return (b"\x08" + varint(seconds) if seconds else b"") + (b"\x10" + varint(nanos) if nanos else b"")


def _no_stamp(text: str) -> Misfit:
    wanted = "an RFC 3339 date and time with a zone such as 1897-01-31T13:45:00Z"
    if _STAMP.match(text + "Z"):
        return Misfit(
            "zone_missing", "A timestamp is an instant: the text needs a zone, Z or an offset such as +01:00."
        )
    return unreadable_date(text, wanted, with_time=True)
