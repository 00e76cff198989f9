"""One record from socket to Kafka: a real request enters the modules that docs/architecture.md walks through, in order."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from types import FrameType
from typing import Self

import pytest

import inlake
from tests.gateways import Gateway

SRC = Path(inlake.__file__).parent
ROOT = Path(__file__).parents[2]
SECTION = "## One record from socket to Kafka"
LINES = 1_100


def section() -> str:
    text = (ROOT / "docs" / "architecture.md").read_text()
    return text.partition(f"{SECTION}\n")[2].partition("\n## ")[0]


def named(text: str) -> list[str]:
    """Paths of modules in backticks, without `.py`; one that ends with a slash is a folder."""
    return [path for path in re.findall(r"`([a-z0-9_/]+)`", text) if is_there(path)]


def is_there(path: str) -> bool:
    return (SRC / path).is_dir() if path.endswith("/") else (SRC / f"{path}.py").exists()


def walk() -> list[str]:
    """The modules of the numbered list."""
    return [named(line)[0] for line in section().splitlines() if re.match(r"\d\. ", line)]


def behind_doors() -> list[str]:
    """The modules and folders that one need not open."""
    return named(section()[section().index("One need not open") :])


class Trace:
    """The modules of Inlake that are entered, in the order of their first function."""

    def __init__(self) -> None:
        self.entered: dict[str, None] = {}

    def __enter__(self) -> Self:
        self.before = sys.getprofile()
        sys.setprofile(self._note)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self.before)

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        name = frame.f_code.co_filename
        if event == "call" and name.startswith(f"{SRC}{os.sep}"):
            self.entered[str(Path(name).relative_to(SRC).with_suffix(""))] = None


def is_behind(module: str, doors: list[str]) -> bool:
    return any(module == door or (door.endswith("/") and module.startswith(door)) for door in doors)


async def test_a_request_enters_the_modules_of_the_walk_in_their_order_and_no_others(gateway: Gateway) -> None:
    record = b'{"title": "Snow Storm", "year": 1842, "tags": ["sea"]}'
    path = "/ingress/record-json?schema=note"
    assert (await gateway.post(path, record)).status == 201  # what is kept between requests is kept
    with Trace() as trace:
        assert (await gateway.post(path, record)).status == 201
    *seven, kafka = walk()
    assert kafka == "bus/kafka/bus"
    expected = [*seven, "bus/sqlite/bus"]  # Kafka's place, where no service is needed
    assert [module for module in trace.entered if module in expected] == expected
    doors = [*behind_doors(), "bus/sqlite/"]
    assert [module for module in trace.entered if module not in expected and not is_behind(module, doors)] == []


def test_the_walk_is_eight_files_that_one_reads_in_an_hour() -> None:
    files = [(SRC / module).with_suffix(".py") for module in walk()]
    assert len(files) == 8
    assert sum(len(file.read_text().splitlines()) for file in files) <= LINES


@pytest.mark.parametrize("module", ["model", "errors", "ports"])
def test_the_nouns_are_no_steps_of_the_walk(module: str) -> None:
    assert module in behind_doors()
