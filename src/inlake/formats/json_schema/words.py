"""The words and codes for what is wrong with a value, by the keyword of JSON Schema that it breaks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import jsonschema_rs

from inlake.formats.dates import ADVICE, unreadable_date
from inlake.formats.json_text import describe, shorten
from inlake.formats.reasons import Meant, Place, Reason, listed, quoted, wrong_type

FORMATS = {
    "date": "1897-07-21",
    "date-time": "1897-07-21T13:45:00Z",
    "time": "13:45:00Z",
    "duration": "P1Y2M10DT2H30M",
    "email": "museum@example.org",
    "idn-email": "museum@example.org",
    "hostname": "example.org",
    "idn-hostname": "example.org",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.org/1",
    "uri-reference": "https://example.org/1",
    "uri-template": "https://example.org/{id}",
    "iri": "https://example.org/1",
    "iri-reference": "https://example.org/1",
    "uuid": "596c52d4-16d3-580c-a7db-1e59cdb5ccf1",
    "json-pointer": "/a",
    "relative-json-pointer": "1/a",
    "regex": "a+",
}
"""A text in each format."""

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]|\Z)", re.IGNORECASE)
_ZONE = re.compile(r"(Z|[+-][0-9]{2}:[0-9]{2})\Z", re.IGNORECASE)
_REASONS = {  # keyword: code, what is wrong, what is expected; {} is the keyword's value
    "type": ("wrong_type", "", "{}"),
    "enum": ("unknown_symbol", "Allowed here are {} only.", "one of {}"),
    "const": ("unknown_symbol", "Only the value {} is allowed here.", "{}"),
    "minimum": ("out_of_range", "The number is too small: at least {} is allowed.", "at least {}"),
    "maximum": ("out_of_range", "The number is too large: at most {} is allowed.", "at most {}"),
    "exclusiveMinimum": ("out_of_range", "The number is too small: it must be more than {}.", "more than {}"),
    "exclusiveMaximum": ("out_of_range", "The number is too large: it must be less than {}.", "less than {}"),
    "multipleOf": ("not_a_multiple", "The number is not a multiple of {}.", "a multiple of {}"),
    "minLength": ("wrong_length", "The text is shorter than {} characters.", "at least {} characters"),
    "maxLength": ("wrong_length", "The text is longer than {} characters.", "at most {} characters"),
    "minItems": ("wrong_length", "The array has fewer than {} items.", "at least {} items"),
    "maxItems": ("wrong_length", "The array has more than {} items.", "at most {} items"),
    "minProperties": ("wrong_length", "The object has fewer than {} members.", "at least {} members"),
    "maxProperties": ("wrong_length", "The object has more than {} members.", "at most {} members"),
    "uniqueItems": ("not_unique", "Two items of the array are equal.", "items that differ"),
    "contains": ("wrong_length", "The array has no item of the kind that is asked for.", "an item that fits"),
    "pattern": ("pattern_mismatch", "The text does not match the pattern {}.", "text that matches {}"),
    "format": ("bad_format", "The text is not in the format {}.", "format {}"),
    "contentEncoding": ("bad_format", "The text is not in the encoding {}.", "encoding {}"),
    "contentMediaType": ("bad_format", "The text is not of the media type {}.", "media type {}"),
}


def broken(keyword: str, wanted: Any, value: Any, place: Place) -> Reason:
    """The reason for a keyword with the value `wanted` that `value` breaks."""
    if keyword not in _REASONS:
        detail = f"The value breaks the rule {keyword} of the schema."
        return Reason(place, "does_not_fit", detail, keyword, describe(value))
    code, detail, expected = _REASONS[keyword]
    text = _words(keyword, wanted)
    said = wrong_type(text, value, is_record=place is None) if keyword == "type" else detail.format(text)
    if keyword == "format" and wanted in FORMATS:
        said = f"{said.rstrip('.')} (an example: {FORMATS[wanted]}).{_about_dates(wanted, value)}"
    meant = Meant(value, tuple(one for one in wanted if isinstance(one, str))) if keyword == "enum" else None
    return Reason(place, code, said, expected.format(text), describe(value), meant if isinstance(value, str) else None)


def from_library(error: jsonschema_rs.ValidationError, value: Any, place: Place, pattern: str | None = None) -> Reason:
    """An error of the library about `value`; `pattern`: as the schema writes it."""
    kind = error.kind
    if isinstance(kind, jsonschema_rs.ValidationErrorKind.BacktrackLimitExceeded):
        detail = "To match the text against the pattern takes too many steps."
        return Reason(place, "pattern_mismatch", detail, "text that is easier to match", describe(value))
    if kind.name == "required":
        return missing(kind.value, place)
    unknown = getattr(kind, "unexpected", None)
    if unknown:
        return unexpected(value[unknown[0]], (place, unknown[0]))
    wanted = pattern if kind.name == "pattern" and pattern is not None else kind.value
    return broken(kind.name, wanted, value, place)


def missing(name: str, place: Place, why: str = "") -> Reason:
    """A property that is not there; `place` is the object's."""
    return Reason(
        (place, name), "missing_field", f"The property {shorten(name)} is missing{why}.", "a value", "nothing"
    )


def unexpected(value: Any, place: Place, known: Iterable[str] = ()) -> Reason:
    """A property or item that the schema does not know; `known` are the properties of the object that it does."""
    name = place[1] if place else None
    what = "item" if isinstance(name, int) else "property"
    meant = Meant(name, tuple(known)) if isinstance(name, str) else None
    return Reason(place, "unknown_field", f"The schema has no such {what}.", "nothing", describe(value), meant)


def forbidden(value: Any, place: Place) -> Reason:
    """A value where the schema takes none."""
    return Reason(place, "not_allowed", "The schema allows no such value here.", "another value", describe(value))


def too_deep(value: Any, place: Place) -> Reason:
    """A value that the library cannot compare: it goes 255 levels down."""
    detail = "The value is nested too deeply to be compared with others."
    return Reason(place, "too_deep", detail, "at most 255 levels", describe(value))


def unexplained(value: Any) -> Reason:
    """A record that does not fit, and is too large or too deep to be looked through."""
    detail = "The record does not fit the schema, and is too large to say where."
    return Reason(None, "does_not_fit", detail, "a record that fits", describe(value))


def _words(keyword: str, wanted: Any) -> str:
    """The keyword's value for a person: short."""
    if keyword == "type":
        return " or ".join(wanted)
    if keyword == "enum":
        return listed(wanted, _written)
    if keyword == "const":
        return listed([wanted], _written)
    return listed([wanted], str)


def _written(value: Any) -> str:
    return quoted(value) if isinstance(value, str) else describe(value).partition(" ")[2] or "null"


def _about_dates(format_: str, value: Any) -> str:
    """Advice about a date that no computer can count, and about a time of no zone."""
    if format_ not in ("date", "date-time"):
        return ""
    if _DAY.match(value):
        zoned = format_ == "date" or _ZONE.search(value)
        return "" if zoned else " It needs a zone: Z, or an offset such as +01:00."
    misfit = unreadable_date(value, "a date", with_time=format_ == "date-time")
    return "" if misfit.code == "invalid_date" else f" {ADVICE}"
