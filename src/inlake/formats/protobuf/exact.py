"""The exact rules: any JSON value against any Protobuf message, encoded or refused with all reasons.

Nesting is bounded by what readers accept (`MAX_NESTING`), so recursion is too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from inlake.formats.binary import pack_double, varint
from inlake.formats.json_text import ABSENT, Fractional, describe
from inlake.formats.protobuf.parse import Parsed
from inlake.formats.protobuf.scalars import encode_key, encode_scalar, read_float
from inlake.formats.protobuf.types import WRAPPERS, Element, Field, Message, Types
from inlake.formats.protobuf.well_known import AS_TEXT
from inlake.formats.protobuf.wire import MAX_NESTING, sized
from inlake.formats.reasons import Meant, Misfit, Place, Reason, wrong_type

FRAMES = 6
"""Most Python frames for one level of messages."""
_KEY, _VALUE = 1 << 3, 2 << 3


class _Enough(Exception):
    """A walk has found `max_errors`."""


def walk(types: Types, root: Message, parsed: Parsed, *, max_errors: int = 100) -> tuple[bytes, list[Reason]]:
    """The encoded message (complete when there are no errors), and up to `max_errors` errors."""
    walker = _Walker(types, parsed, max_errors)
    encoded = b""
    with suppress(_Enough):
        encoded = walker.message(root, parsed.value, None, 0)
    return encoded, walker.errors


class _Walker:
    """The state of one walk. `depth` counts messages and map entries around a value."""

    __slots__ = ("doubled", "errors", "max_errors", "types")

    def __init__(self, types: Types, parsed: Parsed, max_errors: int) -> None:
        self.types = types
        self.doubled = parsed.doubled
        self.max_errors = max_errors
        self.errors: list[Reason] = []

    def fail(
        self, place: Place, code: str, detail: str, expected: str, value: Any, meant: Meant | None = None
    ) -> bytes:
        """Note an error; what is returned stands for the value that could not be encoded."""
        got = "nothing" if value is ABSENT else describe(value)
        self.errors.append(Reason(place, code, detail, expected, got, meant))
        if len(self.errors) >= self.max_errors:
            raise _Enough
        return b""

    def wrong(self, place: Place, label: str, value: Any) -> bytes:
        return self.fail(place, "wrong_type", wrong_type(label, value, is_record=place is None), label, value)

    def message(self, type_: Message, value: Any, place: Place, depth: int) -> bytes:
        """The body of a message, without its length."""
        if depth > MAX_NESTING:
            detail = f"Messages are nested deeper than {MAX_NESTING} levels, which Protobuf readers refuse."
            return self.fail(place, "too_deep", detail, f"at most {MAX_NESTING} levels", value)
        if type_.special:
            return self.special(type_, value, place, depth)
        if type(value) is not dict:
            return self.wrong(place, type_.name, value)
        return self.members(type_, value, place, depth)

    def members(
        self, type_: Message, value: dict[str, Any], place: Place, depth: int, but: Collection[str] = ()
    ) -> bytes:
        """An object's members as the fields of a message; `but` are names that are no fields."""
        self.refuse_doubled(value, place)
        given: dict[int, str] = {}
        oneofs: dict[str, str] = {}
        for key, item in value.items():
            field = type_.names.get(key)
            if field is None:
                if key not in but:
                    self.unknown(type_, key, item, place)
                continue
            first = given.setdefault(field.number, key)
            if first != key:
                detail = f"The field {field.name} is given twice, as {first} and as {key}."
                self.fail((place, key), "duplicate_field", detail, f"{first} or {key}", item)
            if field.oneof and (item is not None or field.takes_null):
                other = oneofs.setdefault(field.oneof, key)
                if type_.names[other] is not field:
                    detail = f"{key} and {other} are in the oneof {field.oneof}: at most one of them may be given."
                    self.fail((place, key), "oneof_conflict", detail, "nothing", item)
        return b"".join([self.field(field, value, given.get(field.number), place, depth) for field in type_.fields])

    def unknown(self, type_: Message, key: str, item: Any, place: Place) -> None:
        detail = f"The message {type_.name} has no such field."
        if key[:1] == "[" and key[-1:] == "]":
            detail = "Extensions are not supported."
        self.fail((place, key), "unknown_field", detail, "nothing", item, Meant(key, tuple(type_.names)))

    def refuse_doubled(self, value: dict[str, Any], place: Place) -> None:
        found = self.doubled.get(id(value))
        for key in found.keys if found else ():
            self.fail((place, key), "duplicate_key", "The object has this key more than once.", "one", value[key])

    def field(self, field: Field, values: dict[str, Any], key: str | None, place: Place, depth: int) -> bytes:
        """One field with its tags; nothing when it is absent, null, empty or an implicit default."""
        value = values[key] if key is not None else None
        if value is None and not (key is not None and field.takes_null):
            if field.required:
                detail = f"The field {field.name} is required."
                self.fail((place, field.json_name), "missing_field", detail, field.label, ABSENT)
            return b""
        here = (place, key or field.json_name)
        if field.key is not None:
            return self.entries(field, value, here, depth)
        if field.repeated:
            return self.items(field, value, here, depth)
        encoded = self.element(field.element, value, here, depth)
        if not field.explicit and encoded in (field.element.zero, b""):
            return b""
        return field.tag + self.framed(field, encoded)

    def framed(self, field: Field, encoded: bytes) -> bytes:
        """An element behind its tag: a message has its length in front, or the end tag of a group behind."""
        if field.element.message is None:
            return encoded
        return encoded + field.end if field.end else sized(encoded)

    def element(self, element: Element, value: Any, place: Place, depth: int) -> bytes:
        """A scalar in wire bytes, or the body of a message."""
        if element.message is not None:
            return self.message(element.message, value, place, depth + 1)
        try:
            return encode_scalar(element, value)
        except Misfit as misfit:
            return self.fail(place, misfit.code, misfit.detail, element.label, value, misfit.meant)

    def items(self, field: Field, value: Any, place: Place, depth: int) -> bytes:
        if type(value) is not list:
            return self.wrong(place, field.label, value)
        encoded = []
        for index, item in enumerate(value):
            if item is None and not field.element.takes_null:
                self.wrong((place, index), field.element.label, item)
            else:
                encoded.append(self.framed(field, self.element(field.element, item, (place, index), depth)))
        if field.packed:
            return field.tag + sized(b"".join(encoded)) if encoded else b""
        return b"".join([field.tag + item for item in encoded])

    def entries(self, field: Field, value: Any, place: Place, depth: int) -> bytes:
        if type(value) is not dict:
            return self.wrong(place, field.label, value)
        assert field.key is not None
        self.refuse_doubled(value, place)
        entries: dict[bytes, bytes] = {}
        for key, item in value.items():
            here = (place, key)
            try:
                encoded = encode_key(field.key.kind, key)
            except Misfit as misfit:
                self.fail(here, misfit.code, f"The key does not fit: {misfit.detail}", field.key.label, key)
                continue
            if encoded in entries:
                self.fail(here, "duplicate_key", "The map has this key already, written otherwise.", "one", item)
            if item is None and not field.element.takes_null:
                self.wrong(here, field.element.label, item)
                continue
            entries[encoded] = self.entry(field.key, encoded, field.element, item, here, depth)
        return b"".join([field.tag + sized(entry) for entry in entries.values()])

    def entry(self, key: Element, encoded: bytes, element: Element, item: Any, place: Place, depth: int) -> bytes:
        """The body of the message that a pair of key and value is on the wire; it counts as a level."""
        value = self.element(element, item, place, depth + 1)
        value = sized(value) if element.message else value
        return varint(_KEY | key.wire_type) + encoded + varint(_VALUE | element.wire_type) + value

    def special(self, type_: Message, value: Any, place: Place, depth: int) -> bytes:
        """The messages that JSON writes in a way of their own."""
        name = type_.name
        if name in AS_TEXT:
            try:
                return AS_TEXT[name](value)
            except Misfit as misfit:
                return self.fail(place, misfit.code, misfit.detail, name, value)
        if name in WRAPPERS:
            encoded = self.element(Element(WRAPPERS[name]), value, place, depth)
            field = type_.fields[0]
            return b"" if encoded in (field.element.zero, b"") else field.tag + encoded
        return _SPECIAL[name](self, type_, value, place, depth)

    def value(self, _: Message, value: Any, place: Place, depth: int) -> bytes:
        """`google.protobuf.Value`: any JSON; each level of it is up to three on the wire."""
        if value is None:
            return b"\x08\0"
        if type(value) is bool:
            return b"\x20\1" if value else b"\x20\0"
        if type(value) is str:
            return b"\x1a" + sized(value.encode())
        if type(value) in (int, Fractional):
            try:
                return b"\x11" + pack_double(read_float("double", value))
            except Misfit as misfit:
                return self.fail(place, misfit.code, misfit.detail, "double", value)
        if type(value) is dict:
            return b"\x2a" + sized(self.struct(_STRUCT, value, place, depth + 1))
        return b"\x32" + sized(self.list_value(_LIST, value, place, depth + 1))

    def struct(self, type_: Message, value: Any, place: Place, depth: int) -> bytes:
        if type(value) is not dict:
            return self.wrong(place, type_.name, value)
        self.refuse_doubled(value, place)
        entries = [
            b"\x0a" + sized(key.encode()) + b"\x12" + sized(self.message(_VALUE_TYPE, item, (place, key), depth + 2))
            for key, item in value.items()
        ]
        return b"".join([b"\x0a" + sized(entry) for entry in entries])

    def list_value(self, type_: Message, value: Any, place: Place, depth: int) -> bytes:
        if type(value) is not list:
            return self.wrong(place, type_.name, value)
        items = [self.message(_VALUE_TYPE, item, (place, index), depth + 1) for index, item in enumerate(value)]
        return b"".join([b"\x0a" + sized(item) for item in items])

    def empty(self, type_: Message, value: Any, place: Place, depth: int) -> bytes:
        return self.members(type_, value, place, depth) if type(value) is dict else self.wrong(place, type_.name, value)

    def any(self, type_: Message, value: Any, place: Place, depth: int) -> bytes:
        """`google.protobuf.Any`: a message beside the URL of its type; one with its own JSON is in `value`."""
        if type(value) is not dict:
            return self.wrong(place, type_.name, value)
        if not value:
            return b""
        url = value.get("@type", ABSENT)
        inner = self.types.find(url.rpartition("/")[2]) if type(url) is str and "/" in url[1:] else None
        if inner is None:
            detail = "An Any names a message of this schema or its imports: type.googleapis.com/ and the full name."
            code = "missing_field" if url is ABSENT else "unknown_type"
            return self.fail((place, "@type"), code, detail, "the URL of a type", url)
        if not inner.special:
            body = self.members(inner, value, place, depth + 1, but=("@type",))
        else:
            body = self.boxed(inner, value, place, depth + 1)
        return b"\x0a" + sized(url.encode()) + (b"\x12" + sized(body) if body else b"")

    def boxed(self, inner: Message, value: dict[str, Any], place: Place, depth: int) -> bytes:
        self.refuse_doubled(value, place)
        for key in [key for key in value if key not in ("@type", "value")]:
            self.unknown(inner, key, value[key], place)
        if "value" in value:
            return self.message(inner, value["value"], (place, "value"), depth)
        if inner.name == "google.protobuf.Empty":
            return b""
        detail = f"An Any that holds {inner.name} has it in value."
        return self.fail((place, "value"), "missing_field", detail, inner.name, ABSENT)


_VALUE_TYPE = Message("google.protobuf.Value", "google.protobuf.Value")
_STRUCT = Message("google.protobuf.Struct", "google.protobuf.Struct")
_LIST = Message("google.protobuf.ListValue", "google.protobuf.ListValue")
_SPECIAL: dict[str, Callable[[_Walker, Message, Any, Place, int], bytes]] = {
    "google.protobuf.Value": _Walker.value,
    "google.protobuf.Struct": _Walker.struct,
    "google.protobuf.ListValue": _Walker.list_value,
    "google.protobuf.Empty": _Walker.empty,
    "google.protobuf.Any": _Walker.any,
}
