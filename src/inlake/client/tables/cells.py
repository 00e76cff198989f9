"""One cell to one JSON value, by the type that the schema gives its field; nothing is guessed."""

from __future__ import annotations

import datetime as dt
import difflib
import json
import re
from collections.abc import Callable
from json.encoder import encode_basestring as quoted

from inlake.client.tables.dates import Notation, iso_date, iso_moment, iso_time
from inlake.client.tables.faults import shorten
from inlake.client.tables.mapping import Rules
from inlake.client.tables.row import Cell
from inlake.client.tables.shape import Field

Convert = Callable[[Cell], str]
"""A cell that is not empty to JSON text. `Misfit`."""
EXACT = 2**53
"""The whole numbers below it are doubles, each its own."""
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?P<fraction>\.[0-9]+)?(?P<exponent>[eE][+-]?[0-9]+)?\Z")
_LEADING_ZEROS = re.compile(r"-?0[0-9]")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
TEXTS = frozenset({"text", "any", "bytes", "choice"})
"""Types that blanks alone are a value of."""
_NOTATION_ADVICE = 'A map says how dates are written (date = "DD.MM.YYYY").'
_WHOLE_ADVICE = "What is no whole date belongs into a field of text."


class Misfit(ValueError):
    """A cell that does not become a value of its type."""

    def __init__(self, code: str, detail: str, advice: str = "") -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.advice = advice


def converter(field: Field, rules: Rules, language: str) -> Convert:
    """How cells of a column become values of a field."""
    return _Types(rules, language).of(field)


def is_empty(cell: Cell, rules: Rules, type_: str = "text") -> bool:
    """Whether a cell counts as empty: nothing in it, a word that the map names, or blanks where they are no text."""
    if not isinstance(cell, str):
        return cell is None
    if not cell or (rules.null and cell.strip() in rules.null):
        return True
    return type_ not in TEXTS and not cell.strip()


def text_of(cell: Cell) -> str:
    """A cell as its spreadsheet shows it, dates in ISO 8601."""
    match cell:
        case None:
            return ""
        case str():
            return cell
        case bool():
            return "TRUE" if cell else "FALSE"
        case float():
            return str(int(cell)) if cell.is_integer() and abs(cell) < EXACT else repr(cell)
        case dt.datetime():
            return cell.isoformat(sep=" ")
        case dt.timedelta():
            return f"PT{_seconds(cell)}S"
        case dt.date() | dt.time():
            return cell.isoformat()
    return str(cell)


class _Types:
    """The converters of one column."""

    def __init__(self, rules: Rules, language: str) -> None:
        self._rules = rules
        self._language = language

    def of(self, field: Field) -> Convert:
        if self._rules.type and field.type in {"choice", "any"}:
            field = next((one for one in field.choices if one.type == self._rules.type), Field("", self._rules.type))
        match field.type:
            case "choice":
                return self._choice(field)
            case "enum":
                return self._enum(field)
            case "array" if self._rules.split is not None:
                return self._list(field, self._rules.split)
            case "array" | "map" | "record":
                return _json(field)
            case "integer":
                return self._integer
            case "number" | "decimal":
                return self._number
            case "boolean":
                return self._boolean
            case "date":
                return self._date
            case "time":
                return self._time
            case "timestamp" | "local_timestamp":
                return self._local if field.type == "local_timestamp" else self._timestamp
            case "duration":
                return self._duration
            case "uuid":
                return _uuid
            case "any":
                return _any
        return _text

    def _choice(self, field: Field) -> Convert:
        converters = [self.of(choice) for choice in field.choices]
        words = ", ".join(choice.type for choice in field.choices)

        def convert(cell: Cell) -> str:
            for one in converters:
                try:
                    return one(cell)
                except Misfit:
                    pass
            raise Misfit("wrong_type", f"{_said(cell)} is none of: {words}.")

        return convert

    def _enum(self, field: Field) -> Convert:
        symbols = {symbol: quoted(symbol) for symbol in field.symbols}

        def convert(cell: Cell) -> str:
            text = text_of(cell)
            found = symbols.get(text) or symbols.get(text.strip())
            if found is None:
                near = difflib.get_close_matches(text, symbols, 1, 0.5)
                advice = f"Is {near[0]} meant? " if near else ""
                shown = ", ".join(list(symbols)[:10]) + (", …" if len(symbols) > 10 else "")
                raise Misfit(
                    "unknown_symbol", f"{_said(cell)} is none of: {shown}.", f"{advice}A map can replace words."
                )
            return found

        return convert

    def _list(self, field: Field, split: str) -> Convert:
        item = self.of(field.items or Field("", "any"))

        def convert(cell: Cell) -> str:
            parts = [part for one in text_of(cell).split(split) if (part := one.strip())]
            return f"[{','.join(map(item, parts))}]"

        return convert

    def _integer(self, cell: Cell) -> str:
        _check_digits(cell)
        if isinstance(cell, float) and cell.is_integer():
            return str(int(cell))
        text = self._number(cell)
        match = _NUMBER.match(text)
        if match is None or match["fraction"] or match["exponent"]:
            zero = "The .0 comes from a program that read the column as fractions." if text.endswith(".0") else ""
            raise Misfit("wrong_type", f"{_said(cell)} is no whole number.", zero)
        return text

    def _number(self, cell: Cell) -> str:
        if isinstance(cell, int | float) and not isinstance(cell, bool):
            return text_of(cell)
        if not isinstance(cell, str):
            raise Misfit("wrong_type", f"{_said(cell)} is no number.")
        text = cell.strip()
        plain = self._plain(text)
        if _NUMBER.match(plain):
            return plain
        advice = ""
        if _LEADING_ZEROS.match(text):
            advice = "It begins with 0: a field of text would keep it."
        elif not self._rules.decimal_comma and re.match(r"-?[0-9.]+,[0-9]+\Z", text):
            advice = 'For a decimal comma the map says decimal_comma = true, for thousands thousands = ",".'
        elif re.match(r"-?[0-9][0-9 _'.,\u00a0\u202f]*\Z", text):
            advice = "For groups of three digits the map says what stands between them (thousands)."
        raise Misfit("wrong_type", f"{_said(cell)} is no number.", advice)

    def _plain(self, text: str) -> str:
        """A number as JSON writes it; no number at all where a point stands in spite of a decimal comma."""
        thousands, comma = self._rules.thousands, self._rules.decimal_comma
        if thousands:
            whole, mark, fraction = text.partition("," if comma else ".")
            if re.match(rf"-?[0-9]{{1,3}}({re.escape(thousands)}[0-9]{{3}})+\Z", whole):
                text = whole.replace(thousands, "") + mark + fraction
        if comma:
            return "" if "." in text else text.replace(",", ".", 1)
        return text

    def _boolean(self, cell: Cell) -> str:
        if isinstance(cell, bool):
            return "true" if cell else "false"
        text = text_of(cell).strip()
        if text in self._rules.true or text.lower() == "true":
            return "true"
        if text in self._rules.false or text.lower() == "false":
            return "false"
        raise Misfit(
            "wrong_type", f"{_said(cell)} is neither true nor false.", "A map names other words (true, false)."
        )

    def _date(self, cell: Cell) -> str:
        if isinstance(cell, dt.datetime) and cell.time() == dt.time():
            cell = cell.date()
        if isinstance(cell, dt.date) and not isinstance(cell, dt.datetime):
            return quoted(cell.isoformat())
        text = text_of(cell).strip()
        found = _by(self._rules.date, text)
        made = found.date().isoformat() if found else iso_date(text)
        if made is None or not isinstance(cell, str):
            form = self._rules.date.text if self._rules.date else "YYYY-MM-DD"
            advice = _WHOLE_ADVICE if self._rules.date else f"{_NOTATION_ADVICE} {_WHOLE_ADVICE}"
            raise Misfit("wrong_type", f"{_said(cell)} is no date of the form {form}.", advice)
        return quoted(made)

    def _time(self, cell: Cell) -> str:
        made = (
            cell.isoformat() + (self._rules.zone or "")
            if isinstance(cell, dt.time)
            else iso_time(text_of(cell).strip())
        )
        if made is None:
            raise Misfit("wrong_type", f"{_said(cell)} is no time of the form 13:45 or 13:45:00.")
        return quoted(made)

    def _timestamp(self, cell: Cell) -> str:
        moment, zoned = self._moment(cell)
        if not zoned and self._rules.zone is None:
            advice = 'The map says which one (zone = "+01:00", or "Z" for UTC).'
            raise Misfit("no_zone", f"{_said(cell)} has no time zone.", advice)
        return quoted(moment if zoned else moment + (self._rules.zone or ""))

    def _local(self, cell: Cell) -> str:
        moment, zoned = self._moment(cell)
        if zoned:
            raise Misfit("wrong_type", f"{_said(cell)} has a time zone, and the field has none.")
        return quoted(moment)

    def _moment(self, cell: Cell) -> tuple[str, bool]:
        """A date with a time in ISO 8601, and whether it has a zone."""
        if isinstance(cell, dt.datetime):
            return cell.isoformat(), False
        text = text_of(cell).strip()
        found = _by(self._rules.timestamp, text)
        made = (found.isoformat(), False) if found else iso_moment(text) if isinstance(cell, str) else None
        if made is None:
            form = self._rules.timestamp.text if self._rules.timestamp else "YYYY-MM-DDThh:mm:ssZ"
            advice = 'Say how it is written in a map (timestamp = "DD.MM.YYYY hh:mm").'
            raise Misfit("wrong_type", f"{_said(cell)} is no moment of the form {form}.", advice)
        return made

    def _duration(self, cell: Cell) -> str:
        if isinstance(cell, dt.timedelta) and self._language == "PROTOBUF":
            return quoted(f"{_seconds(cell)}s")
        return quoted(text_of(cell))


def _check_digits(cell: Cell) -> None:
    """A workbook holds numbers as doubles, of which one that large stands for several whole numbers."""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) >= EXACT:
        advice = "Such numbers are kept as text: format the column as text, and type them again."
        raise Misfit("wrong_type", f"{_said(cell)} has more digits than a number of a workbook keeps.", advice)


def _seconds(duration: dt.timedelta) -> str:
    """Seconds with what there is of a fraction, to the microsecond."""
    whole, fraction = divmod(abs(duration) // dt.timedelta(microseconds=1), 1_000_000)
    sign = "-" if duration < dt.timedelta(0) else ""
    return f"{sign}{whole}.{fraction:06}".rstrip("0").rstrip(".") if fraction else f"{sign}{whole}"


def _by(notation: Notation | None, text: str) -> dt.datetime | None:
    return notation.read(text) if notation else None


def _said(cell: Cell) -> str:
    return repr(shorten(cell)) if isinstance(cell, str) else text_of(cell)


def _text(cell: Cell) -> str:
    _check_digits(cell)
    return quoted(text_of(cell))


def _any(cell: Cell) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return text_of(cell) if isinstance(cell, int | float) else quoted(text_of(cell))


def _uuid(cell: Cell) -> str:
    text = text_of(cell).strip()
    if not _UUID.match(text):
        raise Misfit("wrong_type", f"{_said(cell)} is no UUID.")
    return quoted(text)


def _json(field: Field) -> Convert:
    """Cells that hold JSON: for what has no form of its own in a cell."""
    kind, word = (list, "list") if field.type == "array" else (dict, "object")
    advice = (
        'A map says what stands between its parts (split = ";").'
        if field.type == "array"
        else "Columns for its fields are named like dateRange.startYear, or placed by a map."
    )

    def convert(cell: Cell) -> str:
        try:
            value = json.loads(text_of(cell))
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, kind):
            raise Misfit("wrong_type", f"{_said(cell)} is no {word} in JSON.", advice)
        return text_of(cell).strip().replace("\r", " ").replace("\n", " ")

    return convert
