"""A parsed schema made whole: unions are sound, every value is finite, defaults are encoded."""

from __future__ import annotations

from inlake.errors import InvalidSchema
from inlake.formats.avro.exact import DefaultNotReady, Mode, walk
from inlake.formats.avro.schema import MAX_DEPTH
from inlake.formats.avro.types import JSON_TYPES, Field, Parsed, Type
from inlake.formats.json_text import ABSENT, shorten
from inlake.formats.reasons import pointer

MAX_DEFAULT = 1 << 16
"""Bytes of an encoded default: defaults of defaults can double at every step."""
MAX_ROUNDS = 64
"""How far defaults may build on one another."""


def resolve(parsed: Parsed) -> Type:
    """The root type, ready for use. `InvalidSchema` names the place."""
    fields = [field for named in parsed.names.values() for field in named.fields.values()]
    for union in parsed.types:
        if union.kind == "union":
            _check_union(union)
    _rank(parsed.types)
    _encode_defaults([field for field in fields if field.default is not ABSENT])
    return parsed.root


def _check_union(union: Type) -> None:
    seen = set()
    for branch in union.inner:
        if branch.kind == "union":
            raise InvalidSchema("The schema is invalid: a union stands directly in a union.")
        if branch.name in seen:
            raise InvalidSchema(f"The schema is invalid: a union has two branches {shorten(branch.name)}.")
        seen.add(branch.name)
    branches = list(enumerate(union.inner))
    union.takers = {kind: [pair for pair in branches if kind in pair[1].accepted] for kind in JSON_TYPES}


def _rank(types: list[Type]) -> None:
    """Find how deep the shallowest value of each type is; a type without one after `MAX_DEPTH` rounds is endless."""
    for _ in range(MAX_DEPTH):
        changed = False
        for ranked in types:
            if ranked.rank < 0:
                ranked.rank = _shallowest(ranked)
                changed = changed or ranked.rank >= 0
        if not changed:
            break
    for ranked in types:
        if not 0 <= ranked.rank <= MAX_DEPTH:
            name = shorten(ranked.name)
            raise InvalidSchema(
                f"The schema is invalid: every {name} must contain itself, or {MAX_DEPTH} other records."
            )


def _shallowest(ranked: Type) -> int:
    """-1 as long as it depends on types that have no rank yet."""
    if ranked.kind in ("array", "map"):
        return 1
    if ranked.kind == "union":
        return min((branch.rank for branch in ranked.inner if branch.rank >= 0), default=-1)
    needed = [field.type.rank for field in ranked.fields.values() if field.default is ABSENT]
    if ranked.kind != "record":
        return 0
    return -1 if -1 in needed else 1 + max(needed, default=0)


def _encode_defaults(waiting: list[Field]) -> None:
    """Defaults hold records whose fields have defaults: encode in rounds, each what the rounds before made possible."""
    for _ in range(MAX_ROUNDS):
        if not waiting:
            return
        waiting = [field for field in waiting if not _encode_default(field)]
    raise InvalidSchema(f"The schema is invalid at {waiting[0].at}: its default contains itself.")


def _encode_default(field: Field) -> bool:
    try:
        encoded, errors = walk(field.type, field.default, Mode.DEFAULT, max_errors=1)
    except DefaultNotReady:
        return False
    if errors:
        first = errors[0]
        inside = f" ({pointer(first.place)})" if first.place else ""
        reason = f"the default does not fit{inside}: expected {shorten(first.expected)}, got {first.got}"
        raise InvalidSchema(f"The schema is invalid at {field.at}: {reason}.")
    if len(encoded) > MAX_DEFAULT:
        raise InvalidSchema(f"The schema is invalid at {field.at}: its default is over {MAX_DEFAULT:,} bytes.")
    field.filled = encoded
    return True
