"""A schema and all that it refers to: read, checked against its meta-schema, compiled. Nothing is ever fetched."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import urljoin

import jsonschema_rs

from inlake.errors import InvalidSchema, MalformedJson, RecordRejected
from inlake.formats.depth import check_depth
from inlake.formats.json_schema.ecma import NotEcma
from inlake.formats.json_schema.keywords import META_SCHEMAS, PATTERNS, VALIDATORS, Keywords, newer_formats, normal
from inlake.formats.json_schema.numbers import read_schema
from inlake.formats.reasons import Place, pointer

HOME = "https://registry.invalid/"
"""The base of relative names when a schema has no `$id`; RFC 6761: nobody can ever be there."""
MAX_DEPTH = 200
"""Nesting of a schema's text."""
MAX_BYTES = 1 << 20
"""The size of a schema with its references."""
MAX_WEIGHT = 10_000
"""Subschemas that one value can meet: `allOf` of two `$ref`s, twenty times in a row, is a million."""
_SHOWN = 300
_ABSENT_RESOURCE = re.compile(r"Resource ('.*?') is not present in a registry.*", re.DOTALL)


class Scope(NamedTuple):
    """Where a subschema stands: what its references are relative to, and the draft it is written in."""

    resolver: jsonschema_rs.Resolver
    draft: int


class Layer(NamedTuple):
    """A subschema that holds for a value, with those that hold beside it."""

    keywords: Keywords
    scope: Scope


class Documents:
    """The schema of a record (`root`) and its references, each under all addresses it may be called by."""

    def __init__(self, schema: str, references: Sequence[tuple[str, str]]) -> None:
        """`references`: (name, text). `InvalidSchema` names the document and the place in it."""
        if len(schema) + sum(len(text) for _, text in references) > MAX_BYTES:
            raise InvalidSchema(f"The schema with its references is longer than {MAX_BYTES:,} characters.")
        root = _read("The schema", schema)
        draft = _draft(root)
        self.root = _placed("The schema", root, draft)
        others = [
            (name, _placed(_referenced(name), _read(_referenced(name), text), draft)) for name, text in references
        ]
        try:
            registry = jsonschema_rs.Registry(_addresses(self.root, others))
            top = registry.resolver(_base(self.root)).lookup("")
            self.scope = Scope(top.resolver, draft)
            self._known: dict[tuple[int, int], Keywords] = {}
            self._found: dict[tuple[str, str], tuple[Any, Scope]] = {}
            _check("The schema", self.root, draft, registry)
            for name, other in others:
                _check(_referenced(name), other, draft, registry)
            self.has_choices = False
            self._refuse_explosions()
            self.validator = jsonschema_rs.validator_for(
                self.root,
                registry=registry,
                base_uri=HOME,
                validate_formats=True,
                offline=True,
                pattern_options=PATTERNS,
                formats=newer_formats(min([draft, *(_draft(other) for _, other in others)])),
            )
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            raise _invalid("The schema", error) from None
        except RecursionError:
            raise InvalidSchema("The schema is invalid: its references are chained too deeply.") from None

    def keywords(self, schema: dict[str, Any], draft: int) -> Keywords:
        """A subschema as its draft reads it."""
        key = (id(schema), draft)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = Keywords(schema, draft)
        return found

    def enter(self, keywords: Keywords, scope: Scope) -> Scope:
        """The scope inside of a subschema: an `$id` in it is a new base."""
        if not isinstance(keywords.id, str) or keywords.schema is self.root:
            return scope
        try:
            return scope._replace(resolver=scope.resolver.lookup(keywords.id).resolver)
        except jsonschema_rs.ReferencingError:
            return scope

    def follow(self, reference: str, scope: Scope) -> tuple[Any, Scope]:
        """The schema that a reference means and its scope; True where only the library knows it, or nobody, which the
        compiler says better. A dynamic reference counts as a plain one."""
        key = (scope.resolver.base_uri, reference)
        found = self._found.get(key)
        if found is None:
            try:
                target = scope.resolver.lookup(reference)
                found = (target.contents, Scope(target.resolver, target.draft))
            except jsonschema_rs.ReferencingError:
                found = (True, scope)
            self._found[key] = found
        return found

    def layers(self, schema: Any, scope: Scope, seen: set[int] | None = None) -> Iterator[Layer]:
        """A subschema and all that hold beside it for the same value: through references and allOf, not the choices."""
        seen = set() if seen is None else seen
        if not isinstance(schema, dict) or id(schema) in seen:
            return
        seen.add(id(schema))
        keywords = self.keywords(schema, scope.draft)
        scope = self.enter(keywords, scope)
        yield Layer(keywords, scope)
        for reference in keywords.references():
            yield from self.layers(*self.follow(reference, scope), seen)
        for inner in keywords.uses.get("allOf", ()):
            yield from self.layers(inner, scope, seen)

    def _refuse_explosions(self) -> None:
        """`InvalidSchema` when one value can meet more than `MAX_WEIGHT` subschemas, or meets them without end."""
        weights: dict[int, int] = {}
        waiting: list[tuple[Any, Scope]] = [(self.root, self.scope)]

        def weigh(schema: Any, scope: Scope) -> int:
            """How many subschemas a value meets in this one; those for its parts wait."""
            if not isinstance(schema, dict):
                return 1
            known = weights.get(id(schema))
            if known == 0:
                raise InvalidSchema("The schema is invalid: it refers to itself without a step into the value.")
            if known:
                return known
            weights[id(schema)] = 0
            keywords = self.keywords(schema, scope.draft)
            self.has_choices |= "anyOf" in keywords.uses or "oneOf" in keywords.uses
            scope = self.enter(keywords, scope)
            targets = [self.follow(reference, scope) for reference in keywords.references()]
            weight = 1 + sum(weigh(inner, scope) for inner in keywords.in_place())
            weight += sum(weigh(*target) for target in targets)
            if weight > MAX_WEIGHT:
                raise InvalidSchema(f"The schema makes one value meet more than {MAX_WEIGHT:,} subschemas.")
            waiting.extend((inner, scope) for inner in keywords.inside())
            weights[id(schema)] = weight
            return weight

        while waiting:
            weigh(*waiting.pop())


def _read(title: str, text: str) -> Any:
    try:
        check_depth(text.encode(), MAX_DEPTH)
        schema = read_schema(text)
    except RecordRejected as error:
        reason = error.errors[0]
        at = f" at {reason.pointer}" if reason.pointer else ""
        raise InvalidSchema(f"{title} cannot be used{at}: {reason.detail}") from None
    except (MalformedJson, UnicodeEncodeError) as error:
        raise InvalidSchema(f"{title} cannot be read: {error}") from None
    if not isinstance(schema, dict | bool):
        raise InvalidSchema(f"{title} must be an object, or true or false.")
    return schema


def _referenced(name: str) -> str:
    return f"The referenced schema {name!r}"


def _placed(title: str, schema: Any, draft: int) -> Any:
    """A document with its draft, `draft` if it names none, and its whole address: the library joins a relative `$id`
    to its base twice, and reads all documents in the draft of the first where they do not say. `InvalidSchema`."""
    if not isinstance(schema, dict):
        return schema
    try:
        placed = {"$schema": META_SCHEMAS[draft], **normal(schema)}
    except NotEcma as error:
        raise InvalidSchema(f"{title} is invalid at {pointer(error.place)}: the pattern is refused {error}.") from None
    word = "id" if _draft(placed) == jsonschema_rs.Draft4 else "$id"
    if isinstance(placed.get(word), str):
        try:
            placed[word] = urljoin(HOME, placed[word])
        except ValueError as error:
            raise InvalidSchema(f"The schema is invalid at /{word}: {error}.") from None
    return placed


def _draft(schema: Any) -> int:
    class_ = jsonschema_rs.validator_cls_for(schema)
    return next((draft for draft, known in VALIDATORS.items() if known is class_), jsonschema_rs.Draft202012)


def _base(schema: Any) -> str:
    """The address of a document by its own word."""
    own = (schema.get("$id") or schema.get("id")) if isinstance(schema, dict) else None
    return urljoin(HOME, own).partition("#")[0] if isinstance(own, str) else HOME


def _addresses(root: Any, others: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Every document under its own `$id` and, as Confluent's clients do, under its reference's name.

    A name is relative to the document that says `$ref`, so it is tried against the address of each.
    """
    bases = {HOME, *(_base(document) for document in [root, *(other for _, other in others)])}
    found = {_base(other): other for _, other in others if _base(other) != HOME}
    found |= {urljoin(base, name).partition("#")[0]: other for name, other in others for base in bases}
    return list({**found, _base(root): root}.items())


def _check(title: str, schema: Any, draft: int, registry: jsonschema_rs.Registry) -> None:
    """Against its meta-schema: the one it names, else that of `draft`."""
    if isinstance(schema, dict):
        schema = {"$schema": META_SCHEMAS[draft], **schema}
    try:
        jsonschema_rs.meta.validate(schema, registry=registry)
    except jsonschema_rs.ValidationError as error:
        raise _invalid(title, error) from None


def _invalid(title: str, error: Exception) -> InvalidSchema:
    place: Place = None
    for step in getattr(error, "instance_path", ()):
        place = (place, step)
    message = _ABSENT_RESOURCE.sub(
        r"it refers to \1, which is none of its references", str(getattr(error, "message", error))
    )
    message = message if len(message) <= _SHOWN else message[: _SHOWN - 1] + "…"
    at = f" at {pointer(place)}" if place else ""
    return InvalidSchema(f"{title} is invalid{at}: {message.replace(HOME, '').rstrip('.')}.")
