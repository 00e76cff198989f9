"""A Protobuf schema as a codec: the fast path says yes to most records, the exact rules decide about the others."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec
from protobuf import DescFile, DescMessage, message_to_json_value

from inlake.errors import BadParameter, InvalidSchema, NoResourceField, RecordRejected, Unprocessable
from inlake.formats.depth import allow_levels, check_depth, is_within
from inlake.formats.draft import Draft
from inlake.formats.json_text import ABSENT, shorten
from inlake.formats.protobuf.compile import compile_proto
from inlake.formats.protobuf.exact import FRAMES, walk
from inlake.formats.protobuf.example import make_example
from inlake.formats.protobuf.generated import compile_writer
from inlake.formats.protobuf.parse import Parsed, parse_record
from inlake.formats.protobuf.shape import shape_of
from inlake.formats.protobuf.typed import compile_reader, has_alias, is_small, parts, reachable
from inlake.formats.protobuf.types import Field, Message, Types
from inlake.formats.protobuf.wire import MAX_NESTING, message_indexes, read_message_indexes
from inlake.formats.reasons import field_errors
from inlake.formats.shape import Shape
from inlake.formats.source import UNDECIDED, UNREADABLE

_NOTHING = (None, msgspec.UNSET)
_SHOWN = 20


class ProtobufCodec:
    """One message of a Protobuf schema; see `inlake.ports.Codec`."""

    content_type = "application/vnd.confluent.protobuf"

    def __init__(
        self,
        schema: str,
        references: Sequence[tuple[str, str]] = (),
        *,
        message: str | None = None,
        resource_field: str = "__resource_path__",
        max_depth: int = 200,
        max_errors: int = 100,
    ) -> None:
        """`schema` and `references` (import path, text) are .proto texts; `message` is a full name, None the first
        message in the file. `InvalidSchema`, `BadParameter`."""
        allow_levels(MAX_NESTING, FRAMES)
        self._registry, self._file = compile_proto(schema, references)
        path, described = _find(self._file, message)
        self._prefix = message_indexes(path)
        self._types = Types(self._registry)
        self.root = self._types.message(described)
        self.max_depth = max_depth
        self.max_errors = max_errors
        self._resource = _text_field(self.root, resource_field)
        self._resource_name = resource_field
        self.has_resource_field = self._resource is not None
        self._resource_attributes = self._attributes()
        messages = reachable(self.root)
        self._is_shallow = is_within(self.root, parts, max_depth - 1)  # arrays and maps of scalars are a level too
        self._fast = False
        if is_small(messages):
            with suppress(ValueError):  # msgspec takes no JSON names with quotes in them
                self._read = compile_reader(self.root, messages)
                self._write = compile_writer(self.root, messages, self._prefix)
                self._fast = True

    def encode_plain(self, record: bytes) -> bytes | None:
        """The fast path alone, for a record without a resource; None when it does not say yes."""
        typed = self._typed(record)
        if typed is ABSENT or (self._resource_attributes and self._resource_of(typed) is not None):
            return None
        try:
            return self._write(typed, record)
        except UNDECIDED:
            return None

    def read(self, record: bytes, *, tagged: bool = False) -> Draft:  # noqa: ARG002  an Avro matter
        """Parse JSON. `MalformedJson`, `RecordRejected` (depth)."""
        typed = self._typed(record)
        if typed is not ABSENT:
            return Draft(self._resource_of(typed), typed=typed, text=record)
        check_depth(record, self.max_depth)
        parsed = parse_record(record)
        resource = None
        if self._resource is not None and isinstance(parsed.value, dict):
            names = (self._resource.json_name, self._resource.name)
            resource = next((parsed.value[name] for name in names if parsed.value.get(name) is not None), None)
        return Draft(resource, parsed)

    def _typed(self, record: bytes) -> Any:
        """The record as the fast path reads it; `ABSENT` where it cannot vouch for that. `RecordRejected` (depth)."""
        if not self._fast:
            return ABSENT
        if not self._is_shallow:
            check_depth(record, self.max_depth)
        try:
            return self._read(record)
        except UNREADABLE:
            return ABSENT

    def encode(self, draft: Draft, resource: str | None = None) -> bytes:
        """Message indexes and message, the resource field set to `resource` if given. `RecordRejected`."""
        if resource is not None and self._resource is None:
            raise NoResourceField(f"The schema has no field {self._resource_name} of type string.")
        if resource is None and draft.typed is not ABSENT:
            try:
                return self._write(draft.typed, draft.text)
            except UNDECIDED:
                pass
        parsed = draft.value
        if parsed is ABSENT:
            check_depth(draft.text, self.max_depth)
            parsed = parse_record(draft.text)
        if resource is not None:
            parsed = self._fill(parsed, resource)
        encoded, errors = walk(self._types, self.root, parsed, max_errors=self.max_errors)
        if errors:
            raise RecordRejected(field_errors(errors))
        return self._prefix + encoded

    def decode(self, payload: bytes) -> Any:
        """The message as the ProtoJSON mapping writes it. `Unprocessable` when it is none of this schema."""
        try:
            path, start = read_message_indexes(payload)
            messages, described = self._file.messages, None
            for index in path:
                described = messages[index]
                messages = described.nested_messages
            assert described is not None
            message = described.type.from_binary(payload[start:])
            return message_to_json_value(message, registry=self._registry)
        except (ValueError, LookupError, TypeError, ArithmeticError, EOFError, RecursionError) as error:
            raise Unprocessable(f"The payload is not a message of this schema: {shorten(str(error))}") from None

    def example(self) -> Any:
        """A JSON value that fits the message."""
        return make_example(self.root)

    def shape(self) -> Shape:
        """The fields of a record, in words that the languages share."""
        return shape_of(self.root)

    def _resource_of(self, typed: Any) -> Any:
        """The resource field, under either name; None when it is null or absent."""
        for attribute in self._resource_attributes:
            value = getattr(typed, attribute)
            if value not in _NOTHING:
                return value
        return None

    def _attributes(self) -> list[str]:
        """Where the typed values have the resource field; nowhere if there is none."""
        if self._resource is None:
            return []
        index = self.root.fields.index(self._resource)
        return [f"f{index}", f"g{index}"] if has_alias(self.root, self._resource) else [f"f{index}"]

    def _fill(self, parsed: Parsed, resource: str) -> Parsed:
        if not isinstance(parsed.value, dict):
            return parsed
        assert self._resource is not None
        names = {self._resource.json_name, self._resource.name}
        value = {key: item for key, item in parsed.value.items() if key not in names}
        value[self._resource.json_name] = resource
        found = parsed.doubled.get(id(parsed.value))
        return Parsed(value, parsed.doubled | {id(value): found} if found else parsed.doubled)


def _find(file: DescFile, name: str | None) -> tuple[list[int], DescMessage]:
    """A message of the file with its path: indexes from the top level down."""
    if not file.messages:
        raise InvalidSchema("The schema defines no message.")
    if name is None:
        return [0], file.messages[0]
    open_ = [([index], message) for index, message in enumerate(file.messages)]
    known = []
    for path, message in open_:
        if message.type_name == name:
            return path, message
        known.append(message.type_name)
        open_ += [([*path, index], inner) for index, inner in enumerate(message.nested_messages)]
    shown = ", ".join(known[:_SHOWN]) + (", …" if len(known) > _SHOWN else "")
    raise BadParameter(f"The schema has no message {shorten(name)}; it has {shown}.")


def _text_field(root: Message, name: str) -> Field | None:
    field = next((one for one in root.fields if name in (one.json_name, one.name)), None)
    if field is None or field.repeated or field.key:
        return None
    return field if field.element.label in ("string", "google.protobuf.StringValue") else None
