"""The fast path, reading: JSON text to typed values in one pass, by msgspec types made from the schema.

Where msgspec takes more than the exact rules, or chooses otherwise, a part is left untyped (`Any`), and the generated
encoder hands it to `exact`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ForwardRef, Union

import msgspec

from inlake.formats.avro.types import Field, Type
from inlake.formats.json_text import ABSENT, Fractional
from inlake.formats.source import StructModule

MAX_RECORDS = 1_000
"""Record types up to which there is a fast path: msgspec goes from type to type by recursion in C."""

_TYPED: dict[str, Any] = {
    "null": None,
    "boolean": bool,
    "int": Annotated[int, msgspec.Meta(ge=-(1 << 31), le=(1 << 31) - 1)],
    "long": Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)],
    "float": float,
    "double": float,
}
_JSON = {"null": "null", "boolean": "boolean", "array": "array", "map": "object", "record": "object"}
_JSON |= dict.fromkeys(("int", "long", "float", "double"), "number")


def compile_reader(root: Type, records: list[Type]) -> tuple[Callable[[bytes], Any], dict[int, type]]:
    """A function from JSON text to typed values, and the struct class of each record by the id of its type.

    A struct's attributes are f0, f1, ... in the order of the fields; a field whose default is to be filled is UNSET.
    """
    module = StructModule()
    names = {id(record): f"R{number}" for number, record in enumerate(records)}
    forward = {key: ForwardRef(name) for key, name in names.items()}
    classes: dict[int, type] = {}
    for record in records:
        fields = [_member(i, field, forward) for i, field in enumerate(record.fields.values())]
        classes[id(record)] = msgspec.defstruct(
            names[id(record)],
            fields,
            module=module.name,
            rename={f"f{i}": name for i, name in enumerate(record.fields)},
            forbid_unknown_fields=True,
            kw_only=True,
            gc=False,
        )
    return module.decoder(_typed(root, classes), classes.values(), Fractional), classes


def defaults_to_null(field: Field) -> bool:
    """Whether None stands for the default too, so that the struct can fill it by itself."""
    return field.default is None and field.type.kind == "union" and is_plain(field.type)


def is_plain(union: Type) -> bool:
    """Whether the kind of the JSON value alone says which branch is meant."""
    if any(branch.logical for branch in union.inner):
        return len(union.inner) == 2 and any(branch.kind == "null" for branch in union.inner)
    kinds = [_JSON.get(branch.kind, "text") for branch in union.inner]
    return len(set(kinds)) == len(kinds)


def loses_signs(types: list[Type]) -> bool:
    """Whether -0 may be read as an int, by msgspec in a union that is left untyped, where a double keeps its sign."""
    has_doubles = any(type_.kind in ("float", "double") for type_ in types)
    return has_doubles and any(type_.kind == "union" and not is_plain(type_) for type_ in types)


def parts(type_: Type) -> list[tuple[int, Type]]:
    """The types that a type holds, each a level of JSON further down; see `depth.is_within`."""
    inside = [*type_.inner, *(field.type for field in type_.fields.values())]
    return [(1, branch) for one in inside for branch in (one.inner if one.kind == "union" else [one])]


def _member(number: int, field: Field, structs: dict[int, Any]) -> Any:
    typed = _typed(field.type, structs)
    if defaults_to_null(field):
        return f"f{number}", typed, None
    if field.default is not ABSENT:
        return f"f{number}", Union[typed, msgspec.UnsetType], msgspec.UNSET  # noqa: UP007  made at run time
    return f"f{number}", typed


def _typed(type_: Type, structs: dict[int, Any]) -> Any:
    if type_.logical:
        return Any
    if type_.kind == "record":
        return structs[id(type_)]
    if type_.kind == "array":
        return list[_typed(type_.inner[0], structs)]  # type: ignore[misc]  # made at run time
    if type_.kind == "map":
        return dict[str, _typed(type_.inner[0], structs)]  # type: ignore[misc]  # made at run time
    if type_.kind == "union":
        branches = [_typed(branch, structs) for branch in type_.inner]
        return Union[tuple(branches)] if is_plain(type_) and Any not in branches else Any  # noqa: UP007  made at run time
    return _TYPED.get(type_.kind, str)
