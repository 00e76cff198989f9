"""The exact rules: any JSON value against any Avro type, encoded or refused with all reasons.

Cost is bounded for hostile values too: how a union decided about an array or object is remembered, so each pair of
union and value is decided once, however often the branches of outer unions come by.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from inlake.errors import RecordTooLarge
from inlake.formats.avro.binary import INTEGERS, SMALL, sized
from inlake.formats.avro.logical import code_points, encode_logical, such_as
from inlake.formats.avro.types import Type
from inlake.formats.binary import pack_double, pack_float, zigzag
from inlake.formats.json_text import ABSENT, Fractional, describe
from inlake.formats.numbers import keeps, nearest, says_zero, too_small
from inlake.formats.reasons import Meant, Misfit, Place, Reason, listed, other_form, quoted, unknown_symbol, wrong_type

FRAMES = 3
"""Most Python frames for one level of arrays and objects: record, union, fits or closest."""
_BITS = {"int": 31, "long": 63}
_ROUNDED: tuple[tuple[str, ...], ...] = ((), ("double",), ("double", "float"))
"""Types that may round a fraction, in the order in which a union tries its branches."""


class Mode(enum.Enum):
    """How unions and bytes are written."""

    PLAIN = "plain JSON, the tagged form where no branch fits"
    TAGGED = "the JSON encoding of the Avro specification, nothing else"
    DEFAULT = "a default in a schema: plain, logical types as the type below"


class DefaultNotReady(Exception):
    """A default needs another default that is not encoded yet."""


class _Enough(Exception):
    """A walk has found `max_errors`, or, when it only tries, one."""


def walk(
    root: Type, value: Any, mode: Mode = Mode.PLAIN, *, max_errors: int = 100, max_bytes: int | None = None
) -> tuple[bytes, list[Reason]]:
    """The encoded value (complete when there are no errors), and up to `max_errors` errors. `RecordTooLarge`."""
    walker = _Walker(mode, max_errors)
    with suppress(_Enough):
        _STEPS[root.step](walker, root, value, None)
    if max_bytes is not None:
        refuse_too_large(sum(map(len, walker.out)), max_bytes)
    return b"".join(walker.out), walker.errors


def refuse_too_large(size: int, limit: int) -> None:
    """`RecordTooLarge` before the bytes are joined: a default of a kilobyte can fill fields that take two each."""
    if size > limit + (8 << 10):  # the URI of an object that is filled in is not the record's own
        raise RecordTooLarge(
            f"The record has {size:,} bytes with the defaults of its schema, and may have {limit:,} "
            "(INLAKE_MAX_RECORD_BYTES)."
        )


class _Walker:
    """The state of one walk. A level of nesting takes `FRAMES` Python frames at most, so the depth limit is enough."""

    __slots__ = ("errors", "max_errors", "mode", "only_bytes", "out", "rounded", "seen", "trying")

    def __init__(self, mode: Mode, max_errors: int) -> None:
        self.mode = mode
        self.only_bytes = mode is Mode.TAGGED
        self.max_errors = max_errors
        self.out: list[bytes] = []
        self.errors: list[Reason] = []
        self.rounded = _ROUNDED[-1]
        """The types that may keep the nearest number to a fraction, not the same."""
        self.seen: dict[tuple[int, int, int], _Choice | list[Reason] | None] = {}
        """A union's decision about a value: a branch, None when none fits, or the errors once they were asked for."""
        self.trying = False
        """Inside of `fits`: errors are not wanted."""

    def fail(self, type_: Type, value: Any, place: Place, code: str, detail: str) -> None:
        if self.trying:
            raise _Enough
        self.report([Reason(place, code, detail, type_.label, describe(value))])

    def wrong(self, type_: Type, value: Any, place: Place) -> None:
        if self.trying:
            raise _Enough
        self.fail(type_, value, place, "wrong_type", wrong_type(type_.label, value, is_record=place is None))

    def report(self, errors: list[Reason]) -> None:
        if self.trying:
            raise _Enough
        self.errors += errors[: self.max_errors - len(self.errors)]
        if len(self.errors) >= self.max_errors:
            raise _Enough

    def logical(self, type_: Type, value: Any, place: Place) -> None:
        if self.mode is Mode.DEFAULT:
            return _STEPS[type_.kind](self, type_, value, place)
        if type(value) is Fractional and value.text == "-0" and type_.kind in _BITS:
            value = 0
        try:
            self.out.append(encode_logical(type_, value, only_bytes=self.only_bytes))
        except Misfit as misfit:
            self.fail(type_, value, place, misfit.code, misfit.detail)
        return None

    def null(self, type_: Type, value: Any, place: Place) -> None:
        if value is not None:
            self.wrong(type_, value, place)

    def boolean(self, type_: Type, value: Any, place: Place) -> None:
        if type(value) is not bool:
            return self.wrong(type_, value, place)
        self.out.append(b"\1" if value else b"\0")
        return None

    def integer(self, type_: Type, value: Any, place: Place) -> None:
        # 1.0 and 1e3 are numbers with a fraction or an exponent, and no integers here
        if type(value) is not int:
            if type(value) is not Fractional or value.text != "-0":
                return self.wrong(type_, value, place)
            if "double" not in self.rounded:
                raise _Enough  # a double keeps the sign
            value = 0
        limit = 1 << _BITS[type_.kind]
        if not -limit <= value < limit:
            detail = f"The number does not fit {type_.kind} ({_BITS[type_.kind] + 1} bits)."
            return self.fail(type_, value, place, "out_of_range", detail)
        self.out.append(INTEGERS[value] if 0 <= value < SMALL else zigzag(value))
        return None

    def floating(self, type_: Type, value: Any, place: Place) -> None:
        if type(value) not in (int, Fractional):
            return self.wrong(type_, value, place)
        text = str(value) if type(value) is int else value.text
        try:
            number = nearest(type_.kind, text)
            if number == 0 and not says_zero(text):
                raise too_small(type_.kind)
        except Misfit as misfit:
            return self.fail(type_, value, place, misfit.code, misfit.detail)
        if type_.kind not in self.rounded and not keeps(number, text):
            raise _Enough
        self.out.append(pack_double(number) if type_.kind == "double" else pack_float(number))
        return None

    def string(self, type_: Type, value: Any, place: Place) -> None:
        if type(value) is not str:
            return self.wrong(type_, value, place)
        self.out.append(sized(value.encode()))
        return None

    def bytes_(self, type_: Type, value: Any, place: Place) -> None:
        if type(value) is not str:
            return self.wrong(type_, value, place)
        try:
            self.out.append(code_points(value, type_.size) if type_.kind == "fixed" else sized(code_points(value)))
        except Misfit as misfit:
            self.fail(type_, value, place, misfit.code, misfit.detail)
        return None

    def enum(self, type_: Type, value: Any, place: Place) -> None:
        if type(value) is not str:
            detail = f"A symbol of the enum {type_.name} is expected here: {listed(list(type_.symbols))}."
            return self.fail(type_, value, place, "wrong_type", detail)
        number = type_.symbols.get(value)
        if number is not None:
            self.out.append(zigzag(number))
        elif self.trying:
            raise _Enough
        else:
            misfit = unknown_symbol(type_.name, type_.symbols, value)
            reason = Reason(place, misfit.code, misfit.detail, type_.label, describe(value), misfit.meant)
            self.report([reason])
        return None

    def array(self, type_: Type, value: Any, place: Place) -> None:
        if type(value) is not list:
            return self.wrong(type_, value, place)
        if value:
            self.out.append(zigzag(len(value)))
            items = type_.inner[0]
            for index, item in enumerate(value):
                _STEPS[items.step](self, items, item, (place, index))
        self.out.append(b"\0")
        return None

    def map(self, type_: Type, value: Any, place: Place) -> None:
        if type(value) is not dict:
            return self.wrong(type_, value, place)
        if value:
            self.out.append(zigzag(len(value)))
            values = type_.inner[0]
            for key, item in value.items():
                self.out.append(sized(key.encode()))
                _STEPS[values.step](self, values, item, (place, key))
        self.out.append(b"\0")
        return None

    def record(self, type_: Type, value: Any, place: Place) -> None:
        if type(value) is not dict:
            return self.wrong(type_, value, place)
        if self.trying and not value.keys() <= type_.fields.keys():
            raise _Enough
        for name, field in type_.fields.items():
            given = value.get(name, ABSENT)
            if given is ABSENT:
                self.absent(type_, name, place)
            elif type(given) is bytes:  # never from JSON: the resource field, encoded by the codec
                self.out.append(given)
            else:
                _STEPS[field.type.step](self, field.type, given, (place, name))
        if not value.keys() <= type_.fields.keys():
            for name in [name for name in value if name not in type_.fields][: self.max_errors]:
                detail = f"The record {type_.name} has no such field."
                meant = Meant(name, tuple(type_.fields))
                self.report([Reason((place, name), "unknown_field", detail, "nothing", describe(value[name]), meant)])
        return None

    def absent(self, record: Type, name: str, place: Place) -> None:
        field = record.fields[name]
        if field.filled is not None:
            self.out.append(field.filled)
        elif field.default is not ABSENT:
            raise DefaultNotReady
        else:
            detail = f"The field {name} of {record.name} is missing and has no default."
            self.report([Reason((place, name), "missing_field", detail, field.type.label, "nothing")])

    def union(self, type_: Type, value: Any, place: Place) -> None:
        """The branch that fits; else the errors of the closest one."""
        # the draft keeps all its values alive, so an id is a value, and a value has one place
        key = (id(type_), id(value), len(self.rounded)) if type(value) in (dict, list) else None
        known = self.seen.get(key, ABSENT) if key else ABSENT
        if known is ABSENT:
            known = self.first(type_, value, place)
        elif isinstance(known, _Choice):
            self.fits(known)
        if known is None and not self.trying:
            known = self.closest(type_, value, place)
        if key:
            self.seen[key] = known
        if not isinstance(known, _Choice):
            self.report(known or [])

    def first(self, union: Type, value: Any, place: Place) -> _Choice | None:
        """The first branch that keeps every number as it is; else the first that rounds to a double, or to a float."""
        outer = self.rounded
        try:
            for self.rounded in _ROUNDED[: len(outer) + 1]:
                for choice in self.choices(union, value, place):
                    if self.fits(choice):
                        return choice
        finally:
            self.rounded = outer
        return None

    def fits(self, choice: _Choice) -> bool:
        """Write a value as one branch, or leave no trace; the first misfit ends it."""
        mark, trying, self.trying = len(self.out), self.trying, True
        self.out.append(zigzag(choice.number))
        try:
            _STEPS[choice.branch.step](self, choice.branch, choice.value, choice.place)
        except _Enough:
            del self.out[mark:]
            return False
        finally:
            self.trying = trying
        return True

    def closest(self, union: Type, value: Any, place: Place) -> list[Reason]:
        """The errors of the branch that a value comes closest to; no branch is known to fit."""
        closest: list[Reason] = []
        mark, outer = len(self.out), self.errors
        for choice in self.choices(union, value, place):
            errors: list[Reason] = []
            self.errors = errors
            with suppress(_Enough):
                _STEPS[choice.branch.step](self, choice.branch, choice.value, choice.place)
            # a tag is a clear word about what is meant: it comes last and its errors count
            if not closest or choice.value is not value or _distance(errors) < _distance(closest):
                closest = errors
        del self.out[mark:]
        self.errors = outer
        return self.hint_tags(union, value, closest) or [
            Reason(place, "wrong_type", self.no_branch(union, value), union.label, describe(value))
        ]

    def no_branch(self, union: Type, value: Any) -> str:
        """The sentence for a value that belongs to no branch at all."""
        names = [branch.name for branch in union.inner]
        if self.only_bytes:
            tag = next((name for name in names if name != "null"), "string")
            return (
                f"In the tagged form a value stands in an object with the full name of its type, such as "
                f"{{{quoted(tag)}: ...}}, or is null; the types are {listed(names, str)}."
            )
        logical = [such_as(branch) for branch in union.inner if branch.logical]
        such = f", such as {' or '.join(logical)}" if logical else ""
        return (
            f"A value of one of the types {listed(names, str)} is expected here{such}.{other_form(union.label, value)}"
        )

    def hint_tags(self, union: Type, value: Any, closest: list[Reason]) -> list[Reason]:
        """The errors of the closest branch; those of a tag that is only the end of a branch's full name say so."""
        tag = next(iter(value)) if type(value) is dict and len(value) == 1 else ""
        full = [branch.name for branch in union.inner if tag and branch.name.rpartition(".")[2] == tag != branch.name]
        if not full:
            return closest
        hint = f" If {quoted(tag)} is meant as the tag of a branch, write its full name: {quoted(full[0])}."
        return [closest[0]._replace(detail=closest[0].detail + hint), *closest[1:]] if closest else closest

    def choices(self, union: Type, value: Any, place: Place) -> Iterator[_Choice]:
        """The branches that a value may belong to: in schema order, then the one its tag names."""
        kind = type(value)
        for number, branch in union.takers[kind]:
            if self.mode is not Mode.TAGGED or value is None:
                yield _Choice(number, branch, value, place)
        if self.mode is Mode.DEFAULT or kind is not dict or len(value) != 1:
            return
        [(tag, inside)] = value.items()
        for number, branch in enumerate(union.inner):
            if branch.name == tag != "null":
                yield _Choice(number, branch, inside, (place, tag))


class _Choice(NamedTuple):
    """A branch of a union that a value may belong to."""

    number: int
    branch: Type
    value: Any
    """The value, or what is inside its tag."""
    place: Place


def _distance(errors: list[Reason]) -> int:
    """How far a value is from a branch: names that do not match weigh more than values that do not."""
    return sum(2 if error.code in ("missing_field", "unknown_field") else 1 for error in errors)


_STEPS: dict[str, Callable[[_Walker, Type, Any, Place], None]] = {
    "null": _Walker.null,
    "boolean": _Walker.boolean,
    "int": _Walker.integer,
    "long": _Walker.integer,
    "float": _Walker.floating,
    "double": _Walker.floating,
    "string": _Walker.string,
    "bytes": _Walker.bytes_,
    "fixed": _Walker.bytes_,
    "enum": _Walker.enum,
    "array": _Walker.array,
    "map": _Walker.map,
    "record": _Walker.record,
    "union": _Walker.union,
    "logical": _Walker.logical,
}
