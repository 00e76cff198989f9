"""The marks of the house: how modules are named, how long they and their functions are, and where their tests stand."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "inlake"
UNIT = ROOT / "tests" / "unit"
MODULES = sorted(path.relative_to(SRC) for path in SRC.rglob("*.py") if path.name != "__init__.py")
RECIPE = Path("../../recipes/spark")
RECIPE_SRC = RECIPE / "src" / "inlake_spark"
HOUSE = [
    *MODULES,
    *sorted(
        RECIPE_SRC / path.relative_to(SRC / RECIPE_SRC)
        for path in (SRC / RECIPE_SRC).rglob("*.py")
        if path.name != "__init__.py"
    ),
]
"""The modules of the recipes too, as seen from `SRC`."""
ROOT_MODULES, LINES, FUNCTION_LINES, PARAMETERS = 13, 400, 50, 6

# What does not hold yet: its room is to take it off this list.
NOT_YET: dict[str, str] = {}
# Tests that are of no one module, and why.
OF_NO_MODULE = {
    "test_house": "the marks are of all modules",
    "test_import_contracts": "the contracts are of all modules",
    "bus/kafka/producer/test_model": "a model of a broker, against the producer as a whole",
    "formats/test_encode_plain": "one rule for the codecs of all formats",
    "formats/avro/test_rules": "what the generated and the exact encoder must agree on",
    "formats/avro/test_properties": "any schema, any record: the codec as a whole",
    "formats/protobuf/test_rules": "what the generated and the exact encoder must agree on",
    "formats/protobuf/test_properties": "any schema, any record: the codec as a whole",
    "formats/protobuf/test_schema": "what the gateway takes as a schema, over several modules",
    "formats/json_schema/test_properties": "any schema, any record: the codec as a whole",
    "formats/json_schema/test_real_data": "the codec as a whole",
    "formats/json_schema/test_suite": "the specification's own tests, for the codec as a whole",
    "web/routes/test_receipt_lines": "one function of lines",
    "web/serving/test_joined_writes": "one class of protocol",
}


def functions(module: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse((SRC / module).read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def names_that_repeat() -> Iterator[str]:
    for module in HOUSE:
        if module.parent.name and module.parent.name in {module.stem, *module.stem.split("_")}:
            yield f"{module} repeats its folder"


def long_modules() -> Iterator[str]:
    for module in HOUSE:
        lines = len((SRC / module).read_text().splitlines())
        if lines > LINES and module != Path("errors.py"):  # a list: one finds a line of it by its name
            yield f"{module} has {lines} lines"


def long_functions() -> Iterator[str]:
    for module in HOUSE:
        for function in functions(module):
            lines = (function.end_lineno or 0) - function.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{module}: {function.name} has {lines} lines"


def functions_with_many_parameters() -> Iterator[str]:
    for module in HOUSE:
        if module.is_relative_to("cli/commands"):  # the parameters of a command are its options
            continue
        for function in functions(module):
            arguments = function.args.posonlyargs + function.args.args + function.args.kwonlyargs
            count = sum(argument.arg not in {"self", "cls"} for argument in arguments)
            if count > PARAMETERS:
                yield f"{module}: {function.name} has {count} parameters"


def test_the_root_has_few_modules() -> None:
    root = [str(module) for module in MODULES if len(module.parts) == 1 and module.name != "__main__.py"]
    assert len(root) <= ROOT_MODULES, root


@pytest.mark.parametrize(
    "found", [names_that_repeat, long_modules, long_functions, functions_with_many_parameters], ids=lambda f: f.__name__
)
def test_the_marks_hold(found: Callable[[], Iterator[str]]) -> None:
    assert [what for what in found() if what not in NOT_YET] == []


def test_what_holds_is_not_on_the_list_of_what_does_not() -> None:
    every = {*names_that_repeat(), *long_modules(), *long_functions(), *functions_with_many_parameters()}
    assert set(NOT_YET) - every == set(), "take it off the list"


def test_the_test_of_a_module_stands_at_its_path() -> None:
    astray = []
    for unit, source in ((UNIT, SRC), (SRC / RECIPE / "tests" / "unit", SRC / RECIPE_SRC)):
        for test in unit.rglob("test_*.py"):
            place = test.relative_to(unit).with_suffix("")
            mirrored = source / place.parent / place.name.removeprefix("test_")
            if not (mirrored.is_dir() or mirrored.with_suffix(".py").exists()) and str(place) not in OF_NO_MODULE:
                astray.append(str(place))
    assert astray == []
    assert [place for place in OF_NO_MODULE if not (UNIT / place).with_suffix(".py").exists()] == []


NAMES = re.compile(
    r"(jsonschema|libcurl|librdkafka|msgspec|obstore|protoc|sha256|stderr|stdout|tus|uvicorn)\b|max\.message"
)
"""What is written in lower case, also where a sentence begins."""


def docstrings(module: Path) -> Iterator[tuple[int, str]]:
    """Those of a module, its classes and functions, and those of names, which stand below them."""
    for node in ast.walk(ast.parse((SRC / module).read_text())):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value.strip()


def test_a_docstring_names_its_subject() -> None:
    nameless = [
        f"{module}:{line}: {text.splitlines()[0]}"
        for module in MODULES
        for line, text in docstrings(module)
        if re.match(r"(It|That|Of|What|Those|Its)\b", text) or (text[:1].islower() and not NAMES.match(text))
    ]
    assert nameless == []


def modules_named(text: str) -> dict[str, set[str]]:
    """The words of the map by folder: its line begins with the folder's path, and the next ones if they are indented."""
    named: dict[str, set[str]] = {}
    folder = None
    for line in re.split(r"\n```\w*\n", text)[1].splitlines():
        if found := re.match(r"([a-z][a-z0-9_/]*)/(\s|$)", line):
            folder = found[1]
        elif not line.startswith("  "):
            folder = None
        if folder is not None:
            named.setdefault(folder, set()).update(re.findall(r"\w+", line.removeprefix(f"{folder}/")))
    return named


def test_the_architecture_names_every_module() -> None:
    named = modules_named((ROOT / "docs" / "architecture.md").read_text())
    missing = [
        str(module)
        for module in MODULES
        if module.stem not in named.get(str(module.parent) if module.parent.name else "inlake", set())
    ]
    assert missing == []
