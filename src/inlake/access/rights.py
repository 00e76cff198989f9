"""Rights: a file of rules says who may ingest, read and administer, on which schemas and destinations.

    [[rule]]
    who = ["group:curators", "token:scanner"]
    may = ["ingest", "read"]
    schemas = ["tate.*"]
    destinations = ["london/*"]

The first rule that fits who asks, the schema and the destination decides; where none fits, nothing is allowed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import msgspec

from inlake.access.reloaded import Reloaded
from inlake.errors import Forbidden
from inlake.memory import Recent
from inlake.model import ANONYMOUS

Action = Literal["ingest", "read", "administer"]
ACTIONS: tuple[Action, ...] = get_args(Action)
WHO = re.compile(r"\*|anonymous|(token|oidc|proxy|group):.+")
"""Names of principals and groups as rules write them."""


class Rule(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A rule as the file has it; `*` in a pattern stands for any characters, and no destination is the empty one."""

    who: tuple[str, ...]
    may: tuple[Action, ...]
    schemas: tuple[str, ...] = ("*",)
    destinations: tuple[str, ...] = ("*",)


class _File(msgspec.Struct, forbid_unknown_fields=True):
    rule: list[Rule] = msgspec.field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Compiled:
    """A rule whose patterns are compiled."""

    number: int
    """In the file, from 1."""
    rule: Rule
    who: re.Pattern[str]
    schemas: re.Pattern[str]
    destinations: re.Pattern[str]

    def fits(self, names: Iterable[str]) -> bool:
        """Whether the rule is about one of these names of principals and groups."""
        return any(self.who.match(name) for name in names)


class Rights:
    """The rules of a file, in their order."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = [_compiled(number, rule) for number, rule in enumerate(rules, 1)]
        self._decided: Recent[tuple[frozenset[str], str, str | None], Compiled | None] = Recent()

    def decisive(self, names: frozenset[str], schema: str, destination: str | None) -> Compiled | None:
        """The first rule that fits; `names`: the principal, and its groups as `group:<name>`."""
        key = names, schema, destination
        if key not in self._decided:
            self._decided.keep(key, self._first(names, schema, destination or ""))
        return self._decided[key]

    def allow(self, names: frozenset[str], action: Action, schema: str, destination: str | None) -> bool:
        rule = self.decisive(names, schema, destination)
        return rule is not None and action in rule.rule.may

    def allowed(self, names: frozenset[str], action: Action) -> Callable[[str, str | None], bool] | None:
        """Says of any schema and destination whether the action is allowed, and may be asked by any thread; None where
        it is allowed on none."""
        if not self.allow_some(names, [action]):
            return None

        @lru_cache(10_000)
        def allow(schema: str, destination: str | None) -> bool:
            rule = self._first(names, schema, destination or "")
            return rule is not None and action in rule.rule.may

        return allow

    def allow_somewhere(self, names: frozenset[str], action: Action, schema: str) -> bool:
        """Whether the action is allowed on the schema for any destination."""
        for compiled in self._rules:
            if compiled.fits(names) and compiled.schemas.match(schema):
                if action in compiled.rule.may:
                    return True
                if "*" in compiled.rule.destinations:
                    return False
        return False

    def allow_some(self, names: frozenset[str], actions: Iterable[Action]) -> bool:
        """Whether there is any schema at all for which one of the actions may be allowed."""
        wanted = set(actions)
        return any(not wanted.isdisjoint(c.rule.may) and c.fits(names) for c in self._rules)

    def _first(self, names: frozenset[str], schema: str, destination: str) -> Compiled | None:
        for compiled in self._rules:
            if compiled.fits(names) and compiled.schemas.match(schema) and compiled.destinations.match(destination):
                return compiled
        return None


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request, and what that one may do: without a file of rights all but to administer."""

    principal: str = ANONYMOUS
    groups: frozenset[str] = frozenset()
    rights: Reloaded[Rights] | None = None
    names: frozenset[str] = field(init=False, repr=False)
    """As rules name them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", frozenset({self.principal, *(f"group:{group}" for group in self.groups)}))

    def may(self, action: Action, schema: str, destination: str | None = None) -> bool:
        if self.rights is None:
            return action != "administer"
        return self.rights.current.allow(self.names, action, schema, destination)

    def allowed(self, action: Action) -> Callable[[str, str | None], bool] | None:
        """Says of any schema and destination whether the action is allowed by the rights, and may be asked by any
        thread; None where it is allowed on none, and where there are no rights."""
        return None if self.rights is None else self.rights.current.allowed(self.names, action)

    def may_see(self, schema: str) -> bool:
        """Whether the schema itself may be known: any right on it, for any destination, is enough."""
        if self.rights is None:
            return True
        rights = self.rights.current
        return any(rights.allow_somewhere(self.names, action, schema) for action in ACTIONS)

    def check(self, action: Action, schema: str, destination: str | None = None) -> None:
        """Raises `Forbidden`, which says what is missing, and not whether there is such a schema."""
        if not self.may(action, schema, destination):
            where = f"for destination {destination}" if destination else "without a destination"
            raise Forbidden(
                f"{self.principal} has no right to {action} {schema} {where}. Whoever runs this gateway can give it "
                "(INLAKE_RIGHTS)."
            )

    def check_sees(self, schema: str) -> None:
        """Raises `Forbidden` for a schema that is not to be known, whether there is one or not."""
        if not self.may_see(schema):
            raise Forbidden(
                f"{self.principal} has no right on {schema}. Whoever runs this gateway can give one (INLAKE_RIGHTS)."
            )

    def check_some(self, actions: Sequence[Action]) -> None:
        """Raises `Forbidden` when there is no schema for which one of the actions may be allowed."""
        if self.rights is not None and not self.rights.current.allow_some(self.names, actions):
            raise Forbidden(
                f"{self.principal} has no right to {' or '.join(actions)} anything here. Whoever runs this gateway can "
                "give it (INLAKE_RIGHTS)."
            )


def read(path: Path) -> Rights:
    """The rights of a file. Raises `ValueError`, which names the rule."""
    try:
        found = msgspec.convert(tomllib.loads(path.read_text()), _File)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    except msgspec.ValidationError as error:
        raise ValueError(f"{path}: {_by_number(str(error))}") from None
    for number, rule in enumerate(found.rule, 1):
        if wrong := [who for who in rule.who if not WHO.fullmatch(who)]:
            raise ValueError(
                f"{path}, rule {number}: who is {wrong[0]!r}, and must be token:NAME, oidc:NAME, proxy:NAME, "
                "group:NAME, anonymous or *"
            )
    return Rights(found.rule)


def _by_number(message: str) -> str:
    """msgspec's message with the rule's number in place of its index: rules count from 1."""
    return re.sub(r"`\$\.rule\[(\d+)\]\.?(.*)`$", lambda m: f"rule {int(m[1]) + 1} {m[2]}".rstrip(), message)


def _compiled(number: int, rule: Rule) -> Compiled:
    return Compiled(number, rule, _any_of(rule.who), _any_of(rule.schemas), _any_of(rule.destinations))


def _any_of(patterns: Iterable[str]) -> re.Pattern[str]:
    """One expression for patterns in which only `*` is special."""
    return re.compile(
        "|".join(translate(pattern.replace("[", "[[]").replace("?", "[?]")) for pattern in patterns) or "(?!)"
    )
