"""The shape of a schema's records, in words that the three languages share: for those who make records from tables."""

from __future__ import annotations

from typing import Literal

import msgspec

Word = Literal[
    "any",
    "array",
    "boolean",
    "bytes",
    "choice",
    "date",
    "decimal",
    "duration",
    "enum",
    "integer",
    "local_timestamp",
    "map",
    "number",
    "record",
    "text",
    "time",
    "timestamp",
    "uuid",
]
"""`choice`: one of several types, other than null; `any`: the schema does not say."""
DEEPEST = 8
MAX_FIELDS = 2_000
"""A schema of thirty lines can hold a billion fields: records beyond are told without theirs."""


class Shape(msgspec.Struct, omit_defaults=True, kw_only=True):
    """A field of a record, or (without a name) what an array or a map holds."""

    name: str = ""
    """The name as JSON writes it."""
    type: Word
    required: bool = False
    """Absent is an error."""
    nullable: bool = False
    """Null is a value."""
    aliases: list[str] = []
    """Other names that are taken for it."""
    symbols: list[str] = []
    """The symbols of an enum."""
    scale: int | None = None
    """Digits behind the point of a decimal."""
    items: Shape | None = None
    """The shape of an array's items."""
    values: Shape | None = None
    """The shape of a map's values."""
    fields: list[Shape] = []
    """The fields of a record; empty inside of itself, `DEEPEST` levels down, and beyond `MAX_FIELDS`."""
    choices: list[Shape] = []
    """The branches of a choice, in the order of the schema."""


class Room:
    """How much of a schema is told: counts fields, and knows which types are open above."""

    def __init__(self) -> None:
        self._left = MAX_FIELDS
        self._above: list[object] = []

    def take(self, type_: object, fields: int) -> bool:
        """Whether the fields of a record are told; then `leave` must follow."""
        if type_ in self._above or len(self._above) >= DEEPEST or fields > self._left:
            return False
        self._left -= fields
        self._above.append(type_)
        return True

    def leave(self) -> None:
        self._above.pop()
