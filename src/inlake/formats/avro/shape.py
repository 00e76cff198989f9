"""The fields of an Avro schema in the words that the languages share."""

from __future__ import annotations

from inlake.formats.avro.types import Type
from inlake.formats.json_text import ABSENT
from inlake.formats.shape import Room, Shape, Word

_WORDS: dict[str, Word] = {
    "boolean": "boolean",
    "int": "integer",
    "long": "integer",
    "float": "number",
    "double": "number",
    "bytes": "bytes",
    "fixed": "bytes",
    "string": "text",
    "enum": "enum",
}


def shape_of(type_: Type, room: Room | None = None) -> Shape:
    """A type, with all that it holds."""
    room = room or Room()
    if type_.kind == "union":
        return _union(type_, room)
    if type_.logical:
        return Shape(type=_logical(type_.logical), scale=type_.scale if type_.logical == "decimal" else None)
    if type_.kind == "record":
        return _record(type_, room)
    if type_.kind == "array":
        return Shape(type="array", items=shape_of(type_.inner[0], room))
    if type_.kind == "map":
        return Shape(type="map", values=shape_of(type_.inner[0], room))
    if type_.kind == "null":
        return Shape(type="any", nullable=True)
    return Shape(type=_WORDS[type_.kind], symbols=list(type_.symbols))


def _union(type_: Type, room: Room) -> Shape:
    branches = [shape_of(branch, room) for branch in type_.inner if branch.kind != "null"]
    shape = branches[0] if len(branches) == 1 else Shape(type="choice" if branches else "any", choices=branches)
    shape.nullable = len(branches) < len(type_.inner)
    return shape


def _record(type_: Type, room: Room) -> Shape:
    record = Shape(type="record")
    if room.take(type_, len(type_.fields)):
        for field in type_.fields.values():
            shape = shape_of(field.type, room)
            shape.name, shape.required = field.name, field.default is ABSENT
            record.fields.append(shape)
        room.leave()
    return record


def _logical(name: str) -> Word:
    if name.startswith("local-timestamp"):
        return "local_timestamp"
    words: dict[str, Word] = {"date": "date", "decimal": "decimal", "duration": "duration", "uuid": "uuid"}
    return words.get(name, "time" if name.startswith("time-") else "timestamp")
