"""The fast path, reading: JSON text to typed values in one pass, by msgspec types made from the schema.

A part that the generated encoder would not vouch for is left untyped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ForwardRef, Union

import msgspec

from inlake.formats.protobuf.types import WRAPPERS, Element, Field, Message
from inlake.formats.protobuf.well_known import AS_TEXT
from inlake.formats.protobuf.wire import RANGES
from inlake.formats.source import StructModule

MAX_MESSAGES, MAX_FIELDS = 500, 5_000
"""Up to these there is a fast path: msgspec goes from type to type by recursion in C; code takes time to compile."""
_TYPED: dict[str, Any] = {"bool": bool, "float": float, "double": float, "string": str, "bytes": str}
_TYPED |= {
    kind: Annotated[int, msgspec.Meta(ge=low, le=high)] for kind, (low, high) in RANGES.items() if high < 1 << 63
}
_TYPED["uint64"] = _TYPED["fixed64"] = Annotated[int, msgspec.Meta(ge=0)]
_TYPED |= {kind: Union[_TYPED[kind], str] for kind in RANGES if kind.endswith("64")}  # noqa: UP007  made at run time


def reachable(root: Message) -> list[Message]:
    """All plain messages that the root can hold, itself first; those with a JSON of their own are not opened."""
    found, open_ = {root.name: root}, [root]
    while open_:
        for field in open_.pop().fields:
            inner = field.element.message
            if inner and not inner.special and inner.name not in found:
                found[inner.name] = inner
                open_.append(inner)
    return list(found.values())


def parts(message: Message) -> list[tuple[int, Message]]:
    """The messages that a message holds, and the levels of JSON around each; see `depth.is_within`."""
    fields = [(2 if field.repeated or field.key else 1, field.element.message) for field in message.fields]
    return [(levels, inner) for levels, inner in fields if inner and not inner.special]


def is_small(messages: list[Message]) -> bool:
    """Whether there may be a fast path."""
    return len(messages) <= MAX_MESSAGES and sum(len(message.fields) for message in messages) <= MAX_FIELDS


def compile_reader(root: Message, messages: list[Message]) -> Callable[[bytes], Any]:
    """A function from JSON text to typed values.

    A struct's attribute f0 is the first field by its JSON name, g0 the same by its original name where that is
    another one; one of them, or both, are UNSET.
    """
    module = StructModule()
    forward = {message.name: ForwardRef(f"M{message.number}") for message in messages}
    classes = {message.name: _struct(message, forward, module.name) for message in messages}
    return module.decoder(classes[root.name], classes.values())


def has_alias(message: Message, field: Field) -> bool:
    """Whether the original name is another one, and means this field."""
    return field.name != field.json_name and message.names[field.name] is field


def is_open(field: Field) -> bool:
    """Whether the field is left to the exact rules, whatever stands there."""
    element = field.element
    if element.message and element.message.special:
        return element.message.name not in WRAPPERS and element.message.name not in AS_TEXT
    return element.takes_null or (field.key is not None and field.key.kind != "string")


def _struct(message: Message, forward: dict[str, Any], module: str) -> type:
    names: dict[str, str] = {}
    members: list[tuple[str, Any, Any]] = []
    for letter in "fg":  # msgspec searches from where it found the last one: names of one kind stand together
        for index, field in enumerate(message.fields):
            if letter == "f" or has_alias(message, field):
                names[f"{letter}{index}"] = field.json_name if letter == "f" else field.name
                members.append((f"{letter}{index}", _typed(field, forward), msgspec.UNSET))
    return msgspec.defstruct(
        f"M{message.number}", members, module=module, rename=names, forbid_unknown_fields=True, kw_only=True, gc=False
    )


def _typed(field: Field, forward: dict[str, Any]) -> Any:
    if is_open(field):
        return Any
    inner = _element(field.element, forward)
    if field.key is not None:
        inner = dict[str, inner]  # type: ignore[valid-type]  # made at run time
    elif field.repeated:
        inner = list[inner]  # type: ignore[valid-type]  # made at run time
    return Union[inner, None, msgspec.UnsetType]  # noqa: UP007  made at run time


def _element(element: Element, forward: dict[str, Any]) -> Any:
    if element.message is None:
        return Union[str, int] if element.enum else _TYPED[element.kind]  # noqa: UP007  made at run time
    if element.message.special:
        return str if element.message.name in AS_TEXT else _TYPED[WRAPPERS[element.message.name]]
    return forward[element.message.name]
