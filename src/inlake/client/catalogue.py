"""What says which record belongs to which file of a collection: the rows of a table, or a sidecar beside each file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from inlake.client.collection import explain
from inlake.client.files import Item, Placed, file_column, find_files, with_sidecars, with_table
from inlake.client.tables import Fault, Map, Plan, Shape, Table, TableError


class Catalogue:
    """The items of a collection, and what the gateway says against their records in the words of the table."""

    def __init__(
        self, shape: Shape, table: Table | None = None, map_: Map | None = None, column: str | None = None
    ) -> None:
        """`column`: the one that names files; without it the map's, or one that is called so. `TableError` where rows
        cannot become records, or the schema has no field for the address of a binary."""
        if not shape.resource_field:
            detail = f"{shape.schema} has no field for the address of a binary."
            raise TableError([Fault("no_resource_field", detail, "`inlake send` takes records alone.")])
        self.field: str = shape.resource_field
        self._table, self._plan = table, None
        if table:
            map_ = map_ or Map()
            name = column or map_.file or file_column([column.name for column in table.columns])
            self._plan = Plan(table.columns, shape, map_, file_column=name)

    def items(self, sources: Sequence[str], listed: Iterable[str] = (), *, but: Path | None = None) -> list[Item]:
        """All files below the sources, each with its record as far as it has one; `but`: the table, which is none of
        them; `listed`: see `find_files`."""
        files = find_files(sources, listed)
        if self._table is None or self._plan is None:
            return list(with_sidecars(files))
        whole = but and but.resolve()
        others = {name: path for name, path in files.items() if path.resolve() != whole}
        return list(with_table(others, map(self._plan.convert, self._table)))

    def placed(self, objects: Mapping[str, Placed]) -> list[Item]:
        """Objects that are in the store already, by their names, each with its record. `TableError` without a table."""
        if self._table is None or self._plan is None:
            detail = "No table says what record belongs to each object."
            raise TableError([Fault("no_table", detail, "Name it with --table.")])
        rows = map(self._plan.convert, self._table)
        found = with_table({name: Path(name) for name in objects}, rows)
        return [item._replace(path=None, placed=objects.get(item.name)) if item.path else item for item in found]

    def explain(self, item: Item, error: Mapping[str, Any]) -> Fault:
        """One of the gateway's reasons against the record of an item."""
        fault = explain(item, error)
        if item.row and self._plan and error.get("pointer"):
            return self._plan.fault(item.row, error)
        return fault._replace(row=item.row.number if item.row else None)
