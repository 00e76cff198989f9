"""A file of records as a stream, and how far the journal says it is: what is missing is sent, with the same keys."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from inlake.client.batches import LINES, Batch, cut
from inlake.client.journal import Journal, JournalError, Position


class Resumed:
    """One file."""

    def __init__(self, journal: Journal, name: str) -> None:
        """`name`: of the file, as the journal knows it."""
        self._journal, self._name = journal, name
        self.position: Position = journal.position(name)
        self.goes_on = bool(self.position.lines or self.position.sending)
        """An earlier run sent some of it."""
        self.run = hashlib.sha256(f"{journal.run}\n{name}".encode()).hexdigest()[:32]
        """The beginning of the keys of its batches."""
        self.complete = True
        """No line failed so far."""
        self._digest = hashlib.sha256()
        self._summary: Counter[str] = Counter(self.position.summary or {})

    def batches(self, blocks: Iterable[bytes]) -> Iterator[Batch]:
        """The lines that are missing; first the batch that was on its way, as it was. A batch of which lines failed is
        the last: the next run could not tell where later ones ended. `JournalError` when the beginning, which is in
        already, is another now."""
        source = _Lines(blocks)
        at = self.position
        for count in _slices(at.lines):
            self._digest.update(source.take(count))
        if at.lines and (source.ended or self._digest.hexdigest() != at.sha256):
            raise JournalError(
                f"{self._name} changed in lines 1 to {at.lines:,}, which are in already: send what is new as a file of "
                f"its own, or delete the journal {self._journal.path} to send all of it."
            )
        underway = source.take((at.sending or at.lines) - at.lines)
        for batch in self._all(at, underway, source.rest()):
            self._journal.move(self._name, replace(self.position, sending=batch.last))
            yield batch
            if not self.complete:
                return

    def confirm(self, batch: Batch, summary: Mapping[str, int]) -> None:
        """A batch is in, which is written down with the next one; one of which lines failed is sent again the next
        time. `summary`: what the gateway counted."""
        self.complete = self.complete and not summary["failed"]
        if not self.complete:
            return
        self._digest.update(batch.body)
        self._summary.update(summary)
        self.position = Position(batch.last, self._digest.hexdigest(), None, dict(self._summary))

    def finish(self) -> None:
        """Write down how far it is."""
        if self.complete:
            self._journal.move(self._name, self.position)

    def _all(self, at: Position, underway: bytes, rest: Iterable[bytes]) -> Iterator[Batch]:
        first = at.lines + 1
        if underway:
            batch = Batch(first, underway)
            first = batch.last + 1
            yield batch
        yield from cut(rest, first=first)


class _Lines:
    """Blocks of whole lines, of which so many are taken as are asked for."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._held = b""
        self.ended = False
        """There were fewer lines than were asked for."""

    def take(self, count: int) -> bytes:
        """The next lines, or those that there are."""
        while self._held.count(b"\n") < count and not self.ended:
            block = next(self._blocks, None)
            self.ended = block is None
            if block:
                self._held += block if block.endswith(b"\n") else block + b"\n"
        after = self._held.split(b"\n", count)[-1] if count and not self.ended else b"" if count else self._held
        taken = self._held[: len(self._held) - len(after)]
        self._held = after
        return taken

    def rest(self) -> Iterator[bytes]:
        """The blocks that are left."""
        if self._held:
            yield self._held
        yield from self._blocks


def _slices(lines: int) -> Iterator[int]:
    """The number in parts, so that not all is in memory."""
    yield from [LINES] * (lines // LINES)
    if lines % LINES:
        yield lines % LINES
