"""The words and codes for what is wrong with a value, by the keyword of JSON Schema that it breaks."""

from __future__ import annotations

from typing import Any

import jsonschema_rs

from inlake.formats.json_text import describe, shorten
from inlake.formats.reasons import Place, Reason, wrong_type

_REASONS = {  # keyword: code, what is wrong, what is expected; {} is the keyword's value
    "type": ("wrong_type", "", "{}"),
    "enum": ("unknown_symbol", "The value is none of those that are allowed here.", "one of {}"),
    "const": ("unknown_symbol", "Only one value is allowed here.", "{}"),
    "minimum": ("out_of_range", "The number is too small.", "at least {}"),
    "maximum": ("out_of_range", "The number is too large.", "at most {}"),
    "exclusiveMinimum": ("out_of_range", "The number is too small.", "more than {}"),
    "exclusiveMaximum": ("out_of_range", "The number is too large.", "less than {}"),
    "multipleOf": ("not_a_multiple", "The number is not a multiple of {}.", "a multiple of {}"),
    "minLength": ("wrong_length", "The text is too short.", "at least {} characters"),
    "maxLength": ("wrong_length", "The text is too long.", "at most {} characters"),
    "minItems": ("wrong_length", "The array has too few items.", "at least {} items"),
    "maxItems": ("wrong_length", "The array has too many items.", "at most {} items"),
    "minProperties": ("wrong_length", "The object has too few members.", "at least {} members"),
    "maxProperties": ("wrong_length", "The object has too many members.", "at most {} members"),
    "uniqueItems": ("not_unique", "Two items of the array are equal.", "items that differ"),
    "contains": ("wrong_length", "The array has no item of the kind that is asked for.", "an item that fits"),
    "pattern": ("pattern_mismatch", "The text does not match the pattern.", "text that matches {}"),
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
    said = wrong_type(text, value, place) if keyword == "type" else detail.format(text)
    return Reason(place, code, said, expected.format(text), describe(value))


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


def unexpected(value: Any, place: Place) -> Reason:
    """A property or item that the schema does not know."""
    what = "item" if place and isinstance(place[1], int) else "property"
    return Reason(place, "unknown_field", f"The schema has no such {what}.", "nothing", describe(value))


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
        return shorten(", ".join(_plain(one) for one in wanted[:20]))
    return shorten(_plain(wanted))


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else describe(value).partition(" ")[2] or "null"
