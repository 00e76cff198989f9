"""`inlake rights check`: what the file says of somebody, and which rule says it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import inlake

RULES = '[[rule]]\nwho = ["group:curators"]\nmay = ["ingest"]\nschemas = ["tate.*"]\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rights.toml").write_text(RULES)
    return tmp_path


def check(folder: Path, *arguments: str, file: str = "rights.toml") -> tuple[int, str]:
    done = inlake("rights", "check", *arguments, cwd=folder, INLAKE_RIGHTS=file)
    return done.returncode, done.stdout + done.stderr


def test_it_says_what_is_allowed_and_by_which_rule(folder: Path) -> None:
    code, said = check(folder, "oidc:ann", "tate.artwork", "--group", "curators")
    assert code == 0
    assert said.split() == ["ingest", "yes", "read", "no", "administer", "no", *said.split()[6:]]
    assert said.endswith("Rule 1 of rights.toml decides.\n")
    assert "No rule of" in check(folder, "oidc:ann", "tate.artwork")[1]


@pytest.mark.parametrize(("action", "code"), [("ingest", 0), ("read", 1)])
def test_a_script_learns_it_by_the_exit_code(folder: Path, action: str, code: int) -> None:
    found, said = check(folder, "oidc:ann", "tate.artwork", "--group", "curators", "--may", action, "--json")
    assert found == code
    assert json.loads(said) == {"principal": "oidc:ann", "schema": "tate.artwork", "may": ["ingest"], "rule": 1}


@pytest.mark.parametrize(
    ("arguments", "file", "said"),
    [
        (["token:a", "b"], "", "INLAKE_RIGHTS is not set, so everybody may do all"),
        (["ann", "b"], "rights.toml", "ann is no principal: write token:ann for who sends with an API key"),
        (["token:a", "b", "--file", "absent.toml"], "rights.toml", "absent.toml cannot be read"),
        (
            ["token:a", "b", "--may", "write"],
            "rights.toml",
            "There is no action 'write': there are ingest, read, administer.",
        ),
    ],
)
def test_what_cannot_be_answered_is_said(folder: Path, arguments: list[str], file: str, said: str) -> None:
    code, text = check(folder, *arguments, file=file)
    assert code == 2, text
    assert said in " ".join(text.split())
