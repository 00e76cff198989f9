"""From a row to a record: where each cell goes, and what it becomes there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from inlake.client.tables.faults import Fault
from inlake.client.tables.mapping import Map
from inlake.client.tables.row import Column, Row
from inlake.client.tables.shape import Shape


class Converted(NamedTuple):
    """A row as a record."""

    row: Row
    text: bytes | None
    """The record as one line of JSON, without the newline; None when there are faults."""
    file: str | None
    """What stands in the file column; None when it is empty or there is none."""
    faults: tuple[Fault, ...]


class Plan:
    """Columns, schema and map put together once; then `convert` takes row after row."""

    def __init__(
        self,
        columns: Sequence[Column],
        shape: Shape,
        map_: Map | None = None,
        *,
        file_column: str | None = None,
        resource_field: str = "__resource_path__",
    ) -> None:
        """`file_column` comes before the map's. `TableError` with every column that has no place, and every required
        field that nothing fills but `resource_field`, which the gateway fills."""
        raise NotImplementedError

    def convert(self, row: Row) -> Converted:
        """The row as a record, or all that is wrong in it."""
        raise NotImplementedError

    def fault(self, row: Row, error: Mapping[str, Any]) -> Fault:
        """An entry of a gateway's `errors` (pointer, code, detail) as a fault of the cell that it comes from."""
        raise NotImplementedError
