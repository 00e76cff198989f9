"""Rejects in a SQLite file, which all processes of a machine may share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from inlake.rejects.reject import Cause, Cursor, Mark, Reject, Wanted
from inlake.rejects.sqlite.table import Table


class SqliteRejects:
    """Adapter of `RejectLog` for a file. What blocks does so in a thread."""

    def __init__(self, path: Path, *, seconds: float, most_bytes: int) -> None:
        """`path`: made with its folder at first use; `seconds`, `most_bytes`: as `Table` has them."""
        self._table = Table(path, seconds=seconds, most_bytes=most_bytes)

    def begin(self) -> None:
        """See `RejectLog.begin`: the file answers without."""

    @property
    def dropped(self) -> int:
        """See `RejectLog.dropped`."""
        return self._table.dropped

    async def add(self, rejects: Sequence[Reject]) -> Sequence[Reject]:
        """See `RejectLog.add`: all or none."""
        await self._table.run(self._table.add, rejects)
        return rejects

    async def mend(self, mark: Mark) -> None:
        """See `RejectLog.mend`."""
        await self._table.run(self._table.mend, mark)

    async def find(self, reject_id: str) -> Reject | None:
        """See `RejectLog.find`."""
        return await self._table.run(self._table.find, reject_id)

    async def page(self, wanted: Wanted, limit: int, after: Cursor | None) -> Sequence[Reject]:
        """See `RejectLog.page`."""
        return await self._table.run(self._table.page, wanted, limit, after)

    async def causes(self, wanted: Wanted) -> Sequence[Cause]:
        """See `RejectLog.causes`."""
        return await self._table.run(self._table.causes, wanted)

    async def close(self) -> None:
        """Let go of the file."""
        await self._table.end()
