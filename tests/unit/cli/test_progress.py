"""Bars on a terminal: what is done at once is not drawn."""

from __future__ import annotations

import io
import time

from rich.console import Console
from rich.progress import TextColumn

from inlake.cli.progress import Following


def drawn(after: float) -> str:
    screen = Console(file=io.StringIO(), force_terminal=True, width=60)
    text = TextColumn("{task.description} {task.completed} {task.fields[said]}")
    with Following(text, how_far=lambda _: (3, "of 5"), console=screen, after=after) as bar:
        bar.add_task("Checking", total=5, said="")
        time.sleep(0.01)
        bar.refresh()
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


def test_what_takes_a_while_is_drawn_with_how_far_it_is() -> None:
    assert "Checking 3 of 5" in drawn(after=0)


def test_what_is_done_at_once_is_not_drawn() -> None:
    assert "Checking" not in drawn(after=60)
