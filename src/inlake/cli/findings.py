"""The findings of `inlake check`: a table, JSON lines or annotations of GitHub Actions, and the sum."""

from __future__ import annotations

import sys
from typing import Any, Literal

from rich.table import Column, Table
from rich.text import Text

from inlake.cli.failures import OK, REFUSED
from inlake.cli.report import explained
from inlake.cli.terminal import as_json, output, printable, sums_of
from inlake.client.records import STDIN, named
from inlake.errors import InlakeError, RecordRejected

Form = Literal["table", "json", "github"]
SHOWN = 1_000
"""Errors in a table if no other number is asked for."""


class Findings:
    """Counts all, prints errors up to a number: JSON lines and annotations as they come, the table at the end."""

    def __init__(self, form: Form, most: int | None) -> None:
        self.form = form
        self.accepted = self.rejected = self.broken = 0
        self._left = most if most is not None else SHOWN if form == "table" else sys.maxsize
        self._hidden = 0
        columns = (Column(name, overflow="fold") for name in ("where", "pointer", "code", "detail"))
        self._table = Table(*columns, box=None, pad_edge=False)

    @property
    def exit_code(self) -> int:
        return REFUSED if self.rejected or self.broken else OK

    def refuse(self, source: str, line: int, error: InlakeError) -> None:
        """A record that does not fit; `line` is where it begins."""
        self.rejected += 1
        self._add(source, line, {"status": error.status, "code": error.code, "detail": error.detail}, _reasons(error))

    def unreadable(self, source: str, line: int | None, detail: str) -> None:
        """A file that cannot be read to its end, or has nothing in it."""
        self.broken += 1
        fault = {"code": "unreadable", "detail": detail}
        self._add(source, line, fault, [{"pointer": "", **fault}])

    def close(self) -> None:
        """Print what is left to print."""
        sums = {"accepted": self.accepted, "rejected": self.rejected}
        if self.broken:
            sums["unreadable"] = self.broken
        if self.form == "json":
            _write(as_json({"summary": sums, "complete": True}))
            return
        console = output()
        if self._table.row_count:
            console.print(self._table)
        if self._hidden:
            console.print(f"... and {self._hidden:,} more errors; --max-errors shows more.")
        console.print(sums_of(sums))

    def _add(self, source: str, line: int | None, fault: dict[str, Any], reasons: list[dict[str, str]]) -> None:
        shown = reasons[: self._left]
        self._left -= len(shown)
        self._hidden += len(reasons) - len(shown)
        if self.form == "table":
            where = named(source) + (f":{line}" if line else "")
            for reason in shown:
                cells = (where, reason["pointer"], reason["code"], explained(reason))
                self._table.add_row(*(Text(printable(cell)) for cell in cells))
        elif self.form == "github":
            for reason in shown:
                _write(_annotation(source, line, reason))
        elif shown:
            _write(as_json({"file": named(source), "line": line, **fault, "errors": shown}))


def _reasons(error: InlakeError) -> list[dict[str, str]]:
    if isinstance(error, RecordRejected):
        return [reason._asdict() for reason in error.errors]
    return [{"pointer": "", "code": error.code, "detail": error.detail}]


def _annotation(source: str, line: int | None, reason: dict[str, str]) -> str:
    """A workflow command: https://docs.github.com/actions/reference/workflow-commands-for-github-actions"""
    properties = {"title": reason["code"]}
    if line:
        properties = {"line": str(line), **properties}
    if source != STDIN:
        properties = {"file": source, **properties}
    listed = ",".join(f"{name}={_escaped(value, ',:')}" for name, value in properties.items())
    text = explained(reason)
    if reason["pointer"]:
        text = f"{reason['pointer']}: {text}"
    return f"::error {listed}::{_escaped(printable(text))}"


def _escaped(text: str, more: str = "") -> str:
    return "".join(f"%{ord(c):02X}" if c in "%\r\n" + more else c for c in text)


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
