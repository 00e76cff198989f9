"""Where the columns of a table go in a record: the fields and parts of lists that JSON Pointers lead to, as a tree."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from inlake.client.tables.cells import Convert
from inlake.client.tables.mapping import Rules
from inlake.client.tables.row import Column
from inlake.client.tables.shape import Field

ANY = Field("", "any")


@dataclass(eq=False, slots=True)
class Place:
    """A field of a record or a part of a list, and what fills it: a column, a constant, or the places inside of it."""

    field: Field
    pointer: str
    column: Column | None = None
    convert: Convert | None = None
    rules: Rules | None = None
    constant: str | None = None
    """As JSON text."""
    inside: dict[str, Place] = dataclasses.field(default_factory=dict)
    """By the name of the field, or the number of the part."""

    @property
    def is_filled(self) -> bool:
        return self.column is not None or self.constant is not None or bool(self.inside)

    def enter(self, segment: str) -> Place | None:
        """The place of a field or a part, made if it is not there yet; None where the schema has none."""
        found = _field_at(self.field, segment)
        if found is None:
            return None
        name = found.name or segment
        if name not in self.inside:
            self.inside[name] = Place(found, f"{self.pointer}/{escape(name)}")
        return self.inside[name]

    def by_schema(self) -> Place:
        """The same with all fields in the order of the schema, and by name where that has none."""
        order = {field.name: number for number, field in enumerate(self.field.fields)}
        names = sorted(self.inside, key=lambda name: (order.get(name, len(order)), name))
        return dataclasses.replace(self, inside={name: self.inside[name].by_schema() for name in names})

    def leaves(self) -> Iterator[Place]:
        """The places that a column or a constant fills."""
        if self.inside:
            for place in self.inside.values():
                yield from place.leaves()
        elif self.is_filled:
            yield self


def find_field(root: Field, segments: list[str]) -> Field | None:
    """The field that a path leads to, or None."""
    found: Field | None = root
    for segment in segments:
        found = _field_at(found, segment) if found else None
    return found


def leaf_names(field: Field, above: str = "") -> Iterator[str]:
    """The dotted names of all fields that are no records."""
    for one in field.fields:
        name = f"{above}.{one.name}" if above else one.name
        if one.type == "record" and one.fields:
            yield from leaf_names(one, name)
        else:
            yield name


def segments_of(pointer: str) -> list[str]:
    """The parts of a JSON Pointer (RFC 6901)."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def escape(segment: str) -> str:
    """A part of a JSON Pointer as it is written in one."""
    return segment.replace("~", "~0").replace("/", "~1")


def _field_at(field: Field, segment: str) -> Field | None:
    match field.type:
        case "record" if not field.fields:
            return Field(segment, "any")  # inside of itself: the gateway knows
        case "record":
            return field.field(segment)
        case "array":
            return (field.items or ANY) if segment.isdecimal() and len(segment) < 5 else None
        case "map":
            values = field.values or ANY
            return Field(segment, values.type, items=values.items, values=values.values, fields=values.fields)
        case "any":
            return Field(segment, "any")
        case "choice":
            return next((found for one in field.choices if (found := _field_at(one, segment))), None)
    return None
