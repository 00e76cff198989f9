"""A report of sending for a person: progress, refused records with their reasons, and the sum."""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from inlake.cli.failures import OK, REFUSED, UNAVAILABLE
from inlake.cli.terminal import as_json, note, printable, say, speed, sums_of
from inlake.client.gateway import Answer
from inlake.client.receipts import WORDS
from inlake.client.records import named

if TYPE_CHECKING:
    from inlake.cli.progress import Bar

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
        self.refused_by_gateway = False
        """Whether any record was, not only rows that make none."""
        self._begun = time.monotonic()
        self._many = False
        """Lines were sent, not one record."""
        self._earlier = 0
        """Records of earlier runs."""
        self._bytes = 0
        """Bytes of the binary of one record."""

    @property
    def exit_code(self) -> int:
        return UNAVAILABLE if self._sums["failed"] else REFUSED if self._sums["rejected"] else OK

    def add(self, source: str, answer: Answer) -> None:
        """The gateway's answer to a batch of lines of a source."""
        self._many = True
        self._sums.update(answer.summary)
        self.refused_by_gateway |= answer.summary["rejected"] > 0
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
            self._earlier += sum(summary.values())
            note(f"{named(source)}: lines 1 to {lines:,} are in already, by its journal.")

    def skip(self, source: str, rows: int, journal: Path) -> None:
        """Count the rows of a table that an earlier run sent, and say so."""
        if rows:
            self._many = True
            self._in_already += rows
            said = f"{rows:,} row{'s are' if rows > 1 else ' is'} in already, by its journal {journal}"
            note(printable(f"{named(source)}: {said}; delete that to send all of it again."))

    def cut_off(self, source: str, last: int, row: int | None = None, *, goes_on: bool = False) -> None:
        """Say what is in of a source that was not sent to its end; nothing where its first line is not.

        `row`: the last that is confirmed of a table, whose lines nobody sees; `goes_on`: a journal knows it too.
        """
        if not last:
            return
        what, done = ("row", row) if row else ("line", last)
        note(
            f"{named(source)}: {what}s {'up' if row else 1} to {done:,} are confirmed; what became of {what} "
            f"{done + 1:,} and some after it is not known, later ones were not sent. "
            f"To go on: {'start the same command again' if goes_on else _beginning(source, what, done + 1)}."
        )

    def stop(self, source: str, first: int, last: int) -> None:
        """Say that lines between these two failed, and that a journal goes on with them."""
        lines = f"some of lines {first:,} to {last:,}" if last > first else f"line {last:,}"
        note(f"{named(source)}: {lines} failed, later ones were not sent. To go on: start the same command again.")

    def add_single(self, source: str, receipt: dict[str, Any]) -> None:
        """The whole answer to one record."""
        refused = receipt.get("status", 200) >= 400
        self._sums["rejected" if refused else "accepted"] += 1
        self.refused_by_gateway |= refused
        self._bytes = (receipt.get("resource") or {}).get("size", 0)
        if self.as_json:
            sys.stdout.write(as_json(receipt) + "\n")
        elif refused:
            self._print_reject(named(source), receipt)
        else:
            say(as_json(receipt, indent=2))

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
            say(f"... and {hidden:,} more; --json shows all.")
        shown = {word: self._sums[word] for word in WORDS if self._sums[word] or word in {"accepted", "rejected"}}
        shown |= {IN_ALREADY: self._in_already} if self._in_already else {}
        say(sums_of(shown))
        if sys.stderr.isatty():
            seconds = time.monotonic() - self._begun
            rate = f", {(sum(self._sums.values()) - self._earlier) / seconds:,.0f} records/s" if self._many else ""
            rate = f", {speed(self._bytes / seconds)}" if self._bytes else rate
            note(f"in {seconds:,.1f} s{rate}")

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
        say(f"{place}: {receipt['status']} {receipt.get('code', '')}".rstrip())
        for error in errors[:SHOWN_REASONS]:
            pointer = f"{error['pointer']}: " if error.get("pointer") else ""
            say(printable(f"  {pointer}{explained(error)}"))
        if len(errors) > SHOWN_REASONS:
            say(f"  ... and {len(errors) - SHOWN_REASONS} more reasons")
        if not errors and receipt.get("detail"):
            say(printable(f"  {receipt['detail']}"))


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


class Unseen:
    """A bar that nobody sees: there is no terminal."""

    def watch(self, file: BinaryIO) -> BinaryIO:
        """The file itself."""
        return file

    def advance(self, confirmed: int, refused: int) -> None:
        """Nobody is told."""


@contextmanager
def watching(source: str, *, is_table: bool = False) -> Iterator[Bar | Unseen]:
    """A bar for a file while it is sent, on a terminal."""
    if not sys.stderr.isatty():
        yield Unseen()
        return
    from inlake.cli.progress import bar_of

    with bar_of(source, is_table=is_table) as bar:
        yield bar


def explained(error: Mapping[str, Any]) -> str:
    """The sentence of one reason, with what was found."""
    detail, got = str(error.get("detail", "")), error.get("got") or "nothing"
    return detail if got == "nothing" else f"{detail} Found {got}."
