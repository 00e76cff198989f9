"""A tally of an upload: progress while it runs, what is not in with its reasons, and the sums."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inlake.cli.failures import OK, REFUSED, UNAVAILABLE
from inlake.cli.terminal import as_json, note, printable, say, speed, sums_of
from inlake.client.collection import GOOD, STATES, Outcome
from inlake.client.files import Item, size_of
from inlake.client.ledger import Ledger
from inlake.client.tables.rejects import Rejects

SHOWN = 20
"""Files that are not in of which the reasons are printed."""


class Tally:
    """Outcomes as they come: a JSON line each for a program; for a person those that are not in, and a table."""

    def __init__(self, *, as_json: bool, rejects: Rejects | None = None) -> None:
        """`rejects`: where refused rows are written."""
        self.ledger: Ledger | None = None
        """Where receipts are written."""
        self.checked = 0
        """How many items were looked at."""
        self._as_json, self._rejects = as_json, rejects
        self._counts: Counter[str] = Counter()
        self._bytes = 0
        self._begun = time.monotonic()
        self._bad = 0
        self._done = 0
        """Bytes of the items told so far."""
        self._sent: Callable[[], int] = int
        self._looked = 0
        """How many items were looked at, of those that are being checked."""

    @property
    def wants_receipts(self) -> bool:
        """Whether anybody is told more of an item that is in than how many there are."""
        return self._as_json or self.ledger is not None

    @property
    def exit_code(self) -> int:
        if self._counts["failed"] or self._counts["not sent"]:
            return UNAVAILABLE
        return OK if set(self._counts) <= GOOD else REFUSED

    def add(self, outcome: Outcome) -> None:
        """Count it, write it down, and print it where it is not in."""
        item, state = outcome.item, outcome.state
        self._counts[state] += 1
        if state == "accepted" and outcome.sent:
            self._bytes += outcome.sent.size
        if outcome.sent and self.ledger:
            self.ledger.add(outcome.sent.receipt, row=item.row.number if item.row else None, file=item.name)
        if self._rejects and item.row and state in {"rejected", "wrong"}:
            self._rejects.write(item.row, outcome.faults)
        self._done += outcome.sent.size if outcome.sent else size_of(item) if state not in GOOD else 0
        if self._as_json:
            self._print_json(outcome)
        elif state not in GOOD:
            self._print_bad(outcome)

    @contextmanager
    def looking(self, what: str, total: int = 0) -> Iterator[None]:
        """One line on a terminal about what takes a while before anything is sent; the share that `counted` has seen
        of the `total`."""
        if not sys.stderr.isatty():
            yield
            return
        from inlake.cli.progress import SOON, following

        self._looked = 0
        with following(what, total, lambda _: (self._looked, ""), after=SOON):
            yield

    def counted(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, each counted as it is looked at."""
        for self._looked, item in enumerate(items, 1):
            yield item

    def watch(self, sent: Callable[[], int]) -> None:
        """`sent`: says how many bytes are in the store, before anything is told of their files."""
        self._sent = sent

    @contextmanager
    def progress(self, items: Sequence[Item]) -> Iterator[None]:
        """One line on a terminal: the share of the bytes, their rate, files not in, time left."""
        if not sys.stderr.isatty():
            yield
            return
        from inlake.cli.progress import following

        self._done = 0
        with following(f"{len(items):,} files", sum(map(size_of, items)), self._how_far):
            yield

    def _how_far(self, seconds: float) -> tuple[int, str]:
        """Bytes that are done after so many seconds, and what is said of them."""
        done = max(self._done, self._sent())
        bad = sum(count for name, count in self._counts.items() if name not in GOOD)
        return done, speed(done / (seconds or 1)) + (f" {bad:,} not in" if bad else "")

    def stop(self, journal: Path | None) -> None:
        """The sums of what was told until somebody stopped it, and how to go on; without a journal nothing is in."""
        if journal is None:
            note("Stopped. Nothing was sent.")
            return
        self.close(checked=False)
        note(printable(f"Stopped. {journal} knows what is in: the same command again sends the rest."))

    def close(self, *, checked: bool) -> None:
        """The sums; `checked`: nothing was sent."""
        counts = {"checked": self.checked} if checked else {}
        counts |= {state: self._counts[state] for state in STATES if self._counts[state]}
        seconds = time.monotonic() - self._begun
        if self._as_json:
            line = {"summary": {**counts, "bytes": self._bytes}, "complete": True}
            sys.stdout.write(as_json(line) + "\n")
            return
        if self._bad > SHOWN:
            say(f"... and {self._bad - SHOWN:,} more; --json shows all.")
        say(sums_of(counts or {"accepted": 0}))
        if self._bytes and seconds:
            note(f"{self._bytes:,} bytes in {seconds:,.1f} s, {speed(self._bytes / seconds)}")

    def _print_bad(self, outcome: Outcome) -> None:
        self._bad += 1
        if self._bad > SHOWN:
            return
        say(printable(outcome.item.name.replace("\n", "\\n")) + f": {outcome.state}")
        for fault in outcome.faults:
            say(printable(f"  {fault.sentence}"))

    def _print_json(self, outcome: Outcome) -> None:
        row = outcome.item.row
        line: dict[str, Any] = {"row": row and row.number, "file": outcome.item.name, "state": outcome.state}
        if outcome.sent:
            line["receipt"] = outcome.sent.receipt
        if outcome.faults:
            told = (fault._asdict() for fault in outcome.faults)
            line["faults"] = [{name: value for name, value in fault.items() if value} for fault in told]
        sys.stdout.write(as_json(line) + "\n")
