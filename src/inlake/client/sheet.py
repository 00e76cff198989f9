"""A table on its way to a gateway as a stream of records, and its rows for what the gateway says of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from inlake.client.gateway import Answer
from inlake.client.tables import Fault, Plan, Row, Table

SUFFIXES = frozenset({".csv", ".tsv", ".tab", ".xlsx", ".xlsm", ".ods"})
"""The suffixes of files that are tables, not records."""


def is_table(name: str) -> bool:
    return Path(name.removesuffix(".gz")).suffix.lower() in SUFFIXES


class Sheet:
    """Lines of records, one for each row; a row that is wrong, or is in already, is a blank one."""

    def __init__(
        self,
        table: Table,
        plan: Plan,
        refuse: Callable[[Row, Sequence[Fault]], None],
        is_in: Callable[[bytes], bool] | None = None,
    ) -> None:
        """`refuse`: is told each row that is not sent, and why; `is_in`: whether a record went in by an earlier run;
        None where none did."""
        self._table, self._plan, self._refuse, self._is_in = table, plan, refuse, is_in
        self.in_already = 0
        """Rows that are not sent, since they are in."""
        self._rows: deque[Row] = deque()
        self.settled: int | None = None
        """Number of the last row that is settled."""
        self._first = 1
        """Line of the first row that is remembered."""

    def lines(self) -> Iterator[bytes]:
        """One line a row."""
        for row in self._table:
            converted = self._plan.convert(row)
            self._rows.append(row)
            text = converted.text
            if text is None:
                self._refuse(row, converted.faults)
            elif self._is_in and (self._is_in(text) or self._is_in(self._plan.former(row) or b"")):
                self.in_already, text = self.in_already + 1, None
            yield (text or b"") + b"\n"

    def settle(self, answer: Answer) -> None:
        """Put rows in the place of lines, and cells in that of pointers; then the rows are forgotten."""
        receipts = []
        for receipt in answer.receipts:
            row = self._rows[receipt["line"] - self._first]
            if 400 <= receipt["status"] < 500:
                self._refuse(row, [self._plan.fault(row, error) for error in receipt.get("errors") or [receipt]])
            else:
                receipts.append({**receipt, "row": row.number})
        answer.summary["rejected"] = 0  # told by `refuse`
        answer.receipts = receipts
        while self._rows and self._first <= answer.batch.last:
            self.settled = self._rows.popleft().number
            self._first += 1
