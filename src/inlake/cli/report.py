"""A report of sending for a person: progress, refused records with their reasons, and the sum."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.progress import Progress, ProgressColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from inlake.cli.failures import OK, REFUSED, UNAVAILABLE
from inlake.cli.records import named
from inlake.cli.terminal import as_json, messages, output, printable

SHOWN_RECORDS = 10
SHOWN_REASONS = 5
WORDS = ("accepted", "pending", "rejected", "failed")


class Report:
    """Receipts as they come: JSON lines for a program; for a person the first refused records and a table."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._sums: Counter[str] = Counter()
        self._refused = self._shown = 0
        self._faults: set[str] = set()
        self._console = output()

    @property
    def exit_code(self) -> int:
        return UNAVAILABLE if self._sums["failed"] else REFUSED if self._sums["rejected"] else OK

    def add(self, source: str, receipt: dict[str, Any]) -> None:
        """One line of the gateway's answer to NDJSON."""
        if "summary" in receipt:
            self._sums.update({word: receipt["summary"].get(word, 0) for word in WORDS})
        if self.as_json:
            sys.stdout.write(as_json(receipt) + "\n")
        elif receipt.get("status", 200) >= 400:
            self._refused += 1
            self._show_reject(f"{named(source)}, line {receipt.get('line', '?')}", receipt)

    def add_single(self, source: str, receipt: dict[str, Any]) -> None:
        """The whole answer to one record."""
        refused = receipt.get("status", 200) >= 400
        self._sums["rejected" if refused else "accepted"] += 1
        if self.as_json:
            sys.stdout.write(as_json(receipt) + "\n")
        elif refused:
            self._print_reject(named(source), receipt)
        else:
            self._console.print(as_json(receipt, indent=2))

    def close(self) -> None:
        """The sum, for a person."""
        if self.as_json:
            return
        hidden = self._refused - self._shown
        if hidden:
            self._console.print(f"... and {hidden:,} more; --json shows all.")
        shown = {word: self._sums[word] for word in WORDS if self._sums[word] or word in {"accepted", "rejected"}}
        self._console.print(sum_table(shown))

    def _show_reject(self, place: str, receipt: dict[str, Any]) -> None:
        """The first ones; a fault that is not the record's own (an unknown schema) once, not for every line."""
        located = any(error.get("pointer") for error in receipt.get("errors", []))
        fault = "" if located else str(receipt.get("detail", ""))
        if self._shown < SHOWN_RECORDS and fault not in self._faults:
            self._shown += 1
            self._faults |= {fault} - {""}
            self._print_reject(place, receipt)

    def _print_reject(self, place: str, receipt: dict[str, Any]) -> None:
        errors = receipt.get("errors") or []
        self._console.print(f"{place}: {receipt['status']} {receipt.get('code', '')}".rstrip())
        for error in errors[:SHOWN_REASONS]:
            pointer = f"{error['pointer']}: " if error.get("pointer") else ""
            self._console.print(printable(f"  {pointer}{error.get('detail', '')}"))
        if len(errors) > SHOWN_REASONS:
            self._console.print(f"  ... and {len(errors) - SHOWN_REASONS} more reasons")
        if not errors and receipt.get("detail"):
            self._console.print(printable(f"  {receipt['detail']}"))


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


def counted(source: str, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The blocks of lines as they are, with a counter while they are sent."""
    with progress() as bar:
        task = bar.add_task(named(source), total=None)
        records = 0
        for block in blocks:
            yield block
            records += block.count(b"\n")
            bar.update(task, description=f"{named(source)}  {records:,} records sent")
