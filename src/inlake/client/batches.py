"""A stream of records cut into batches: each is one request, so that what is confirmed is known as it goes on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

BYTES = 4 << 20
"""A gateway takes 8 MiB with an Idempotency-Key (INLAKE_IDEMPOTENT_BYTES), and asks for memory by its size."""
LINES = 20_000
"""Their receipts are in memory at once."""


@dataclass(frozen=True)
class Batch:
    """Whole lines, blank ones too, that follow one another."""

    first: int
    """Number of the first line, from 1."""
    body: bytes

    @cached_property
    def last(self) -> int:
        """Number of the last line."""
        return self.first + self.body.count(b"\n") - 1

    def halves(self) -> list[Batch]:
        """The same lines in two batches; there is more than one line."""
        middle = (self.last - self.first + 1) // 2
        lines = self.body.split(b"\n", middle)
        head = self.body[: len(self.body) - len(lines[-1])]
        return [Batch(self.first, head), Batch(self.first + middle, lines[-1])]


def cut(blocks: Iterable[bytes], *, size: int = BYTES, lines: int = LINES, first: int = 1) -> Iterator[Batch]:
    """Batches of at most `size` bytes, but of one line at least, and `lines` lines.

    `blocks`: each one line or several whole ones, with or without the newline at its end; an empty one ends a batch.
    """
    waiting = bytearray()
    for block in chain(blocks, [b""]):
        waiting += block
        if block and not block.endswith(b"\n"):
            waiting += b"\n"
        while waiting and (len(waiting) >= size or not block):
            batch = Batch(first, bytes(waiting[: _end(waiting, size, lines)]))
            del waiting[: len(batch.body)]
            first = batch.last + 1
            yield batch


def _end(waiting: bytearray, size: int, lines: int) -> int:
    """The index behind the last item of the first batch."""
    end = waiting.rfind(b"\n", 0, size) + 1 or waiting.find(b"\n") + 1
    return _end_of(lines, waiting, end) if waiting.count(b"\n", 0, end) > lines else end


def _end_of(lines: int, waiting: bytearray, end: int) -> int:
    """The index behind so many lines, which end before `end`; found by halves, since to split them costs six times as
    much."""
    start = 0
    while end - start > 1:
        middle = (start + end) // 2
        before = waiting.count(b"\n", start, middle)
        if before < lines:
            start, lines = middle, lines - before
        else:
            end = middle
    return end
