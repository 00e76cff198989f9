"""One subschema as its draft reads it: the keywords that count, the assertions of the library, the patterns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache, cached_property
from typing import Any

import jsonschema_rs

from inlake.formats.json_schema.ecma import NotEcma, translate
from inlake.formats.reasons import Place

PATTERNS = jsonschema_rs.FancyRegexOptions(backtrack_limit=10_000, size_limit=1 << 20)
"""Linear time for most patterns (the library's regex engine never backtracks); those with look-around or
back-references, which it cannot do, take another engine that gives up after so many steps."""
VALIDATORS: dict[int, Callable[..., jsonschema_rs.Validator]] = {
    jsonschema_rs.Draft4: jsonschema_rs.Draft4Validator,
    jsonschema_rs.Draft6: jsonschema_rs.Draft6Validator,
    jsonschema_rs.Draft7: jsonschema_rs.Draft7Validator,
    jsonschema_rs.Draft201909: jsonschema_rs.Draft201909Validator,
    jsonschema_rs.Draft202012: jsonschema_rs.Draft202012Validator,
}
META_SCHEMAS = {
    jsonschema_rs.Draft4: "http://json-schema.org/draft-04/schema#",
    jsonschema_rs.Draft6: "http://json-schema.org/draft-06/schema#",
    jsonschema_rs.Draft7: "http://json-schema.org/draft-07/schema#",
    jsonschema_rs.Draft201909: "https://json-schema.org/draft/2019-09/schema",
    jsonschema_rs.Draft202012: "https://json-schema.org/draft/2020-12/schema",
}
_NEWER_FORMATS = {  # the first draft in which the library asserts a format; those not named: all
    "uri-reference": jsonschema_rs.Draft6,
    "uri-template": jsonschema_rs.Draft6,
    "json-pointer": jsonschema_rs.Draft6,
    "iri": jsonschema_rs.Draft7,
    "iri-reference": jsonschema_rs.Draft7,
    "idn-hostname": jsonschema_rs.Draft7,
    "relative-json-pointer": jsonschema_rs.Draft7,
    "duration": jsonschema_rs.Draft201909,
    "uuid": jsonschema_rs.Draft201909,
}

_LAST = jsonschema_rs.Draft202012
_DRAFTS = {  # first and last draft in which the library takes this keyword; those not named: all
    "const": (jsonschema_rs.Draft6, _LAST),
    "contains": (jsonschema_rs.Draft6, _LAST),
    "propertyNames": (jsonschema_rs.Draft6, _LAST),
    "if": (jsonschema_rs.Draft7, _LAST),
    "then": (jsonschema_rs.Draft7, _LAST),
    "else": (jsonschema_rs.Draft7, _LAST),
    "contentEncoding": (jsonschema_rs.Draft6, jsonschema_rs.Draft7),
    "contentMediaType": (jsonschema_rs.Draft6, jsonschema_rs.Draft7),
    "additionalItems": (jsonschema_rs.Draft4, jsonschema_rs.Draft201909),
    "$recursiveRef": (jsonschema_rs.Draft201909, jsonschema_rs.Draft201909),
    "dependentRequired": (jsonschema_rs.Draft201909, _LAST),
    "dependentSchemas": (jsonschema_rs.Draft201909, _LAST),
    "minContains": (jsonschema_rs.Draft201909, _LAST),
    "maxContains": (jsonschema_rs.Draft201909, _LAST),
    "unevaluatedItems": (jsonschema_rs.Draft201909, _LAST),
    "unevaluatedProperties": (jsonschema_rs.Draft201909, _LAST),
    "$dynamicRef": (_LAST, _LAST),
    "prefixItems": (_LAST, _LAST),
}
WRITTEN = "inlake:pattern"
"""The keyword beside a `pattern` that was translated: it has the pattern as written."""
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_VALUES = ("const", "enum", "default", "examples")
"""Keywords whose values are no schemas, whatever they look like."""
_SAME_VALUE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies")
_MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies")
_OTHER_VALUES = (
    *_MAPS[:4],
    *("items", "prefixItems", "additionalItems", "unevaluatedItems", "contains"),
    *("additionalProperties", "unevaluatedProperties", "propertyNames"),
)
_WHOLE = ("enum", "const", "uniqueItems")
"""Assertions that look inside of arrays and objects."""
_ASSERTIONS = (
    *_WHOLE,
    *("type", "multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum"),
    *("maxLength", "minLength", "pattern", "format", "contentEncoding", "contentMediaType"),
    *("maxItems", "minItems", "maxProperties", "minProperties"),
)
_COUNTS = (
    *("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"),
    *("minContains", "maxContains"),
)


class Keywords:
    """A subschema, read once."""

    def __init__(self, schema: dict[str, Any], draft: int) -> None:
        """`draft`: as jsonschema_rs counts them."""
        self.schema = schema  # keeps it alive: it is known by its id()
        self.draft = draft
        uses = {word: value for word, value in schema.items() if _counts(word, draft)}
        if draft <= jsonschema_rs.Draft7 and "$ref" in uses:
            uses = {"$ref": uses["$ref"]}  # before 2019-09 a $ref stands alone
        for word in _COUNTS:
            if type(count := uses.get(word)) is float:
                uses[word] = int(count)  # the meta-schema lets 3.0 pass, which counts as 3 does
        self.uses = uses
        self.id = uses.get("id" if draft == jsonschema_rs.Draft4 else "$id")
        self.whole = any(word in uses for word in _WHOLE)

    @cached_property
    def wrong(self) -> Callable[[Any], Iterable[jsonschema_rs.ValidationError]]:
        """Asks the library about the keywords that need no other schema."""
        simple = {word: self.uses[word] for word in _ASSERTIONS if word in self.uses}
        found = validator(simple, self.draft)
        return lambda value: () if found.is_valid(value) else found.iter_errors(value)

    @cached_property
    def patterns(self) -> list[tuple[Callable[[str], bool], Any]]:
        """Tests of names, one a pattern, and the schema of their values."""
        patterns = self.uses.get("patternProperties", {})
        return [(validator({"pattern": pattern}, self.draft).is_valid, inner) for pattern, inner in patterns.items()]

    def references(self) -> list[str]:
        """The references of this subschema itself, as they are written."""
        return [self.uses[word] for word in _REFERENCES if isinstance(self.uses.get(word), str)]

    def in_place(self) -> Iterator[Any]:
        """The subschemas that see the same value."""
        return self._subschemas(_SAME_VALUE)

    def inside(self) -> Iterator[Any]:
        """The subschemas that see a part of the value, or nothing unless they are referred to."""
        return self._subschemas(_OTHER_VALUES)

    def _subschemas(self, words: Iterable[str]) -> Iterator[Any]:
        for word in words:
            value = self.uses.get(word)
            if isinstance(value, list):
                yield from value
            elif isinstance(value, dict) and word in _MAPS:
                yield from value.values()
            elif isinstance(value, dict | bool):
                yield value


def normal(schema: Any, place: Place = None, *, known: bool = True) -> Any:
    """A schema in the words of the library: references to its own document are `#` (an empty one means nothing there),
    patterns are translated. `NotEcma`, where a pattern is in use: below a word that is not `known` it may be anything.
    """
    if isinstance(schema, list):
        return [normal(one, (place, index), known=known) for index, one in enumerate(schema)]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for word, value in schema.items():
        there = (place, word)
        if word in _REFERENCES and value == "":
            found[word] = "#"
        elif word == "pattern" and isinstance(value, str):
            found[word] = _translated(value, there, known=known)
            if found[word] != value:
                found[WRITTEN] = value
        elif word in _MAPS and isinstance(value, dict):
            found[word] = {}
            for name, one in value.items():
                key = _translated(name, (there, name), known=known) if word == "patternProperties" else name
                while key in found[word]:  # two ways to write one pattern
                    key += "(?:)"
                found[word][key] = normal(one, (there, name), known=known)
        else:
            inner = known and (word in _SAME_VALUE or word in _OTHER_VALUES)
            found[word] = value if word in _VALUES else normal(value, there, known=inner)
    return found


def _translated(pattern: str, place: Place, *, known: bool) -> str:
    try:
        return translate(pattern)
    except NotEcma as error:
        if not known:
            return pattern
        error.place = place
        raise


def validator(schema: dict[str, Any], draft: int) -> jsonschema_rs.Validator:
    """A validator of a schema without references."""
    return VALIDATORS[draft](
        schema, validate_formats=True, offline=True, pattern_options=PATTERNS, formats=newer_formats(draft)
    )


@cache
def newer_formats(draft: int) -> dict[str, Callable[[str], bool]]:
    """Functions for the formats that the library does not assert in a draft, since a later one has brought them."""
    return {
        name: VALIDATORS[_LAST]({"format": name}, validate_formats=True).is_valid
        for name, first in _NEWER_FORMATS.items()
        if draft < first
    }


def _counts(word: str, draft: int) -> bool:
    first, last = _DRAFTS.get(word, (draft, draft))
    return first <= draft <= last
