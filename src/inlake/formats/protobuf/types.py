"""The types of a Protobuf schema as the rest of this package sees them: wire tags, presence and JSON names resolved."""

from __future__ import annotations

from dataclasses import dataclass, field

from protobuf import (
    DescEnum,
    DescField,
    DescFieldValueEnum,
    DescFieldValueList,
    DescFieldValueMap,
    DescFieldValueMessage,
    DescFieldValueSingular,
    DescMessage,
    Registry,
    ScalarType,
)

from inlake.formats.binary import varint
from inlake.formats.protobuf.wire import FIXED_32, FIXED_64, WIRE_TYPES

WRAPPERS = {
    f"google.protobuf.{kind}Value": kind.lower()
    for kind in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
}
"""Messages that JSON writes as the scalar inside, and the kind of that scalar."""
SPECIAL = {
    f"google.protobuf.{name}"
    for name in ("Any", "Timestamp", "Duration", "FieldMask", "Struct", "Value", "ListValue", "Empty")
} | WRAPPERS.keys()
"""Messages with a JSON mapping of their own."""
NULL_VALUE = "google.protobuf.NullValue"
_IMPLICIT, _REQUIRED = 2, 3  # features.field_presence; 1 is explicit


@dataclass(eq=False, slots=True)
class Enum:
    name: str
    numbers: dict[str, int]
    """Number by name, aliases too."""
    closed: bool
    """Whether a number that is not named is no value (proto2)."""

    @property
    def is_null(self) -> bool:
        return self.name == NULL_VALUE


@dataclass(eq=False, slots=True)
class Element:
    """The type of one value of a field: a scalar, an enum or a message."""

    kind: str
    """`int32`, `string`, ... or `enum` or `message`."""
    enum: Enum | None = None
    message: Message | None = None

    @property
    def label(self) -> str:
        return self.message.name if self.message else self.enum.name if self.enum else self.kind

    @property
    def takes_null(self) -> bool:
        """Whether null is a value and not the absence of one."""
        if self.message:
            return self.message.special == "google.protobuf.Value"
        return self.enum is not None and self.enum.is_null

    @property
    def wire_type(self) -> int:
        return WIRE_TYPES.get(self.kind, 0)

    @property
    def zero(self) -> bytes:
        """How the default of implicit presence is written, and therefore left out."""
        return {FIXED_64: bytes(8), FIXED_32: bytes(4)}.get(self.wire_type, b"\0")


@dataclass(eq=False, slots=True)
class Field:
    name: str
    json_name: str
    number: int
    element: Element
    """The type of a map is that of its values."""
    repeated: bool
    key: Element | None
    """The type of a map's keys; None for all other fields."""
    explicit: bool
    """Whether a default value is written too: it was sent."""
    required: bool
    oneof: str | None
    packed: bool
    tag: bytes
    end: bytes
    """The end tag of a group, else empty."""

    @property
    def label(self) -> str:
        if self.key:
            return f"map<{self.key.label}, {self.element.label}>"
        return f"repeated {self.element.label}" if self.repeated else self.element.label

    @property
    def takes_null(self) -> bool:
        return not self.repeated and self.key is None and self.element.takes_null


@dataclass(eq=False, slots=True)
class Message:
    name: str
    special: str | None
    """The full name when JSON writes it in a way of its own."""
    fields: list[Field] = field(default_factory=list)
    """Fields in the order of their numbers, as they are written."""
    names: dict[str, Field] = field(default_factory=dict)
    """Fields by JSON name and by original name."""
    number: int = 0
    """Distinct within the schema."""


class Types:
    """The messages of one schema, made from the descriptors as they are needed."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._messages: dict[str, Message] = {}
        self._enums: dict[str, Enum] = {}

    def find(self, name: str) -> Message | None:
        """A message by its full name: `Any` may hold every type of the schema and its imports."""
        found = self._registry.message(name)
        return self.message(found) if found else None

    def message(self, root: DescMessage) -> Message:
        """A message with all messages it can hold."""
        open_ = [root]
        while open_:
            described = open_.pop()
            message = self._stub(described)
            if message.fields:
                continue
            message.fields = sorted((self._field(one) for one in described.fields), key=lambda one: one.number)
            message.names = {one.name: one for one in message.fields}
            message.names |= {one.json_name: one for one in message.fields}
            open_ += [inner for one in described.fields if (inner := _inner(one)) is not None]
        return self._messages[root.type_name]

    def _stub(self, described: DescMessage) -> Message:
        name = described.type_name
        if name not in self._messages:
            special = name if name in SPECIAL and described.file.name.startswith("google/protobuf/") else None
            self._messages[name] = Message(name, special, number=len(self._messages))
        return self._messages[name]

    def _element(self, described: ScalarType | DescMessage | DescEnum) -> Element:
        if isinstance(described, ScalarType):
            return Element(described.name.lower())
        if isinstance(described, DescMessage):
            return Element("message", message=self._stub(described))
        name = described.type_name
        if name not in self._enums:
            numbers = {value.name: value.number for value in described.values}
            self._enums[name] = Enum(name, numbers, closed=not described.open)
        return Element("enum", enum=self._enums[name])

    def _field(self, described: DescField) -> Field:
        value, key, group, oneof = described.value, None, False, None
        if isinstance(value, DescFieldValueMap):
            element, key = self._element(value.value), self._element(value.key)
        elif isinstance(value, DescFieldValueList):
            element, group = self._element(value.element), value.delimited_encoding
        else:
            group = isinstance(value, DescFieldValueMessage) and value.delimited_encoding
            oneof = value.oneof.name if value.oneof else None
            element = self._element(_single(value))
        packed = isinstance(value, DescFieldValueList) and value.packed
        wire_type = 3 if group else 2 if packed or key else element.wire_type
        return Field(
            described.name,
            described.json_name,
            described.number,
            element,
            repeated=isinstance(value, DescFieldValueList),
            key=key,
            explicit=described.presence != _IMPLICIT or oneof is not None or element.kind == "message",
            required=described.presence == _REQUIRED,
            oneof=oneof,
            packed=packed,
            tag=varint(described.number << 3 | wire_type),
            end=varint(described.number << 3 | 4) if group else b"",
        )


def _single(value: DescFieldValueSingular) -> ScalarType | DescMessage | DescEnum:
    if isinstance(value, DescFieldValueMessage):
        return value.message
    return value.enum if isinstance(value, DescFieldValueEnum) else value.scalar


def _inner(described: DescField) -> DescMessage | None:
    value = described.value
    if isinstance(value, DescFieldValueMap):
        inner = value.value
    elif isinstance(value, DescFieldValueList):
        inner = value.element
    else:
        inner = _single(value)
    return inner if isinstance(inner, DescMessage) else None
