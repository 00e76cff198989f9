"""Why a record does not fit: the schema gone through once more, reasons collected until there are enough.

The library has decided already. It names its errors too, but makes all of them first, each with a copy of its value:
a hundred missing properties of a large object take seconds. This walk stops at `max_errors` and after `MAX_STEPS`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import jsonschema_rs

from inlake.formats.json_schema.documents import Documents, Scope
from inlake.formats.json_schema.keywords import WRITTEN, Keywords
from inlake.formats.json_schema.words import forbidden, from_library, missing, too_deep, unexpected, unexplained
from inlake.formats.json_text import ABSENT, describe
from inlake.formats.reasons import Place, Reason

MAX_STEPS = 20_000
"""Pairs of subschema and value looked at: some 100 ms."""
MAX_REFERENCES = 8
"""References followed from a branch to where its properties are."""
FRAMES = 5
"""Python frames that one level of nesting takes in most schemas; in others the walk of a deep record ends early."""
Seen = set[str | int]
"""The members or items of a value that a schema has evaluated: what is left is for `unevaluated...`."""


def explain(documents: Documents, value: Any, *, max_errors: int) -> list[Reason]:
    """Up to `max_errors` reasons why the value does not fit; at least one if the library says that it does not."""
    walker = _Walker(documents, max_errors)
    with suppress(_Enough, _TooLong, RecursionError):
        walker.visit(documents.root, documents.scope, value, None)
    return walker.errors or _first(documents, value)


def accepts_text(documents: Documents, schema: Any, scope: Scope) -> bool:
    """Whether some text fits a subschema: not more than its length, pattern or format may speak against a URI."""
    walker = _Walker(documents, 100)
    with suppress(_Enough, _TooLong, RecursionError):
        walker.visit(schema, scope, "https://example.org/a", None)
    return {error.code for error in walker.errors} <= {"wrong_length", "pattern_mismatch", "bad_format"}


class _Enough(Exception):
    """The walk has found `max_errors`."""


class _TooLong(Exception):
    """The walk has taken `MAX_STEPS`."""


class _Walker:
    def __init__(self, documents: Documents, max_errors: int) -> None:
        self.documents = documents
        self.max_errors = max_errors
        self.errors: list[Reason] = []
        self.steps = 0
        self.known: dict[tuple[int, int], tuple[list[Reason], Seen]] = {}

    def report(self, errors: Iterable[Reason]) -> None:
        for error in errors:
            self.errors.append(error)
            if len(self.errors) >= self.max_errors:
                raise _Enough

    def step(self, count: int) -> None:
        self.steps += count
        if self.steps > MAX_STEPS:
            raise _TooLong

    def visit(self, schema: Any, scope: Scope, value: Any, place: Place) -> Seen:
        """Report what is wrong with the value; what of it was evaluated."""
        if not isinstance(schema, dict):
            if schema is False:
                self.report([forbidden(value, place)])
            return set()
        self.step(1)
        keywords = self.documents.keywords(schema, scope.draft)
        return self.look(keywords, self.documents.enter(keywords, scope), value, place)

    def look(self, keywords: Keywords, scope: Scope, value: Any, place: Place) -> Seen:
        uses = keywords.uses
        seen: Seen = set()
        for reference in keywords.references():
            schema, there = self.documents.follow(reference, scope)
            seen |= self.visit(schema, there, value, place)
        self.assertions(keywords, value, place)
        for schema in uses.get("allOf", ()):
            seen |= self.visit(schema, scope, value, place)
        for word in ("anyOf", "oneOf"):
            if word in uses:
                seen |= self.choice(word, uses[word], scope, value, place)
        if "not" in uses and not self.attempt(uses["not"], scope, value, place)[0]:
            self.report([forbidden(value, place)])
        if "if" in uses:
            seen |= self.condition(uses, scope, value, place)
        if type(value) is dict:
            seen |= self.presence(uses, scope, value, place)
            seen |= self.members(keywords, scope, value, place)
        elif type(value) is list:
            seen |= self.items(keywords, scope, value, place)
        return seen | self.unevaluated(uses, seen, scope, value, place)

    def assertions(self, keywords: Keywords, value: Any, place: Place) -> None:
        shown = value
        if type(value) in (dict, list):
            self.step(len(value) >> 5)
        if not keywords.whole:  # the library copies what it is shown
            shown = (
                dict.fromkeys(value) if type(value) is dict else [None] * len(value) if type(value) is list else value
            )
        try:
            for error in keywords.wrong(shown):
                self.report([from_library(error, value, place, keywords.uses.get(WRITTEN))])
        except ValueError:
            self.report([too_deep(value, place)])

    def attempt(self, schema: Any, scope: Scope, value: Any, place: Place) -> tuple[list[Reason], Seen]:
        """The errors of a schema that need not fit, and what it evaluated. Remembered: branches meet values often."""
        key = (id(schema), id(value))
        # the record keeps its arrays and objects alive, so an id is a value, and a value has one place
        if type(value) in (dict, list) and key in self.known:
            return self.known[key]
        outer, self.errors, seen = self.errors, [], set()
        try:
            seen = self.visit(schema, scope, value, place)
        except _Enough:
            pass
        finally:
            errors, self.errors = self.errors, outer
        self.known[key] = (errors, seen)
        return errors, seen

    def choice(self, word: str, branches: list[Any], scope: Scope, value: Any, place: Place) -> Seen:
        """Keywords anyOf and oneOf: one branch fits, or the errors of the closest are reported."""
        results = [self.attempt(branch, scope, value, place) for branch in branches]
        fitting = [seen for errors, seen in results if not errors]
        if not fitting:
            meant = self.meant(branches, scope, value) if type(value) is dict else None
            told = [errors for errors, _ in results]
            self.report(told[meant] if meant is not None else _closest(told, value, place))
            return set().union(*[seen for _, seen in results])  # what any branch knows is not called unknown
        if word == "oneOf" and len(fitting) > 1:
            detail = f"The value fits {len(fitting)} of the {len(branches)} forms that exclude each other."
            self.report([Reason(place, "ambiguous", detail, "exactly one form of oneOf", describe(value))])
        return set().union(*fitting)

    def meant(self, branches: list[Any], scope: Scope, value: dict[str, Any]) -> int | None:
        """The one branch whose `const` or `enum` for a property takes the value's, where those of others do not."""
        named = [self.discriminators(branch, scope) for branch in branches]
        for name in [name for name in dict.fromkeys(name for one in named for name in one) if name in value]:
            known = [index for index, one in enumerate(named) if name in one]
            taking = [index for index in known if not any(True for _ in named[index][name].wrong(value[name]))]
            if len(known) > 1 and len(taking) == 1:
                return taking[0]
        return None

    def discriminators(self, schema: Any, scope: Scope) -> dict[str, Keywords]:
        """The properties of a branch that it gives a `const` or an `enum`."""
        found: dict[str, Keywords] = {}
        for _ in range(MAX_REFERENCES):
            if not isinstance(schema, dict):
                break
            keywords = self.documents.keywords(schema, scope.draft)
            scope = self.documents.enter(keywords, scope)
            for name, inner in keywords.uses.get("properties", {}).items():
                if isinstance(inner, dict) and inner.keys() & {"const", "enum"}:
                    found[name] = self.documents.keywords(inner, scope.draft)
            references = keywords.references()
            if not references:
                break
            schema, scope = self.documents.follow(references[0], scope)
        return found

    def condition(self, uses: dict[str, Any], scope: Scope, value: Any, place: Place) -> Seen:
        """Keywords if, then and else."""
        errors, seen = self.attempt(uses["if"], scope, value, place)
        if errors:
            return self.visit(uses.get("else", True), scope, value, place)
        return seen | self.visit(uses.get("then", True), scope, value, place)

    def presence(self, uses: dict[str, Any], scope: Scope, value: dict[str, Any], place: Place) -> Seen:
        """Properties that must be there, or are looked at because another is."""
        seen: Seen = set()
        required = uses.get("required", ())
        self.report(missing(name, place) for name in required if name not in value)
        for word in ("dependentRequired", "dependentSchemas", "dependencies"):
            for name, needs in uses.get(word, {}).items():
                if name not in value:
                    continue
                if isinstance(needs, list):
                    why = f" beside {name}"
                    self.report(missing(other, place, why) for other in needs if other not in value)
                else:
                    seen |= self.visit(needs, scope, value, place)
        return seen

    def members(self, keywords: Keywords, scope: Scope, value: dict[str, Any], place: Place) -> Seen:
        uses = keywords.uses
        seen: Seen = set()
        properties = uses.get("properties", {})
        others = uses.get("additionalProperties", ABSENT)
        names = uses.get("propertyNames", True)
        if others is ABSENT and names is True and not keywords.patterns:
            value = {name: value[name] for name in properties if name in value}
        self.step(len(value) >> 3)
        for name, item in value.items():
            if names is not True and self.attempt(names, scope, name, None)[0]:
                detail = "The schema does not allow a property of this name."
                self.report([Reason((place, name), "unknown_field", detail, "another name", describe(item))])
            schemas = [properties[name]] if name in properties else []
            schemas += [schema for matches, schema in keywords.patterns if matches(name)]
            if not schemas and others is False:
                self.report([unexpected(item, (place, name), properties)])
            elif not schemas and others is not ABSENT:
                schemas = [others]
            for schema in schemas:
                self.visit(schema, scope, item, (place, name))
                seen.add(name)
        return seen

    def items(self, keywords: Keywords, scope: Scope, value: list[Any], place: Place) -> Seen:
        uses = keywords.uses
        first, rest = uses.get("prefixItems", []), uses.get("items", ABSENT)
        if isinstance(rest, list) and keywords.draft < jsonschema_rs.Draft202012:
            first, rest = rest, uses.get("additionalItems", ABSENT)
        for index, item in enumerate(value if rest is not ABSENT else value[: len(first)]):
            schema = first[index] if index < len(first) else rest
            if schema is False:
                self.report([unexpected(item, (place, index))])
            elif schema is not ABSENT:
                self.visit(schema, scope, item, (place, index))
        seen: Seen = set(range(len(value) if rest is not ABSENT else min(len(first), len(value))))
        if "contains" in uses:
            found = self.contained(uses, scope, value, place)
            seen |= found if keywords.draft == jsonschema_rs.Draft202012 else set()
        return seen

    def contained(self, uses: dict[str, Any], scope: Scope, value: list[Any], place: Place) -> Seen:
        """Keywords contains, minContains and maxContains: the items that fit."""
        schema, least, most = uses["contains"], uses.get("minContains", 1), uses.get("maxContains")
        found: Seen = {
            index for index, item in enumerate(value) if not self.attempt(schema, scope, item, (place, index))[0]
        }
        if len(found) < least or (most is not None and len(found) > most):
            wanted = f"at least {least}" if len(found) < least else f"at most {most}"
            detail = f"{len(found)} items of the array are of the kind that is asked for."
            self.report([Reason(place, "wrong_length", detail, f"{wanted} such items", describe(value))])
        return found

    def unevaluated(self, uses: dict[str, Any], seen: Seen, scope: Scope, value: Any, place: Place) -> Seen:
        """Keywords unevaluatedProperties and unevaluatedItems: what no other keyword has looked at."""
        pairs: list[tuple[str | int, Any]] = []
        if type(value) is dict and "unevaluatedProperties" in uses:
            schema, pairs = uses["unevaluatedProperties"], list(value.items())
        elif type(value) is list and "unevaluatedItems" in uses:
            schema, pairs = uses["unevaluatedItems"], list(enumerate(value))
        for step, item in pairs:
            if step in seen:
                continue
            if schema is False:
                self.report([unexpected(item, (place, step))])
            else:
                self.visit(schema, scope, item, (place, step))
        return {step for step, _ in pairs}


def _closest(branches: list[list[Reason]], value: Any, place: Place) -> list[Reason]:
    """The errors of the branch that the value comes closest to; where all want another kind of value, one for all."""
    closest = min(branches, key=lambda errors: _distance(errors, place))
    if not any(_is_of_another_kind(error, place) for error in closest):
        return closest
    wanted = dict.fromkeys(error.expected for errors in branches for error in errors if error.place == place)
    expected = " or ".join(list(wanted)[:5])
    detail = "The value is of none of the kinds that are allowed here."
    return [Reason(place, "wrong_type", detail, expected, describe(value))]


def _distance(errors: list[Reason], place: Place) -> int:
    """How far a value is from a branch: another kind of value is far off, wrong names are further than wrong values."""
    if any(_is_of_another_kind(error, place) for error in errors):
        return 1_000_000
    return sum(2 if error.code in ("missing_field", "unknown_field", "not_allowed") else 1 for error in errors)


def _is_of_another_kind(error: Reason, place: Place) -> bool:
    return error.code == "wrong_type" and error.place == place


def _first(documents: Documents, value: Any) -> list[Reason]:
    """One error, for what the walk does not see or has no time for.

    The library names its first one quickly, unless there are choices: it then makes the errors of all branches of all
    branches, twice as many with each level of nesting.
    """
    try:
        if not documents.has_choices:
            documents.validator.validate(value)
    except jsonschema_rs.ValidationError as error:
        place: Place = None
        for step in error.instance_path:
            place = (place, step)
        return [from_library(error, _at(value, error.instance_path), place)]
    except ValueError:
        return [too_deep(value, None)]
    return [unexplained(value)]


def _at(value: Any, path: list[str | int]) -> Any:
    for step in path:
        value = value[step]
    return value
