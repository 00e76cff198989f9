"""A bar in a Jupyter notebook while a collection goes in: how much is done, how fast, what is not in."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from typing import Any

from inlake.client.collection import GOOD, Outcome
from inlake.client.files import Item, size_of

SECONDS = 0.2
"""Between two pictures of the bar."""


def watched(outcomes: Iterable[Outcome], items: Sequence[Item]) -> Iterator[Outcome]:
    """The outcomes as they come; `items`: all of which there will be one. In a notebook a bar is shown meanwhile, made
    of HTML alone, which stays as a sum; nothing is shown elsewhere."""
    if not _is_notebook():
        yield from outcomes
        return
    bar = _Bar(items)
    try:
        for outcome in outcomes:
            bar.advance(outcome)
            yield outcome
    finally:
        bar.show()


class _Bar:
    def __init__(self, items: Sequence[Item]) -> None:
        self._files, self._bytes = len(items), sum(map(size_of, items))
        self._done = self._done_bytes = self._bad = 0
        self._begun = self._shown = time.monotonic()
        self._handle: Any = None
        self.show()

    def advance(self, outcome: Outcome) -> None:
        self._done += 1
        self._done_bytes += size_of(outcome.item)
        self._bad += outcome.state not in GOOD
        if time.monotonic() > self._shown + SECONDS:
            self.show()

    def show(self) -> None:
        """The bar as it stands, in the place of what was shown before."""
        display = import_module("IPython.display").display  # it is there where there is a notebook
        self._shown = time.monotonic()
        said = self._said(self._shown - self._begun)
        share = self._done_bytes / self._bytes if self._bytes else self._done / (self._files or 1)
        html = f'<progress max="1" value="{share:.4f}" aria-label="Upload"></progress> {said}'
        picture = {"text/html": html, "text/plain": f"{share:4.0%} {said}"}
        if self._handle is None:
            self._handle = display(picture, raw=True, display_id=True)
        else:
            self._handle.update(picture, raw=True)

    def _said(self, seconds: float) -> str:
        bad = f", {self._bad:,} not in" if self._bad else ""
        rate = self._done_bytes / seconds if seconds else 0.0
        said = f"{self._done:,} of {self._files:,} files{bad}, {self._done_bytes / 1e6:,.1f} MB, {rate / 1e6:,.1f} MB/s"
        if self._done < self._files and rate:
            said += f", {(self._bytes - self._done_bytes) / rate:,.0f} s left"
        return said


def _is_notebook() -> bool:
    """Whether a Jupyter kernel runs this: the shell of a terminal has none."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None
