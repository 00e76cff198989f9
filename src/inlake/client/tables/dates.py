"""Dates and times as people write them: ISO 8601, or a notation such as `DD.MM.YYYY`."""

from __future__ import annotations

import datetime as dt
import re
from typing import Final

_TOKENS: Final = {
    "YYYY": r"(?P<year>[0-9]{4})",
    "YY": r"(?P<short>[0-9]{2})",
    "MM": r"(?P<month>[0-9]{2})",
    "M": r"(?P<month>[0-9]{1,2})",
    "DD": r"(?P<day>[0-9]{2})",
    "D": r"(?P<day>[0-9]{1,2})",
    "hh": r"(?P<hour>[0-9]{2})",
    "h": r"(?P<hour>[0-9]{1,2})",
    "mm": r"(?P<minute>[0-9]{2})",
    "ss": r"(?P<second>[0-9]{2})",
}
_TOKEN = re.compile("|".join(_TOKENS))
_ISO_TIME = re.compile(r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:[0-9]{2})?\Z")


class Notation:
    """How dates are written: `YYYY`, `YY`, `MM`, `M`, `DD`, `D`, `hh`, `h`, `mm`, `ss`; all else as it stands."""

    def __init__(self, text: str, century: int | None = None) -> None:
        """`century`: the first year of the century that `YY` is in. Raises ValueError with a sentence."""
        self.text = text
        self._century = century
        tokens = _TOKEN.findall(text)
        kinds = [token[0] for token in tokens]
        if not {"Y", "M", "D"} <= set(kinds) or len(set(kinds)) != len(kinds):
            raise ValueError(f"{text!r} is no notation: write it like DD.MM.YYYY, year, month and day once each.")
        if "YY" in tokens and century is None:
            raise ValueError(f"{text!r} has years of two digits: say `century = 1900` for 1900 to 1999.")
        parts, end = [], 0
        for match in _TOKEN.finditer(text):
            parts += [re.escape(text[end : match.start()]), _TOKENS[match[0]]]
            end = match.end()
        self._pattern = re.compile("".join(parts) + re.escape(text[end:]) + r"\Z")

    def read(self, text: str) -> dt.datetime | None:
        """The moment, without a zone; None when it is written otherwise or is none."""
        match = self._pattern.match(text)
        if match is None:
            return None
        found = match.groupdict()
        year = int(found["year"]) if "year" in found else (self._century or 0) + int(found.get("short", 0))
        month, day, hour, minute, second = (int(found.get(name, 0)) for name in _PARTS)
        try:
            return dt.datetime(year, month, day, hour, minute, second)  # noqa: DTZ001
        except ValueError:
            return None


_PARTS: Final = ("month", "day", "hour", "minute", "second")


def iso_date(text: str) -> str | None:
    """A date of ISO 8601, `1897-07-21`; None when it is none."""
    try:
        return dt.date.fromisoformat(text).isoformat() if len(text) == 10 and text[4] == "-" else None
    except ValueError:
        return None


def iso_time(text: str) -> str | None:
    """A time of day, `13:45` or `13:45:00.5`, with a zone or without."""
    if not _ISO_TIME.match(text):
        return None
    clock = re.split(r"[Z+-]", text)[0]
    try:
        dt.time.fromisoformat(clock[:8])
    except ValueError:
        return None
    return text if len(clock) > 5 else text.replace(clock, clock + ":00", 1)


def iso_moment(text: str) -> tuple[str, bool] | None:
    """A date with a time, `1897-07-21T13:45:00Z` or with a blank for the T; and whether it has a zone."""
    day, time = text[:10], text[11:]
    whole = iso_date(day), iso_time(time)
    if whole[0] is None or whole[1] is None or text[10] not in "T ":
        return None
    return f"{whole[0]}T{whole[1]}", bool(re.search(r"Z|[+-][0-9]{2}:[0-9]{2}\Z", time))
