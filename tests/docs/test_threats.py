"""The page of threats: each route has a line, and each test that a line names is there."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from inlake.web.app import RECORDS, TABLE

TESTS = Path(__file__).parents[1]
LINES = [line for line in (TESTS.parent / "docs" / "threats.md").read_text().splitlines() if line.startswith("| ")]
ROUTES = {(row.method, row.path) for row in TABLE} | {("POST", f"/ingress{row.path}") for row in RECORDS}


@cache
def functions(module: str) -> set[str]:
    text = (TESTS / f"{module}.py").read_text()
    return {node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_each_route_has_a_line_and_no_line_is_of_another_route() -> None:
    named = {(method, path) for line in LINES for method, path in re.findall(r"`([A-Z]+) (/[^`]*)`", cells(line)[0])}
    assert named - ROUTES == set(), "no routes"
    assert ROUTES - named == set(), "routes that the page forgets"


@pytest.mark.parametrize("line", [line for line in LINES if "::" in line])
def test_the_tests_that_a_line_names_are_there(line: str) -> None:
    for module, name in re.findall(r"`([\w/]+)::(\w+)`", cells(line)[-1]):
        assert name in functions(module), f"tests/{module}.py has no {name}"


def test_each_line_names_a_danger_what_is_against_it_and_a_test() -> None:
    for line in LINES:
        if not set(line) <= set("|- ") and cells(line)[-1] != "test":
            assert all(cells(line)[1:]), line
            assert "::" in cells(line)[-1], line
