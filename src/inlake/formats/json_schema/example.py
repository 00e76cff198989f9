"""A small JSON value that fits a schema, for people who meet the schema for the first time."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from inlake.formats.json_schema.documents import Documents, Layer, Scope
from inlake.formats.json_schema.keywords import WRITTEN
from inlake.formats.json_schema.pattern_text import Unsupported, text_for
from inlake.formats.json_schema.words import FORMATS

MAX_VALUES = 2_000
"""A schema of thirty lines can ask for a record of a billion values."""
_ABSENT: Any = object()


def make_example(documents: Documents) -> Any:
    """A value that fits, validated: the schema's own example or a made one; None when neither does."""
    root = documents.root if isinstance(documents.root, dict) else {}
    given = [*_list(root.get("examples")), *([root["default"]] if "default" in root else [])]
    for value in given:
        if documents.validator.is_valid(value):
            return value
    for optional in (True, False):
        try:
            value = _Maker(documents, optional=optional).value(documents.root, documents.scope, 0)
        except (_TooLarge, RecursionError):
            continue
        if documents.validator.is_valid(value):
            return value
    return None


def property_schemas(documents: Documents, name: str) -> list[tuple[Any, Scope]]:
    """The schemas that the top level has for a property; see `Documents.layers`."""
    return [
        (keywords.uses["properties"][name], scope)
        for keywords, scope in documents.layers(documents.root, documents.scope)
        if name in keywords.uses.get("properties", {})
    ]


class _TooLarge(Exception):
    """Every value that can be made is larger than `MAX_VALUES`."""


class _Maker:
    def __init__(self, documents: Documents, *, optional: bool) -> None:
        """`optional`: with the properties that are not required, as far down as is readable."""
        self.documents = documents
        self.optional = optional
        self.room = MAX_VALUES

    def value(self, schema: Any, scope: Scope, depth: int) -> Any:
        """A value that probably fits; who asks validates it."""
        self.room -= 1
        if self.room < 0:
            raise _TooLarge
        layers = list(self.documents.layers(schema, scope))
        for keywords, there in layers:
            chosen = _given(keywords.uses)
            if chosen is not _ABSENT:
                return chosen
            branch = next((keywords.uses[word] for word in ("oneOf", "anyOf") if word in keywords.uses), None)
            if branch and "properties" not in keywords.uses:
                return self.value(max(branch, key=lambda one: one != {"type": "null"}), there, depth + 1)
        uses = {word: value for keywords, _ in reversed(layers) for word, value in keywords.uses.items()}
        kind = _kind(uses)
        if kind == "object":
            return self.object(layers, depth)
        if kind == "array":
            return self.array(layers, uses, depth)
        return _text(uses) if kind == "string" else _number(uses, kind) if kind in ("integer", "number") else kind

    def object(self, layers: list[Layer], depth: int) -> dict[str, Any]:
        required = {name for keywords, _ in layers for name in keywords.uses.get("required", ())}
        made: dict[str, Any] = {}
        for keywords, scope in layers:
            for name, schema in keywords.uses.get("properties", {}).items():
                if name not in made and schema is not False and (name in required or (self.optional and depth < 3)):
                    made[name] = self.value(schema, scope, depth + 1)
        return made | {name: "text" for name in required if name not in made}

    def array(self, layers: list[Layer], uses: dict[str, Any], depth: int) -> list[Any]:
        items = next(((keywords.uses["items"], scope) for keywords, scope in layers if "items" in keywords.uses), None)
        least = max(uses.get("minItems", 0), 1 if self.optional and depth < 4 else 0)
        if least > self.room:
            raise _TooLarge
        if items is None or not isinstance(items[0], dict):
            return ["text"] * uses.get("minItems", 0)
        return [self.value(*items, depth + 1) for _ in range(least)]


def _given(uses: dict[str, Any]) -> Any:
    """The value that a schema names itself."""
    for word in ("const", "default"):
        if word in uses:
            return uses[word]
    for word in ("examples", "enum"):
        if _list(uses.get(word)):
            return uses[word][0]
    return _ABSENT


def _kind(uses: dict[str, Any]) -> Any:
    """The type to make, the first that is not null; for null, true and what has no type: the value itself."""
    types = uses.get("type", [])
    types = [types] if isinstance(types, str) else [kind for kind in types if kind != "null"] or types
    if types:
        return {"null": None, "boolean": True}.get(types[0], types[0])
    if "properties" in uses or "required" in uses:
        return "object"
    return "array" if "items" in uses else "number" if "minimum" in uses else "string"


def _text(uses: dict[str, Any]) -> str:
    if "pattern" in uses:
        with suppress(Unsupported, RecursionError):
            return text_for(uses.get(WRITTEN, uses["pattern"]))
    text = FORMATS.get(uses.get("format", ""), "text")
    least, most = uses.get("minLength", 0), uses.get("maxLength", len(text))
    if least > MAX_VALUES:
        raise _TooLarge
    return text.ljust(int(least), "x")[: max(int(most), int(least))]


def _number(uses: dict[str, Any], kind: str) -> Any:
    step = uses.get("multipleOf", 1 if kind == "integer" else 0.5)
    low, high = uses.get("minimum"), uses.get("maximum")
    above, below = uses.get("exclusiveMinimum"), uses.get("exclusiveMaximum")
    if isinstance(above, (int, float)) and not isinstance(above, bool):
        low = above + step
    elif above is True and low is not None:
        low += step
    if isinstance(below, (int, float)) and not isinstance(below, bool):
        high = below - step
    elif below is True and high is not None:
        high -= step
    start = low if low is not None else high if high is not None and high < step else step
    return -(-start // step) * step


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
