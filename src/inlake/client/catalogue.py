"""A catalogue says which record belongs to which file: the rows of a table, or a sidecar beside each file."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from inlake.client.bag import Bag, is_bag
from inlake.client.collection import cannot_be_read, explain
from inlake.client.files import FILE_COLUMNS, Item, Placed, file_column, find_files, with_sidecars, with_table
from inlake.client.records import BrokenFile
from inlake.client.tables import Converted, Fault, JsonRows, Map, Plan, Row, Shape, Table, TableError
from inlake.client.template import Facts, Template


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
        self._shape, self._map = shape, map_ or Map()
        self._table = table
        self._plan: Plan | JsonRows | None = None
        self._facts: Facts | None = None
        if table and not table.columns:
            self._plan = JsonRows(shape, self._members(column))
        elif table:
            name = column or self._map.file or file_column([column.name for column in table.columns])
            self._facts = Facts(table, self._map)
            self._plan = Plan([*table.columns, *self._facts.columns], shape, self._map, file_column=name)

    def items(self, sources: Sequence[str], listed: Iterable[str] = (), *, but: Path | None = None) -> list[Item]:
        """All files below the sources, each with its record as far as it has one; `but`: the table, which is none of
        them; `listed`: see `find_files`. Of a bag the payload, held against its manifests. `BrokenFile`."""
        bags = {source: Bag(Path(source)) for source in sources if is_bag(Path(source))}
        files = find_files([source for source in sources if source not in bags], listed)
        for bag in bags.values():
            if fault := bag.check_size():
                raise BrokenFile(str(bag.folder), fault.detail)
            files |= bag.files()
        if but and but.suffix and but.exists():
            files = {name: path for name, path in files.items() if not (name.endswith(but.suffix) and _is(path, but))}
        about = {label: ", ".join(values) for bag in bags.values() for label, values in bag.info.items()}
        return [_of_bag(item, [*bags.values()]) for item in self._with_records(files, about)]

    def _members(self, column: str | None) -> Collection[str]:
        """The names of the member of a line that names its file. `TableError` for a map that places columns."""
        if self._map.columns or self._map.constants:
            detail = "Lines of JSON are records already: a map places no columns of theirs, and adds nothing."
            raise TableError([Fault("map_of_lines", detail, "Leave the map out.")])
        name = column or self._map.file
        return {name.lower()} if name else FILE_COLUMNS

    def _with_records(self, files: dict[str, Path], about: Mapping[str, str]) -> Iterator[Item]:
        if self._table is not None and self._plan is not None:
            return self._with_rows(files, files)
        if about or self._map.columns or self._map.constants:
            return Template(self._shape, self._map, about).items(files)
        return with_sidecars(files)

    def placed(self, objects: Mapping[str, Placed]) -> list[Item]:
        """Objects that are in the store already, by their names, each with its record. `TableError` without a table and
        a map."""
        if self._table is None or self._plan is None:
            if self._map.columns or self._map.constants:
                return list(Template(self._shape, self._map).items(objects))
            detail = "Nothing says what record belongs to each object."
            advice = "Name a table with --table, or a map of facts with --map."
            raise TableError([Fault("no_table", detail, advice)])
        found = self._with_rows({name: Path(name) for name in objects}, objects)
        return [item._replace(path=None, placed=objects.get(item.name)) if item.path else item for item in found]

    def _with_rows(self, files: dict[str, Path], there: Mapping[str, Path | Placed]) -> Iterator[Item]:
        """Each row with its file, and facts of that in its record; `there`: where the facts come from, by name."""
        plan, table, facts = self._plan, self._table, self._facts
        assert plan is not None
        assert table is not None

        def convert(row: Row, name: str | None) -> Converted:
            if row.faults or facts is None or not facts.columns:
                return _with_former(plan, row)
            if name is None:
                return Converted(row, None, None, ())  # without its file there are no facts
            try:
                return _with_former(plan, facts.beside(row, name, there[name]))
            except OSError as error:
                return Converted(row, None, name, (cannot_be_read(error)._replace(row=row.number),))

        return with_table(files, ((row, plan.file_of(row)) for row in table), convert)

    def explain(self, item: Item, error: Mapping[str, Any]) -> Fault:
        """One of the gateway's reasons against the record of an item."""
        fault = explain(item, error)
        if item.row and self._plan and error.get("pointer"):
            return self._plan.fault(item.row, error)
        return fault._replace(row=item.row.number if item.row else None)


def _with_former(plan: Plan | JsonRows, row: Row) -> Converted:
    converted = plan.convert(row)
    return converted._replace(former=plan.former(row)) if isinstance(plan, Plan) else converted


def _of_bag(item: Item, bags: Sequence[Bag]) -> Item:
    """An item with what the manifests of its bag say against it."""
    for bag in bags:
        if item.path and not item.faults and item.path.is_relative_to(bag.folder / "data"):
            faults = bag.check(item.path.relative_to(bag.folder).as_posix())
            return item._replace(faults=faults, record=None if faults else item.record)
    return item


def _is(path: Path, other: Path) -> bool:
    """Whether both are one file; a table is called the same where it is found again, or is a link to it."""
    return path.suffix == other.suffix and path.exists() and path.samefile(other)
