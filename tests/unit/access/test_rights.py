"""Rights as a table: principal, action, schema, destination."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inlake.access.reloaded import Reloaded
from inlake.access.rights import ACTIONS, Action, Caller, read
from inlake.errors import Forbidden

RULES = """
[[rule]] # nobody sends what is closed, not even curators
who = ["*"]
may = []
schemas = ["tate.closed"]

[[rule]]
who = ["group:curators", "token:desk"]
may = ["ingest", "read"]
schemas = ["tate.*"]
destinations = ["london", "london/*"]

[[rule]]
who = ["token:scan-*"]
may = ["ingest"]
schemas = ["scan", "photo"]

[[rule]]
who = ["oidc:root@museum.example"]
may = ["ingest", "read", "administer"]

[[rule]]
who = ["anonymous"]
may = ["read"]
schemas = ["tate.artwork"]
"""
CURATOR = ("oidc:ann", "curators")
TABLE: list[tuple[tuple[str, ...], str, str | None, str]] = [
    (CURATOR, "tate.artwork", "london", "ingest read"),
    (CURATOR, "tate.artwork", "london/attic", "ingest read"),
    (CURATOR, "tate.artwork", "londonderry", ""),
    (CURATOR, "tate.artwork", None, ""),
    (CURATOR, "tate.closed", "london", ""),
    (CURATOR, "scan", None, ""),
    (("oidc:ann", "guards"), "tate.artwork", "london", ""),
    (("token:desk",), "tate.artwork", "london", "ingest read"),
    (("token:deskx",), "tate.artwork", "london", ""),
    (("token:scan-1",), "scan", None, "ingest"),
    (("token:scan-1",), "photo", "anywhere", "ingest"),
    (("token:scan-1",), "photos", None, ""),
    (("proxy:scan-1",), "scan", None, ""),
    (("oidc:root@museum.example",), "scan", None, "ingest read administer"),
    (("oidc:root@museum.example",), "tate.artwork", "rome", "ingest read administer"),
    (("oidc:root@museum.example",), "tate.closed", None, ""),
    (("oidc:root@museumXexample",), "scan", None, ""),
    (("anonymous",), "tate.artwork", None, "read"),
    (("anonymous",), "tate.artist", None, ""),
    (("token:curators",), "tate.artwork", "london", ""),
    (("oidc:group:curators",), "tate.artwork", "london", ""),
]


def rights(folder: Path, text: str = RULES) -> Path:
    path = folder / "rights.toml"
    path.write_text(text)
    return path


def caller(path: Path, principal: str, *groups: str) -> Caller:
    return Caller(principal, frozenset(groups), Reloaded(path, read))


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(("who", "schema", "destination", "allowed"), TABLE)
def test_the_first_rule_that_fits_decides(
    tmp_path: Path, who: tuple[str, ...], schema: str, destination: str | None, allowed: str, action: Action
) -> None:
    asks = caller(rights(tmp_path), *who)
    assert asks.may(action, schema, destination) == (action in allowed.split())
    assert asks.may(action, schema, destination) == (action in allowed.split())  # remembered


@pytest.mark.parametrize("action", ACTIONS)
def test_without_a_file_nobody_administers_and_with_an_empty_one_nobody_may_anything(
    tmp_path: Path, action: Action
) -> None:
    assert Caller().may(action, "any") == (action != "administer")
    Caller().check_some([action])
    empty = caller(rights(tmp_path, ""), "token:desk")
    assert not empty.may(action, "any")
    with pytest.raises(Forbidden, match=r"token:desk has no right to .* anything here"):
        empty.check_some([action])


def test_some_right_is_one_of_those_asked_for(tmp_path: Path) -> None:
    scanner = caller(rights(tmp_path), "token:scan-1")
    scanner.check_some(["read", "ingest"])
    with pytest.raises(Forbidden):
        scanner.check_some(["read", "administer"])


def test_a_refusal_says_what_is_missing_and_not_what_exists(tmp_path: Path) -> None:
    scanner = caller(rights(tmp_path), "token:scan-1")
    said = []
    for schema in ("tate.artwork", "there.is.none"):
        with pytest.raises(Forbidden) as refused:
            scanner.check("ingest", schema, "rome")
        said.append(refused.value.detail.replace(schema, "SCHEMA"))
    assert said[0] == said[1]
    assert said[0].startswith("token:scan-1 has no right to ingest SCHEMA for destination rome.")


def test_a_right_that_is_taken_away_is_gone_with_the_next_look(tmp_path: Path) -> None:
    path = rights(tmp_path)
    desk = caller(path, "token:desk")
    assert desk.may("ingest", "tate.artwork", "london")
    rights(tmp_path, RULES.replace('"token:desk"', '"token:other"'))
    os.utime(path, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns + 5_000_000_000))
    assert desk.rights is not None
    desk.rights._looked -= 10
    assert not desk.may("ingest", "tate.artwork", "london")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[rule]]\nmay = ["read"]', "rule 1"),
        ('[[rule]]\nwho = ["*"]\nmay = ["read"]\n[[rule]]\nwho = ["*"]\nmay = ["write"]', "'write'.*rule 2 may"),
        ('[[rule]]\nwho = ["curators"]\nmay = []', "rule 1: who is 'curators', and must be token:NAME"),
        ('[[rule]]\nwho = "*"\nmay = []', "rule 1 who"),
        ('[[rule]]\nwho = ["*"]\nmay = []\nschema = ["a"]', "unknown field `schema`.*rule 1"),
        ("[rule", "cannot be read"),
    ],
)
def test_a_broken_file_is_refused_with_its_rule(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(rights(tmp_path, text))
