"""The bar of a command on a terminal: how far reading is, for how long, and what is confirmed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from rich.console import Console, RenderableType
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
from rich.text import Text

from inlake.cli.terminal import bar_width, messages, shown, speed
from inlake.client.records import STDIN, named


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
    """The bar of one file: the share that is read, what is confirmed, and the time left."""

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
def bar_of(source: str, *, is_table: bool) -> Iterator[Bar]:
    """A bar for a file while it is sent."""
    columns = BarColumn(bar_width(messages())), TaskProgressColumn(), Rate(), TimeRemainingColumn()
    with shown(progress(*columns)) as bars:
        yield Bar(bars, source, is_table=is_table)


SOON = 0.5
"""Seconds that something takes of which nothing need be shown."""


class Following(Progress):
    """A bar that asks how far it is whenever it is drawn: nothing is told it in between."""

    def __init__(
        self, *columns: ProgressColumn, how_far: Callable[[float], tuple[int, str]], console: Console, after: float
    ) -> None:
        """`after`: seconds until it is drawn."""
        self._how_far, self._after = how_far, after
        super().__init__(*columns, console=console, transient=True)

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.tasks and (self.tasks[0].elapsed or 0) < self._after:
            return []
        for task in self.tasks:
            done, said = self._how_far(task.elapsed or 0)
            self.update(task.id, completed=done, said=said)
        return super().get_renderables()


@contextmanager
def following(
    what: str, total: int, how_far: Callable[[float], tuple[int, str]], *, after: float = 0.0
) -> Iterator[None]:
    """A bar for what is on the way, once that has taken `after` seconds; `total`: 0 where nobody knows it.

    `how_far`: says after so many seconds how much is done, and what stands beside the bar.
    """
    console = messages()
    said = TextColumn("{task.fields[said]}")
    columns = TextColumn("{task.description}"), BarColumn(bar_width(console)), TaskProgressColumn(), said
    bar = Following(*columns, TimeRemainingColumn(), how_far=how_far, console=console, after=after)
    with shown(bar):
        bar.add_task(what, total=total or None, said="")
        yield
