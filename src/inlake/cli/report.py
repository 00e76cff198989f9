"""A report of sending for a person: progress, refused records with their reasons, and the sum."""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from inlake.cli.failures import OK, REFUSED, UNAVAILABLE
from inlake.cli.terminal import as_json, bar_width, messages, output, printable, shown, speed
from inlake.client.gateway import Answer
from inlake.client.receipts import WORDS
from inlake.client.records import STDIN, named

SHOWN_RECORDS = 10
SHOWN_REASONS = 5
IN_ALREADY = "in already"
"""The word for rows that an earlier run sent."""


class Report:
    """Receipts as they come: JSON lines for a program; for a person the first refused records and a table."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._sums: Counter[str] = Counter()
        self._refused = self._shown = self._in_already = 0
        self._faults: set[str] = set()
        self._begun = time.monotonic()
        self._many = False
        """Lines were sent, not one record."""
        self._bytes = 0
        """Bytes of the binary of one record."""

    @property
    def exit_code(self) -> int:
        return UNAVAILABLE if self._sums["failed"] else REFUSED if self._sums["rejected"] else OK

    def add(self, source: str, answer: Answer) -> None:
        """The gateway's answer to a batch of lines of a source."""
        self._many = True
        self._sums.update(answer.summary)
        for receipt in answer.receipts:
            self._show(source, receipt)

    def refuse(self, source: str, reject: dict[str, Any]) -> None:
        """A row that makes no record: nothing of it was sent."""
        self._many = True
        self._sums["rejected"] += 1
        self._show(source, reject)

    def go_on(self, source: str, lines: int, summary: Mapping[str, int]) -> None:
        """Count what an earlier run sent of a source, and say so."""
        if lines:
            self._many = True
            self._sums.update(summary)
            messages().print(f"{named(source)}: lines 1 to {lines:,} are in already, by its journal.")

    def skip(self, source: str, rows: int, journal: Path) -> None:
        """Count the rows of a table that an earlier run sent, and say so."""
        if rows:
            self._many = True
            self._in_already += rows
            said = f"{rows:,} row{'s are' if rows > 1 else ' is'} in already, by its journal {journal}"
            messages().print(printable(f"{named(source)}: {said}; delete that to send all of it again."))

    def cut_off(self, source: str, last: int, row: int | None = None, *, goes_on: bool = False) -> None:
        """Say what is in of a source that was not sent to its end; nothing where its first line is not.

        `row`: the last that is confirmed of a table, whose lines nobody sees; `goes_on`: a journal knows it too.
        """
        if not last:
            return
        what, done = ("row", row) if row else ("line", last)
        messages().print(
            f"{named(source)}: {what}s {'up' if row else 1} to {done:,} are confirmed; what became of {what} "
            f"{done + 1:,} and some after it is not known, later ones were not sent. "
            f"To go on: {'start the same command again' if goes_on else _beginning(source, what, done + 1)}."
        )

    def add_single(self, source: str, receipt: dict[str, Any]) -> None:
        """The whole answer to one record."""
        refused = receipt.get("status", 200) >= 400
        self._sums["rejected" if refused else "accepted"] += 1
        self._bytes = (receipt.get("resource") or {}).get("size", 0)
        if self.as_json:
            sys.stdout.write(as_json(receipt) + "\n")
        elif refused:
            self._print_reject(named(source), receipt)
        else:
            output().print(as_json(receipt, indent=2))

    def close(self) -> None:
        """The sum, with time and rate for a person."""
        if self.as_json:
            if self._many:
                sums = {word: self._sums[word] for word in WORDS}
                sums |= {IN_ALREADY: self._in_already} if self._in_already else {}
                sys.stdout.write(as_json({"summary": sums, "complete": True}) + "\n")
            return
        hidden = self._refused - self._shown
        if hidden:
            output().print(f"... and {hidden:,} more; --json shows all.")
        shown = {word: self._sums[word] for word in WORDS if self._sums[word] or word in {"accepted", "rejected"}}
        shown |= {IN_ALREADY: self._in_already} if self._in_already else {}
        output().print(sum_table(shown))
        if messages().is_terminal:
            seconds = time.monotonic() - self._begun
            rate = f", {sum(self._sums.values()) / seconds:,.0f} records/s" if self._many else ""
            rate = f", {speed(self._bytes / seconds)}" if self._bytes else rate
            messages().print(f"in {seconds:,.1f} s{rate}")

    def _show(self, source: str, receipt: dict[str, Any]) -> None:
        if self.as_json:
            sys.stdout.write(as_json(receipt) + "\n")
        elif receipt["status"] >= 400:
            self._refused += 1
            place = f"row {receipt['row']}" if "row" in receipt else f"line {receipt['line']}"
            self._show_reject(f"{named(source)}, {place}", receipt)

    def _show_reject(self, place: str, receipt: dict[str, Any]) -> None:
        """The first ones; a fault that is not the record's own (an unknown schema) once, not for every line."""
        located = "row" in receipt or any(error.get("pointer") for error in receipt.get("errors", []))
        fault = "" if located else str(receipt.get("detail", ""))
        if self._shown < SHOWN_RECORDS and fault not in self._faults:
            self._shown += 1
            self._faults |= {fault} - {""}
            self._print_reject(place, receipt)

    def _print_reject(self, place: str, receipt: dict[str, Any]) -> None:
        errors = receipt.get("errors") or []
        output().print(f"{place}: {receipt['status']} {receipt.get('code', '')}".rstrip())
        for error in errors[:SHOWN_REASONS]:
            pointer = f"{error['pointer']}: " if error.get("pointer") else ""
            output().print(printable(f"  {pointer}{explained(error)}"))
        if len(errors) > SHOWN_REASONS:
            output().print(f"  ... and {len(errors) - SHOWN_REASONS} more reasons")
        if not errors and receipt.get("detail"):
            output().print(printable(f"  {receipt['detail']}"))


def _beginning(source: str, what: str, first: int) -> str:
    """How to send a source from a line or a row on."""
    if what == "row":
        return "send a copy of the table without these rows, its header in front"
    suffixes = [suffix.lower() for suffix in Path(source).suffixes[-2:]]
    if ".json" in suffixes:
        return f"begin with record {first:,} (each is a line here)"
    tail = f"tail -n +{first}"
    command = f"gunzip -c {shlex.quote(named(source))} | {tail}" if suffixes[-1:] == [".gz"] else tail
    return f"begin with line {first:,} ({command})"


def sum_table(sums: Mapping[str, int]) -> Table:
    """Words with their numbers below one another."""
    table = Table.grid(Column(), Column(justify="right"), padding=(0, 2))
    for word, number in sums.items():
        table.add_row(word, f"{number:,}")
    return table


def progress(*more: ProgressColumn, quiet: bool = False) -> Progress:
    """A bar that says on a terminal how far reading is and for how long; it shows nothing elsewhere, or if `quiet`."""
    console = messages()
    columns = SpinnerColumn(), TextColumn("{task.description}"), *more, TimeElapsedColumn()
    return Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)


class Rate(ProgressColumn):
    """How fast a file is read; with lines in it, what is confirmed of them."""

    def render(self, task: Task) -> Text:
        said = task.fields["said"] or (speed(task.completed / (task.elapsed or 1)) if task.completed else "")
        return Text(said)


class Bar:
    """The bar of one file: the share that is read, what is confirmed, and the time left; nothing where no one looks."""

    def __init__(self, progress: Progress, source: str, *, is_table: bool) -> None:
        """`is_table`: nobody sees how far it is read."""
        self._progress = progress
        path = Path(source)
        size = 0 if is_table else path.stat().st_size if source != STDIN and path.is_file() else 0
        self._task = progress.add_task(named(path.name), total=size or None, said="")
        self._confirmed = self._refused = 0

    def watch(self, file: BinaryIO) -> BinaryIO:
        """The file, of which each read is seen."""
        return file if self._progress.disable else self._progress.wrap_file(file, task_id=self._task)

    def advance(self, confirmed: int, refused: int) -> None:
        self._confirmed += confirmed
        self._refused += refused
        elapsed = self._progress.tasks[0].elapsed or 1
        bad = f", {self._refused:,} refused" if self._refused else ""
        said = f"{self._confirmed:,} records{bad}, {self._confirmed / elapsed:,.0f}/s"
        self._progress.update(self._task, said=said)


@contextmanager
def watching(source: str, *, is_table: bool = False) -> Iterator[Bar]:
    """A bar for a file while it is sent."""
    with shown(
        progress(
            BarColumn(bar_width(messages())),
            TaskProgressColumn(),
            Rate(),
            TimeRemainingColumn(),
        )
    ) as bars:
        yield Bar(bars, source, is_table=is_table)


def explained(error: Mapping[str, Any]) -> str:
    """The sentence of one reason, with what was found."""
    detail, got = str(error.get("detail", "")), error.get("got") or "nothing"
    return detail if got == "nothing" else f"{detail} Found {got}."
