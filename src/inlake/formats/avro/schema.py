"""An Avro schema text, checked by the letter of the 1.12 specification and made into types; defaults are still open.

The libraries at hand take schemas that are invalid; a gateway that vouches for records must not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from inlake.errors import InvalidSchema, MalformedJson, RecordRejected
from inlake.formats.avro.logical import find_logical
from inlake.formats.avro.types import PRIMITIVES, Field, Parsed, Type
from inlake.formats.depth import check_depth
from inlake.formats.json_text import ABSENT, describe, parse_json, shorten

MAX_TEXT = 1 << 20
"""Bytes of a schema with all its references."""
MAX_DEPTH = 200
"""JSON levels of a schema text."""
MAX_TYPES = 20_000

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def parse_schema(text: str, references: Sequence[tuple[str, str]] = ()) -> Parsed:
    """`references`: (name, text), the deepest first; their named types can be used. `InvalidSchema` names the place."""
    texts = [*references, ("", text)]
    if sum(len(part) for _, part in texts) > MAX_TEXT:
        raise InvalidSchema(f"The schema and its references are longer than {MAX_TEXT:,} characters.")
    parser = _Parser()
    root = Type("null")
    for name, part in texts:
        parser.where = f"reference {shorten(name)!r}, " if name else ""
        root = parser.parse(_read(part, parser.where), "", "")
    return Parsed(root, parser.names, parser.types)


def _read(text: str, where: str) -> Any:
    try:
        raw = text.encode()
        check_depth(raw, MAX_DEPTH)
        return parse_json(raw)
    except (MalformedJson, RecordRejected) as error:
        raise InvalidSchema(f"The schema is not usable ({where or 'root, '}{error.detail.rstrip('.')}).") from None
    except UnicodeEncodeError:
        raise InvalidSchema("The schema holds half of a UTF-16 surrogate pair.") from None


class _Parser:
    """Named types found so far, and every type in the order of its closing bracket."""

    def __init__(self) -> None:
        self.names: dict[str, Type] = {}
        self.types: list[Type] = []
        self.where = ""

    def parse(self, node: Any, namespace: str, at: str) -> Type:
        """`at`: JSON Pointer of `node` in the schema."""
        if isinstance(node, str):
            return self._mention(node, namespace, at)
        if isinstance(node, list):
            return self._keep(self._union(node, namespace, at))
        if not isinstance(node, dict):
            raise self.invalid(at, f"a type is a name, an array or an object, not {describe(node)}")
        kind = node.get("type", ABSENT)
        if kind is ABSENT:
            raise self.invalid(at, 'the object has no "type"')
        if kind in ("array", "map"):
            part = "items" if kind == "array" else "values"
            if part not in node:
                raise self.invalid(at, f'the {kind} has no "{part}"')
            return self._keep(Type(kind, kind, inner=[self.parse(node[part], namespace, f"{at}/{part}")]))
        if kind in ("record", "error", "enum", "fixed"):
            return self._named(kind, node, namespace, at)
        if not isinstance(kind, str):
            raise self.invalid(f"{at}/type", f"the type of an object is named by text, not by {describe(kind)}")
        if kind in PRIMITIVES:
            return self._keep(find_logical(Type(kind, kind), node))
        return self._mention(kind, namespace, f"{at}/type")

    def invalid(self, at: str, reason: str) -> InvalidSchema:
        return InvalidSchema(f"The schema is invalid at {self.where}{shorten_place(at)}: {reason}.")

    def _keep(self, kept: Type) -> Type:
        self.types.append(kept)
        if len(self.types) > MAX_TYPES:
            raise InvalidSchema(f"The schema has more than {MAX_TYPES:,} types.")
        return kept

    def _mention(self, name: str, namespace: str, at: str) -> Type:
        """A primitive, or a named type that was defined before."""
        if name in PRIMITIVES:
            return self._keep(Type(name, name))
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        named = self.names.get(full)
        if named is None:
            raise self.invalid(at, f"there is no type {shorten(full)} before here")
        return named

    def _union(self, nodes: list[Any], namespace: str, at: str) -> Type:
        if not nodes:
            raise self.invalid(at, "a union needs at least one branch")
        return Type("union", "union", inner=[self.parse(node, namespace, f"{at}/{i}") for i, node in enumerate(nodes)])

    def _named(self, kind: str, node: dict[str, Any], namespace: str, at: str) -> Type:
        name = self._full_name(node, namespace, at)
        if name in self.names:
            raise self.invalid(at, f"the name {shorten(name)} is defined twice")
        named = self.names[name] = Type("record" if kind == "error" else kind, name)
        if kind == "fixed":
            size = node.get("size")
            if type(size) is not int or not 0 <= size < 1 << 31:
                raise self.invalid(at, "the size of a fixed is its number of bytes")
            named.size = size
            return self._keep(find_logical(named, node))
        if kind == "enum":
            named.symbols = self._symbols(node, at)
            return self._keep(named)
        fields = node.get("fields")
        if not isinstance(fields, list):
            raise self.invalid(at, f'the record {shorten(name)} has no array "fields"')
        for i, field in enumerate(fields):
            self._field(named, field, f"{at}/fields/{i}")
        return self._keep(named)

    def _full_name(self, node: dict[str, Any], namespace: str, at: str) -> str:
        name, space = node.get("name"), node.get("namespace", namespace)
        if not isinstance(name, str) or not isinstance(space, str):
            raise self.invalid(at, 'a named type has a "name", and its namespace is text')
        full = name if "." in name or not space else f"{space}.{name}"
        if not all(map(_NAME.match, full.split("."))):
            raise self.invalid(at, f"{shorten(full)!r} is not a name (letters, digits and _, dots between)")
        if full.rpartition(".")[2] in PRIMITIVES:
            raise self.invalid(at, f"{shorten(full)!r} is the name of a primitive type")
        return full

    def _symbols(self, node: dict[str, Any], at: str) -> dict[str, int]:
        symbols = node.get("symbols")
        if not isinstance(symbols, list) or not symbols:
            raise self.invalid(at, 'an enum has an array "symbols" with at least one symbol')
        numbers: dict[str, int] = {}
        for i, symbol in enumerate(symbols):
            if not isinstance(symbol, str) or not _NAME.match(symbol):
                raise self.invalid(f"{at}/symbols/{i}", f"{describe(symbol)} is not a symbol (letters, digits and _)")
            if symbol in numbers:
                raise self.invalid(f"{at}/symbols/{i}", f"the symbol {shorten(symbol)} stands twice")
            numbers[symbol] = i
        default = node.get("default", symbols[0])
        if not isinstance(default, str) or default not in numbers:
            raise self.invalid(f"{at}/default", "the default of an enum is one of its symbols")
        return numbers

    def _field(self, record: Type, node: Any, at: str) -> None:
        name = node.get("name") if isinstance(node, dict) else None
        if not isinstance(name, str) or not _NAME.match(name):
            raise self.invalid(at, 'a field is an object with a "name" (letters, digits and _)')
        if name in record.fields:
            raise self.invalid(at, f"the field {shorten(name)} stands twice")
        if "type" not in node:
            raise self.invalid(at, f'the field {shorten(name)} has no "type"')
        if node.get("order", "ascending") not in ("ascending", "descending", "ignore"):
            raise self.invalid(f"{at}/order", 'the order of a field is "ascending", "descending" or "ignore"')
        namespace = record.name.rpartition(".")[0]
        default = node.get("default", ABSENT)
        record.fields[name] = Field(
            name, Type("null"), default, at=f"{self.where}{shorten_place(at)} ({shorten(name)})"
        )
        record.fields[name].type = self.parse(node["type"], namespace, f"{at}/type")


def shorten_place(at: str) -> str:
    """A place in a schema for an error; the end says more than the beginning."""
    if not at:
        return "its root"
    return at if len(at) <= 120 else "…" + at[-119:]
