"""Runs a page of the docs as its reader would: files are written, commands run, and what they print is compared.

In a page, a code block below a line that ends with "`NAME`:" is a file. In a `console` block a line that begins with
`$ ` is a command (it goes on after a `\\` at its end), the lines below it are what it prints: `…` stands for any text, a
line of nothing else for any lines, and no lines at all for anything. `inlake serve` runs until the next one, or the end.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.command import EXAMPLES, environment, serving

ROOT = EXAMPLES.parent
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"`([\w.-]+)`:\n\n?$")
_ADDRESS = "http://127.0.0.1:8000"
SERVE = "inlake serve"


@dataclass(frozen=True, slots=True)
class File:
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    line: str
    printed: str
    """What the page shows below it; empty if nothing."""


def steps(page: str) -> list[File | Command]:
    """What a reader of the page does, in order."""
    found: list[File | Command] = []
    for block in _FENCE.finditer(page):
        name = _FILE.search(page[: block.start()])
        if name:
            found.append(File(name[1], block[2]))
        elif block[1] == "console":
            found += _commands(block[2])
    return found


def _commands(block: str) -> Iterator[Command]:
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        found = re.match(r"((?:[^\n]*\\\n)*[^\n]*)\n?(.*)", part, re.DOTALL)
        assert found
        yield Command(found[1], found[2])


class Reader:
    """Somebody in a folder that looks like a checkout after `make setup`; their gateway has a port of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "examples").symlink_to(EXAMPLES)
        (folder / ".venv").symlink_to(sys.prefix)
        self._gateway = contextlib.ExitStack()
        self._url = ""

    def follow(self, page: str) -> None:
        """Do all that the page says. A page that starts no gateway wants one to run already."""
        todo = steps(page)
        with self._gateway:
            if not any(isinstance(step, Command) and step.line.endswith(SERVE) for step in todo):
                self._serve(Command(SERVE, ""))
            for step in todo:
                self._do(step)

    def _do(self, step: File | Command) -> None:
        if isinstance(step, File):
            (self._folder / step.name).write_text(step.text.replace(_ADDRESS, self._url))
        elif step.line.endswith(SERVE):
            self._serve(step)
        else:
            self._run(self._here(step))

    def _here(self, command: Command) -> Command:
        return Command(command.line.replace(_ADDRESS, self._url), command.printed.replace(_ADDRESS, self._url))

    def _serve(self, command: Command) -> None:
        self._gateway.close()
        self._url = self._gateway.enter_context(serving(self._folder)).url
        log = self._folder / "gateway.log"
        assert matches(self._here(command).printed, log.read_text()), log.read_text()

    def _run(self, command: Command) -> None:
        env = environment(INLAKE_URL=self._url)
        env["PATH"] = f"{self._folder}/.venv/bin:{env['PATH']}"
        done = subprocess.run(
            ["bash", "-c", command.line], cwd=self._folder, env=env, capture_output=True, text=True, timeout=60
        )
        printed = done.stdout + done.stderr
        assert matches(command.printed, printed), f"$ {command.line}\n{printed}"
        assert done.returncode == 0 or command.printed, f"$ {command.line}\n{printed}"


def matches(shown: str, printed: str) -> bool:
    """Whether a program printed what a page shows. Blank lines and space at the ends of lines do not count."""
    if not shown.strip():
        return True
    lines = filter(None, map(str.strip, shown.splitlines()))
    patterns = [r"(.*\n)*?" if line == "…" else ".*".join(map(re.escape, line.split("…"))) + r"\n" for line in lines]
    text = "".join(line.strip() + "\n" for line in printed.splitlines() if line.strip())
    return re.fullmatch("".join(patterns), text) is not None
