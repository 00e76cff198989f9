"""A table that is sent again: rows whose records are in already stay out, those that are new or mended go in."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator

from inlake.client.batches import Batch
from inlake.client.gateway import Address, Answer, Gateway
from inlake.client.journal import Journal
from inlake.client.problems import ClientError
from inlake.client.retries import leaves_nothing


class Repeats:
    """The journal's records of one table.

    Each record is known by its digest, as often as it went in: a table has no other name for a row that survives its
    being sorted, and a table may hold a record twice.
    """

    def __init__(self, journal: Journal, name: str) -> None:
        """`name`: of the table, as the journal knows it."""
        self._journal, self._name = journal, name
        self._known = Counter(journal.records(name))

    @property
    def is_empty(self) -> bool:
        """Whether nothing of the table is in, or may be."""
        return not self._journal.batches(self._name) and next(self._journal.records(self._name), None) is None

    @property
    def knows_some(self) -> bool:
        """Whether any record is in already."""
        return bool(self._known)

    def is_in(self, record: bytes) -> bool:
        """Whether the record is in already; the next one like it is another."""
        digest = _digest(record)
        if not self._known[digest]:
            return False
        self._known[digest] -= 1
        return True

    def ask(self, client: Gateway, to: Address, receipts: str) -> Iterator[Answer]:
        """Asks for the batches of which an earlier run did not learn what became: with their keys nothing is published
        twice. What is in is known then."""
        for run, first, body in self._journal.batches(self._name):
            yield from self._sent(client, to, Batch(first, body), run, receipts, in_doubt=True)
        self._known = Counter(self._journal.records(self._name))

    def send(self, client: Gateway, to: Address, batches: Iterable[Batch], receipts: str) -> Iterator[Answer]:
        """Sends batches one after the other, each written down before and after."""
        for batch in batches:
            if batch.body.strip():
                run = self._journal.begin(self._name, batch.first, batch.body)
                yield from self._sent(client, to, batch, run, receipts)
            else:
                yield Answer(batch)

    def _sent(
        self, client: Gateway, to: Address, batch: Batch, run: str, receipts: str, *, in_doubt: bool = False
    ) -> Iterator[Answer]:
        """A batch stays written down as long as what became of any of its lines is not known; `in_doubt`: an earlier
        run may have sent it."""
        accepted, failed = list[bytes](), 0
        try:
            for answer in client.send_batches(to, [batch], run=run, receipts=receipts):
                refused = {receipt["line"] for receipt in answer.receipts if receipt["status"] >= 400}
                lines = enumerate(answer.batch.body.split(b"\n"), answer.batch.first)
                accepted += [_digest(line) for number, line in lines if line and number not in refused]
                failed += answer.summary["failed"]
                yield answer
        except ClientError as error:
            if leaves_nothing(error) and not (failed or in_doubt):
                self._journal.confirm(self._name, run, accepted)
            raise
        if not failed:
            self._journal.confirm(self._name, run, accepted)


def _digest(record: bytes) -> bytes:
    return hashlib.sha256(record).digest()[:16]
