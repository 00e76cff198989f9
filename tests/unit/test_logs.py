"""Log lines of requests: written together, in their order, and never overtaken."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Iterator

import pytest

from inlake.logs import MANY, SECONDS, Lines, configure


async def test_the_lines_of_requests_look_like_all_others(capsys: pytest.CaptureFixture[str]) -> None:
    for form in ("text", "json"):
        lines = Lines(form, "inlake.web")
        lines.add("POST /a 201 1.0 ms x-1 anonymous")
        lines.add("POST /b 201 1.0 ms x-2 anonymous")
        lines.flush()
    text, _, one, other = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO    POST /a 201 1\.0 ms x-1 anonymous", text)
    assert json.loads(one)["message"] == "POST /a 201 1.0 ms x-1 anonymous"
    assert json.loads(other).keys() == {"time", "level", "logger", "message"}


@pytest.fixture
def configured(capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    """stderr, with the logging of a gateway."""
    root = logging.getLogger()
    before, level = root.handlers[:], logging.getLogger("inlake").level
    configure("text", "info")
    yield capsys
    root.handlers[:] = before
    logging.getLogger("inlake").setLevel(level)


async def test_lines_of_requests_wait_for_each_other_and_no_other_line_overtakes_them(
    configured: pytest.CaptureFixture[str],
) -> None:
    lines = Lines("text", "inlake.web")
    lines.add("one")
    lines.add("two")
    assert configured.readouterr().err == ""
    logging.getLogger("inlake.web").warning("three")
    lines.add("four")
    assert [line.split()[-1] for line in configured.readouterr().err.splitlines()] == ["one", "two", "three"]
    await asyncio.sleep(2 * SECONDS)
    assert configured.readouterr().err.endswith("four\n")


async def test_many_lines_do_not_wait(configured: pytest.CaptureFixture[str]) -> None:
    lines = Lines("text", "inlake.web")
    for number in range(MANY):
        lines.add(str(number))
    await asyncio.sleep(0)
    assert configured.readouterr().err.count("\n") == MANY
    lines.add(str(MANY))
    logging.getLogger().handlers[0].flush()  # as `logging.shutdown` does it
    assert configured.readouterr().err.endswith(f"{MANY}\n")


def test_lines_are_wanted_by_the_level_of_their_logger() -> None:
    logger = logging.getLogger("inlake.test_lines")
    for level in (logging.INFO, logging.WARNING):
        logger.setLevel(level)
        assert Lines("text", logger.name).are_wanted() is (level == logging.INFO)
