"""A small JSON value that fits a schema, for people who meet the schema for the first time."""

from __future__ import annotations

from typing import Any

from inlake.errors import Unprocessable
from inlake.formats.avro.exact import walk
from inlake.formats.avro.types import Field, Type
from inlake.formats.json_text import ABSENT, Fractional

MAX_VALUES = 10_000
"""A schema of thirty lines can ask for a record of a billion values."""
_PLAIN: dict[str, Any] = {
    "null": None,
    "boolean": True,
    "int": 1,
    "long": 1,
    "float": 1.5,
    "double": 1.5,
    "bytes": "bytes",
}
_LOGICAL: dict[str, Any] = {
    "uuid": "596c52d4-16d3-580c-a7db-1e59cdb5ccf1",
    "date": "1897-07-21",
    "decimal": 1,
    "duration": "P1Y2M10DT2H30M",
    "time-millis": "13:45:00",
    "time-micros": "13:45:00",
}


def make_example(root: Type) -> Any:
    """A value that fits: defaults where there are some, short values elsewhere. `Unprocessable` if none is short."""
    return _Maker().value(root, set())


class _Maker:
    def __init__(self) -> None:
        self.room = MAX_VALUES

    def value(self, type_: Type, around: set[int]) -> Any:
        """`around`: the records that this value is in; inside of itself a record is as shallow as it can be."""
        self.room -= 1 + type_.size
        if self.room < 0:
            raise Unprocessable(
                f"Every value of this schema is longer than {MAX_VALUES:,} values: there is no example."
            )
        if type_.logical:
            return self.logical(type_)
        if type_.kind == "union":
            return self.value(self.branch(type_, around), around)
        if type_.kind == "record":
            return self.record(type_, around)
        if type_.kind == "array":
            return self.items(type_, around)
        if type_.kind == "map":
            return dict(zip(["key"], self.items(type_, around), strict=False))
        if type_.kind == "enum":
            return next(iter(type_.symbols))
        if type_.kind == "fixed":
            return "0" * type_.size
        return _PLAIN.get(type_.kind, "text")

    def logical(self, type_: Type) -> Any:
        if type_.logical == "decimal" and type_.precision == type_.scale:
            return 0
        local = (type_.logical or "").startswith("local")
        return _LOGICAL.get(type_.logical or "", "1897-07-21T13:45:00" + ("" if local else "Z"))

    def record(self, type_: Type, around: set[int]) -> dict[str, Any]:
        inside, values = around | {id(type_)}, {}
        for name, field in type_.fields.items():
            if field.default is ABSENT:
                values[name] = self.value(field.type, inside)
            elif _reads_as_default(field):
                values[name] = _plain(field.default)
        return values

    def items(self, type_: Type, around: set[int]) -> list[Any]:
        return [self.value(type_.inner[0], around)] if self.fits(type_.inner[0], around) else []

    def branch(self, union: Type, around: set[int]) -> Type:
        """The first that is not null; the shallowest where that leads back, or where much is shown already."""
        for branch in union.inner:
            if branch.kind != "null" and self.fits(branch, around):
                return branch
        return min(union.inner, key=lambda branch: branch.rank)

    def fits(self, type_: Type, around: set[int]) -> bool:
        return id(type_) not in around and len(around) < 8 and self.room > MAX_VALUES // 2


def _reads_as_default(field: Field) -> bool:
    """Whether the default, sent in a record, means the default: decimals are written otherwise in schemas."""
    encoded, errors = walk(field.type, field.default, max_errors=1)
    return not errors and encoded == field.filled


def _plain(default: Any) -> Any:
    if isinstance(default, dict):
        return {key: _plain(value) for key, value in default.items()}
    if isinstance(default, list):
        return [_plain(value) for value in default]
    return float(default.text) if isinstance(default, Fractional) else default
