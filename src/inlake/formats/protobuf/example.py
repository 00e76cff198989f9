"""A small JSON value that fits a message, for people who meet the schema for the first time."""

from __future__ import annotations

from typing import Any

from inlake.errors import Unprocessable
from inlake.formats.protobuf.types import WRAPPERS, Element, Field, Message

MAX_VALUES = 2_000
"""A schema of thirty lines can ask for a record of a billion values: what is optional stops there."""
_DEEPEST = 8
_PLAIN: dict[str, Any] = {"bool": True, "float": 1.5, "double": 1.5, "string": "text", "bytes": "Ynl0ZXM="}
_SPECIAL: dict[str, Any] = {
    "google.protobuf.Any": {},
    "google.protobuf.Timestamp": "1897-07-21T13:45:00Z",
    "google.protobuf.Duration": "1.5s",
    "google.protobuf.FieldMask": "title",
    "google.protobuf.Struct": {"key": "text"},
    "google.protobuf.Value": "text",
    "google.protobuf.ListValue": ["text"],
    "google.protobuf.Empty": {},
}


def make_example(root: Message) -> Any:
    """A value that fits: every field once, the first of each oneof. `Unprocessable` if none is short."""
    return _Maker().message(root, ())


class _Maker:
    def __init__(self) -> None:
        self.room = MAX_VALUES

    def message(self, type_: Message, around: tuple[str, ...]) -> Any:
        """`around`: the messages that this value is in; inside of itself a message is as shallow as it can be."""
        if type_.special:
            return _PLAIN.get(WRAPPERS[type_.name], 1) if type_.name in WRAPPERS else _SPECIAL[type_.name]
        if len(around) > 50:
            raise Unprocessable("Every value of this schema is nested too deeply: there is no example.")
        values: dict[str, Any] = {}
        oneofs: set[str] = set()
        for field in type_.fields:
            if field.required or (field.oneof not in oneofs and self.fits(field, (*around, type_.name))):
                values[field.json_name] = self.field(field, (*around, type_.name))
                oneofs |= {field.oneof} if field.oneof else set()
        return values

    def fits(self, field: Field, around: tuple[str, ...]) -> bool:
        inner = field.element.message
        return self.room > 0 and (inner is None or (inner.name not in around and len(around) < _DEEPEST))

    def field(self, field: Field, around: tuple[str, ...]) -> Any:
        self.room -= 1
        value = self.element(field.element, around)
        if field.key is None:
            return [value] if field.repeated else value
        return {{"string": "key", "bool": "true"}.get(field.key.kind, "1"): value}

    def element(self, element: Element, around: tuple[str, ...]) -> Any:
        if element.message is not None:
            return self.message(element.message, around)
        if element.enum is None:
            return _PLAIN.get(element.kind, 1)
        return next((name for name, number in element.enum.numbers.items() if number), next(iter(element.enum.numbers)))
