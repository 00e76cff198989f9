"""A map file (TOML): which column goes where in the record, and how its cells are written."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inlake.client.tables.dates import Notation
from inlake.client.tables.faults import Fault, TableError
from inlake.client.tables.layout import Layout
from inlake.client.tables.row import plain_name

EMPTY = ("null", "absent", "text")
TYPES = ("text", "integer", "number", "boolean", "date", "time", "timestamp")
_ZONE = re.compile(r"(Z|[+-][0-9]{2}:[0-9]{2})\Z")


@dataclass(frozen=True, slots=True)
class Rules:
    """How cells are written; of a whole table, or of one column."""

    decimal_comma: bool = False
    thousands: str = ""
    """The character between groups of three digits."""
    date: Notation | None = None
    """None: ISO 8601."""
    timestamp: Notation | None = None
    zone: str | None = None
    """`Z` or `+01:00`: of moments that are written without one."""
    null: frozenset[str] = frozenset()
    """Cells that count as empty."""
    true: frozenset[str] = frozenset()
    """Beside `true`."""
    false: frozenset[str] = frozenset()
    split: str | None = None
    """The text between the parts of a list."""
    replace: Mapping[str, str] = field(default_factory=dict)
    """Cells that stand for others."""
    empty: str | None = None
    """The value of an empty cell: `null`, `absent` or `text`; None: what the schema allows."""
    type: str | None = None
    """Which type of a choice."""


@dataclass(frozen=True, slots=True)
class Target:
    """The field that a column goes to."""

    pointers: tuple[str, ...]
    """JSON Pointers into the record."""
    rules: Rules


@dataclass(frozen=True, slots=True)
class Map:
    """A person's word on a table; an empty one: columns go to the fields of their names."""

    file: str | None = None
    """The column that names the file of a row."""
    layout: Layout = field(default_factory=Layout)
    """The layout that the map gives."""
    rules: Rules = field(default_factory=Rules)
    """The rules of all columns that say nothing else."""
    ignore: frozenset[str] = frozenset()
    """Columns that go nowhere."""
    columns: Mapping[str, Target] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    """Values by JSON Pointer that every record has."""

    def layout_under(self, asked: Layout) -> Layout:
        """The layout of the map, where `asked` says nothing."""
        given = ("encoding", "delimiter", "header", "sheet")
        of_map = {name: getattr(self.layout, name) for name in given if getattr(asked, name) is None}
        return dataclasses.replace(
            asked, quotes=self.layout.quotes, ignore_unnamed=self.layout.ignore_unnamed, **of_map
        )


def read_map(path: str | Path) -> Map:
    """The map in a TOML file. `TableError` names the key that is wrong; OSError."""
    import tomllib  # noqa: PLC0415 - most commands read no map, and it takes a while to be loaded

    try:
        told = tomllib.loads(Path(path).read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TableError(
            [Fault("bad_map", f"{path} is no TOML: {error}.", "See toml.io for how it is written.")]
        ) from None
    return _Reader(str(path)).map(told)


class _Reader:
    def __init__(self, name: str) -> None:
        self._name = name
        self._faults: list[Fault] = []

    def map(self, told: dict[str, Any]) -> Map:
        known = {"file", "ignore", "table", "columns", "constants"}
        rules = self._rules(Rules(), {key: value for key, value in told.items() if key not in known}, "")
        columns: dict[str, Target] = {}
        for name, target in self._dict(told, "columns").items():
            columns[plain_name(name)] = self._target(name, target, rules)
        constants = self._dict(told, "constants")
        for pointer in constants:
            self._pointer(pointer, f"constants.{pointer}")
        file = told.get("file")
        if file is not None and not isinstance(file, str):
            self._wrong("file", "is the name of a column")
        ignore = frozenset(plain_name(name) for name in self._words(told, "ignore"))
        layout = self._layout(self._dict(told, "table"))
        made = Map(plain_name(file) if isinstance(file, str) else None, layout, rules, ignore, columns, constants)
        if self._faults:
            raise TableError(self._faults)
        return made

    def _target(self, name: str, told: Any, rules: Rules) -> Target:
        at = f"columns.{name}"
        if not isinstance(told, dict):
            told = {"to": told}
        to = told.get("to")
        pointers = to if isinstance(to, list) else [to]
        for pointer in pointers:
            self._pointer(pointer, at)
        rest = {key: value for key, value in told.items() if key != "to"}
        return Target(tuple(map(str, pointers)), self._rules(rules, rest, at))

    def _rules(self, rules: Rules, told: dict[str, Any], at: str) -> Rules:
        """`rules` with what is told in their place."""
        made: dict[str, Any] = {}
        century = told.get("century")
        for key, value in told.items():
            place = f"{at}.{key}" if at else key
            match key:
                case "decimal_comma" if isinstance(value, bool):
                    made[key] = value
                case "thousands" if isinstance(value, str) and len(value) < 2:
                    made[key] = value
                case "split" if isinstance(value, str) and value:
                    made[key] = value
                case "null" | "true" | "false":
                    made[key] = self._words(told, key)
                case "replace" if isinstance(value, dict) and all(isinstance(one, str) for one in value.values()):
                    made[key] = value
                case "date" | "timestamp" if isinstance(value, str):
                    made[key] = self._notation(value, century, place)
                case "zone" if isinstance(value, str) and _ZONE.match(value):
                    made[key] = value
                case "empty" if value in EMPTY:
                    made[key] = value
                case "type" if value in TYPES:
                    made[key] = value
                case "century" if isinstance(value, int) and value % 100 == 0:
                    pass
                case _:
                    self._wrong(place, _KEYS.get(key, f"is no key of a map; those are {', '.join(sorted(_KEYS))}"))
        return dataclasses.replace(rules, **made)

    def _notation(self, text: str, century: int | None, place: str) -> Notation | None:
        try:
            return Notation(text, century)
        except ValueError as error:
            self._faults.append(Fault("bad_map", f"{self._name}: {place}: {error}"))
            return None

    def _layout(self, told: dict[str, Any]) -> Layout:
        texts, switches = ("encoding", "delimiter", "sheet"), ("quotes", "ignore_unnamed")
        kinds: dict[str, type] = {"header": int, **dict.fromkeys(texts, str), **dict.fromkeys(switches, bool)}
        given: dict[str, Any] = {}
        for key, value in told.items():
            if type(value) is kinds.get(key):
                given[key] = value
            else:
                self._wrong(f"table.{key}", f"is not right: [table] has {', '.join(kinds)}")
        return Layout(**given)

    def _words(self, told: dict[str, Any], key: str) -> frozenset[str]:
        value = told.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            self._wrong(key, "is a list of texts")
            return frozenset()
        return frozenset(value)

    def _dict(self, told: dict[str, Any], key: str) -> dict[str, Any]:
        value = told.get(key, {})
        if not isinstance(value, dict):
            self._wrong(key, f"is a table: write [{key}]")
            return {}
        return value

    def _pointer(self, pointer: Any, at: str) -> None:
        if not isinstance(pointer, str) or not pointer.startswith("/") or re.search(r"~(?![01])", pointer):
            self._wrong(at, f"names no field: {pointer!r} is not written like /dateRange/startYear")

    def _wrong(self, key: str, detail: str) -> None:
        self._faults.append(Fault("bad_map", f"{self._name}: {key} {detail}."))


_KEYS = {
    "century": "is the first year of a century: 1900",
    "constants": "is a table",
    "date": "is a notation: DD.MM.YYYY",
    "decimal_comma": "is true or false",
    "empty": "is one of null, absent, text",
    "false": "is a list of texts",
    "file": "is the name of a column",
    "ignore": "is a list of columns",
    "null": "is a list of texts",
    "replace": "is a table of texts",
    "split": "is a text",
    "table": "is a table",
    "thousands": "is one character",
    "timestamp": "is a notation: DD.MM.YYYY hh:mm",
    "true": "is a list of texts",
    "type": f"is one of {', '.join(TYPES)}",
    "zone": "is Z or an offset such as +01:00",
}
