"""The properties of a JSON Schema in the words that the languages share.

A JSON Schema says what a value must not be; this reads what it says plainly (`type`, `properties`, `items`, `enum`,
`const`, `format`), through `$ref` and `allOf`, and the branches of `oneOf`, `anyOf`, `then` and `else` for their
properties. What it does not say plainly is `any`.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

from inlake.formats.json_schema.documents import Documents, Layer, Scope
from inlake.formats.shape import Room, Shape, Word

_WORDS: dict[str, Word] = {
    "array": "array",
    "boolean": "boolean",
    "integer": "integer",
    "number": "number",
    "object": "record",
    "string": "text",
}
_FORMATS: dict[str, Word] = {
    "date": "date",
    "date-time": "timestamp",
    "duration": "duration",
    "time": "time",
    "uuid": "uuid",
}


class _Place(NamedTuple):
    """A subschema, and where its references lead."""

    schema: Any
    scope: Scope


def shape_of(documents: Documents) -> Shape:
    """The schema of a record, with all that it holds."""
    return _Reader(documents, Room()).shape(_Place(documents.root, documents.scope))


class _Reader:
    def __init__(self, documents: Documents, room: Room) -> None:
        self._documents = documents
        self._room = room
        self._depth = 0

    def shape(self, place: _Place) -> Shape:
        if self._depth > 20:
            return Shape(type="any")
        self._depth += 1
        layers = list(self._documents.layers(*place))
        shape = self._told(layers) or self._chosen(layers)
        self._depth -= 1
        return shape

    def _told(self, layers: list[Layer]) -> Shape | None:
        """The shape that the layers say themselves; None when they leave it to `oneOf` and `anyOf`, or say nothing."""
        values = _values(layers)
        types = _types(layers)
        if values is not None:
            types = types or _kinds_of(values)
            nullable = None in values and (not types or "null" in types)
        else:
            nullable = "null" in types
        plain = [type_ for type_ in types if type_ != "null"]
        if not plain:
            if not any(word in layer.keywords.uses for layer in layers for word in ("properties", "required")):
                return Shape(type="any", nullable=True) if types else None
            plain = ["object"]
        shapes = [self._typed(type_, layers, values) for type_ in plain]
        shape = shapes[0] if len(shapes) == 1 else Shape(type="choice", choices=shapes)
        shape.nullable = nullable
        return shape

    def _typed(self, type_: str, layers: list[Layer], values: list[Any] | None) -> Shape:
        if type_ == "object":
            return self._object(layers)
        if type_ == "array":
            places = [_Place(layer.keywords.uses["items"], layer.scope) for layer in layers if _has_items(layer)]
            return Shape(type="array", items=self.shape(places[0]) if places else Shape(type="any"))
        if type_ == "string":
            symbols = [value for value in values or () if isinstance(value, str)]
            formats = [_FORMATS[word] for layer in layers if (word := layer.keywords.uses.get("format")) in _FORMATS]
            return Shape(type="enum", symbols=symbols) if symbols else Shape(type=formats[0] if formats else "text")
        return Shape(type=_WORDS.get(type_, "any"))

    def _object(self, layers: list[Layer]) -> Shape:
        properties = _properties(layers)
        branches = [place for layer in layers for place in _branches(layer)]
        for name, place in _properties([one for branch in branches for one in self._documents.layers(*branch)]).items():
            properties.setdefault(name, place)
        if not properties:
            places = [_Place(rest, layer.scope) for layer in layers if (rest := _additional(layer))]
            return Shape(type="map", values=self.shape(places[0])) if places else Shape(type="record")
        record = Shape(type="record")
        required = {name for layer in layers for name in layer.keywords.uses.get("required", ())}
        # compared by value: what `#` leads to is another object than the root
        told = [layer.keywords.schema for layer in layers if "properties" in layer.keywords.uses]
        if self._room.take(told, len(properties)):
            for name, place in properties.items():
                shape = self.shape(place)
                shape.name, shape.required = name, name in required
                record.fields.append(shape)
            self._room.leave()
        return record

    def _chosen(self, layers: list[Layer]) -> Shape:
        """One of the branches of a `oneOf` or `anyOf`."""
        for layer in layers:
            branches = _places(layer, "oneOf") or _places(layer, "anyOf")
            shapes = [self.shape(place) for place in branches]
            if shapes:
                plain = [shape for shape in shapes if not (shape.type == "any" and shape.nullable)]
                shape = plain[0] if len(plain) == 1 else Shape(type="choice" if plain else "any", choices=plain)
                shape.nullable = any(one.nullable for one in shapes)
                return shape
        return Shape(type="any")


def _places(layer: Layer, *words: str) -> list[_Place]:
    return [_Place(one, layer.scope) for word in words for one in layer.keywords.uses.get(word, ())]


def _types(layers: list[Layer]) -> list[str]:
    """The types that all layers allow, in the order of the first that names any; an integer is a number too."""
    found: list[str] = []
    for layer in layers:
        named = layer.keywords.uses.get("type", [])
        named = [named] if isinstance(named, str) else named
        if found and named:
            both = [one for one in found if one in named or (one == "integer" and "number" in named)]
            narrowed = ["integer"] if "number" in found and "integer" in named and "integer" not in found else []
            found = both + narrowed
        else:
            found = found or named
    return found


def _values(layers: list[Layer]) -> list[Any] | None:
    """The values that `enum` or `const` name."""
    for layer in layers:
        if "const" in layer.keywords.uses:
            return [layer.keywords.uses["const"]]
        if "enum" in layer.keywords.uses:
            return list(layer.keywords.uses["enum"])
    return None


def _kinds_of(values: list[Any]) -> list[str]:
    names = {
        bool: "boolean",
        int: "integer",
        float: "number",
        Decimal: "number",
        str: "string",
        list: "array",
        dict: "object",
    }
    return list(dict.fromkeys(names.get(type(value), "null") for value in values))


def _properties(layers: list[Layer]) -> dict[str, _Place]:
    found: dict[str, _Place] = {}
    for layer in layers:
        for name, schema in layer.keywords.uses.get("properties", {}).items():
            if schema is not False:
                found.setdefault(name, _Place(schema, layer.scope))
    return found


def _branches(layer: Layer) -> Iterator[_Place]:
    yield from _places(layer, "oneOf", "anyOf")
    for word in ("then", "else"):
        if word in layer.keywords.uses:
            yield _Place(layer.keywords.uses[word], layer.scope)


def _has_items(layer: Layer) -> bool:
    return isinstance(layer.keywords.uses.get("items"), dict)


def _additional(layer: Layer) -> Any:
    rest = layer.keywords.uses.get("additionalProperties")
    return rest if isinstance(rest, dict) else None
