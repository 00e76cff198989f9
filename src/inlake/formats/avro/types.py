"""The types of an Avro schema as the rest of this package sees them: named types one object each, defaults encoded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from inlake.formats.json_text import ABSENT, Fractional

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

_ACCEPTED: dict[str, frozenset[type]] = {
    "null": frozenset({type(None)}),
    "boolean": frozenset({bool}),
    "int": frozenset({int, Fractional}),
    "long": frozenset({int, Fractional}),
    "float": frozenset({int, Fractional}),
    "double": frozenset({int, Fractional}),
    "array": frozenset({list}),
    "map": frozenset({dict}),
    "record": frozenset({dict}),
}
_TEXT = frozenset({str})
JSON_TYPES = (type(None), bool, int, Fractional, str, list, dict)


@dataclass(eq=False, slots=True)
class Type:
    """One type. `kind` is the Avro type name, or `union`."""

    kind: str
    name: str = ""
    """Full name of a named type, else the type name: the tag of a union branch."""
    logical: str | None = None
    """A logical type of Avro 1.12 that is valid here; all others are ignored, as the specification wants."""
    precision: int = 0
    scale: int = 0
    size: int = 0
    """Bytes of a fixed."""
    symbols: dict[str, int] = field(default_factory=dict)
    inner: list[Type] = field(default_factory=list)
    """Items of an array, values of a map, branches of a union."""
    takers: dict[type, list[tuple[int, Type]]] = field(default_factory=dict)
    """Branches of a union, with their numbers, by the Python type of the JSON values that may fit them."""
    fields: dict[str, Field] = field(default_factory=dict)
    rank: int = -1
    """JSON levels that the shallowest value needs; -1 is not known yet."""

    @property
    def step(self) -> str:
        """The name of the exact rule that applies."""
        return "logical" if self.logical else self.kind

    @property
    def accepted(self) -> frozenset[type]:
        """Python types of the JSON values that may fit."""
        kinds = _ACCEPTED.get(self.kind, _TEXT)
        if self.logical == "decimal":
            return frozenset({int, Fractional, str})
        return kinds | _TEXT if self.logical else kinds

    @property
    def label(self) -> str:
        """The type in the schema's words, for errors."""
        if self.kind == "union":
            return "one of " + ", ".join(branch.label for branch in self.inner[:10])
        if self.kind == "fixed":
            return f"{self.name} (fixed of {self.size} bytes)"
        if self.logical == "decimal":
            return f"decimal({self.precision}, {self.scale})"
        return f"{self.kind} ({self.logical})" if self.logical else self.name


@dataclass(eq=False, slots=True)
class Field:
    """A field of a record."""

    name: str
    type: Type
    default: Any = ABSENT
    """The default as it stands in the schema."""
    filled: bytes | None = None
    """The default, encoded."""
    at: str = ""
    """Where it stands in the schema, for errors."""


@dataclass(slots=True)
class Parsed:
    """A schema and all it consists of."""

    root: Type
    names: dict[str, Type]
    types: list[Type]
    """Every type, inner ones before the outer they stand in."""
