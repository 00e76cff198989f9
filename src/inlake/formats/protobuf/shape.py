"""The fields of a message in the words that the languages share, under their JSON names."""

from __future__ import annotations

from inlake.formats.protobuf.types import WRAPPERS, Element, Field, Message
from inlake.formats.shape import Room, Shape, Word

_WORDS: dict[str, Word] = {
    "bool": "boolean",
    "bytes": "bytes",
    "double": "number",
    "enum": "enum",
    "float": "number",
    "string": "text",
}
"""All other scalars are integers."""
_SPECIAL: dict[str, Word] = {
    "google.protobuf.Duration": "duration",
    "google.protobuf.Empty": "record",
    "google.protobuf.FieldMask": "text",
    "google.protobuf.ListValue": "array",
    "google.protobuf.Struct": "map",
    "google.protobuf.Timestamp": "timestamp",
}


def shape_of(message: Message, room: Room | None = None) -> Shape:
    """A message, with all that it holds."""
    room = room or Room()
    if message.special:
        return _special(message.special)
    record = Shape(type="record")
    if room.take(message, len(message.fields)):
        record.fields = [_field(field, room) for field in message.fields]
        room.leave()
    return record


def _field(field: Field, room: Room) -> Shape:
    shape = _element(field.element, room)
    if field.key:
        shape = Shape(type="map", values=shape)
    elif field.repeated:
        shape = Shape(type="array", items=shape)
    shape.name, shape.required, shape.nullable = field.json_name, field.required, field.takes_null
    shape.aliases = [field.name] if field.name != field.json_name else []
    return shape


def _element(element: Element, room: Room) -> Shape:
    if element.message:
        return shape_of(element.message, room)
    symbols = list(element.enum.numbers) if element.enum else []
    return Shape(type=_WORDS.get(element.kind, "integer"), symbols=symbols)


def _special(name: str) -> Shape:
    if name in WRAPPERS:
        return Shape(type=_WORDS.get(WRAPPERS[name], "integer"))
    word = _SPECIAL.get(name, "any")
    inner = Shape(type="any")
    return Shape(type=word, items=inner if word == "array" else None, values=inner if word == "map" else None)
