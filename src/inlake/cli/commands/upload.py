"""`inlake upload`: a folder of files with a table, or with a record beside each, to a gateway."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inlake.cli.failures import Failure
from inlake.cli.files import Check, JournalFile, MapFile, ReceiptsFile, RejectsFile
from inlake.cli.gateway import Destination, MessageName, Retry, Schema, Token, Url, Version, connect
from inlake.cli.table import Delimiter, Encoding, Header, SheetName, layout_of

if TYPE_CHECKING:
    from inlake.client import Client
    from inlake.client.files import Item
    from inlake.client.gateway import Address
    from inlake.client.tables import Fault, Layout, Plan, Shape, Table

JOBS = 8


def upload(
    schema: Schema,
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE", help="Folders, files, patterns; - is a list on stdin.")
    ],
    url: Url = None,
    token: Token = None,
    table: Annotated[
        str | None, typer.Option(metavar="FILE", help="CSV, TSV, XLSX or ODS with a row for each file.")
    ] = None,
    file_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column that names the file; known by its name if not given.")
    ] = None,
    map_: MapFile = None,
    check: Check = False,
    receipts: ReceiptsFile = None,
    rejects: RejectsFile = None,
    journal: JournalFile = None,
    destination: Destination = None,
    version: Version = None,
    message: MessageName = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    header: Header = None,
    sheet: SheetName = None,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Files on their way at once.")] = JOBS,
    retry: Retry = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each file.")] = False,
) -> None:
    """Send files to a gateway, each with its record: a row of the table, or FILE.json beside it.

    All is checked before a file is sent; what is wrong is named, and the rest goes in. A journal beside the source
    knows what is in: the same command again sends what is missing, and nothing twice.

    Exit code: 0 all is in; 1 some is not; 2 the command, the table or a source is wrong; 3 the gateway cannot be
    reached or failed, and the same command again goes on.
    """
    from inlake.client.gateway import Address

    given = Given(table, file_column, map_, layout_of(encoding, delimiter, header, sheet), rejects)
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(url, token, retry=retry)) for _ in range(jobs)]
        run = Upload(clients, Address(schema, destination, version, message), given, stack, as_json)
        run.check(sources)
        if not check:
            run.send(journal or _journal_of(sources), receipts)
        run.tally.close(checked=check)
    raise typer.Exit(run.tally.exit_code)


@dataclass(frozen=True, slots=True)
class Given:
    """What the options say about the table."""

    table: str | None
    file_column: str | None
    map: Path | None
    layout: Layout
    rejects: Path | None


class Upload:
    """One run of the command; what it opens is closed by `stack`."""

    def __init__(self, clients: list[Client], to: Address, given: Given, stack: ExitStack, as_json: bool) -> None:
        from inlake.cli.tally import Tally
        from inlake.client.tables import read_shape

        self._clients, self._to, self._given, self._stack = clients, to, given, stack
        shape = read_shape(clients[0].schema(to.schema, to.version, to.message))
        if not shape.resource_field:
            raise Failure(f"{to.schema} has no field for the address of a binary: `inlake send` takes records alone.")
        self._field = shape.resource_field
        self._table: Table | None = None
        self._plan: Plan | None = None
        if given.table:
            self._table, self._plan = self._opened(shape)
        rejects = None
        if given.rejects and self._table:
            from inlake.client.tables.rejects import Rejects

            rejects = stack.enter_context(Rejects(given.rejects, self._table.layout, self._table.header))
        self.tally = Tally(as_json=as_json, rejects=rejects)
        self._good: list[Item] = []

    def check(self, sources: list[str]) -> None:
        """Find all files with their records, and tell those that cannot go in."""
        from inlake.client.collection import check

        items = self._items(sources)
        bad = set()
        for outcome in check(self._clients[0], self._to, items, self._field, self._explained):
            bad.add(id(outcome.item))
            self.tally.add(outcome)
        self._good = [item for item in items if id(item) not in bad]
        self.tally.checked = len(items)

    def send(self, journal: Path, receipts: Path | None) -> None:
        """Send those that can."""
        from inlake.client.collection import send
        from inlake.client.journal import Journal
        from inlake.client.ledger import Ledger

        known = self._stack.enter_context(Journal(journal, json.dumps([self._clients[0].url, *astuple(self._to)])))
        if receipts:
            self.tally.ledger = self._stack.enter_context(Ledger(receipts))
        with self.tally.progress(self._good):
            for outcome in send(self._clients, self._to, self._good, known, self._explained):
                self.tally.add(outcome)

    def _opened(self, shape: Shape) -> tuple[Table, Plan]:
        from inlake.cli.table import opened, require_columns
        from inlake.client.files import file_column
        from inlake.client.tables import Map, Plan, read_map

        assert self._given.table
        map_ = read_map(self._given.map) if self._given.map else Map()
        table = self._stack.enter_context(opened(self._given.table, self._given.layout, map_))
        require_columns(table)
        column = self._given.file_column or map_.file or file_column([column.name for column in table.columns])
        return table, Plan(table.columns, shape, map_, file_column=column)

    def _items(self, sources: list[str]) -> list[Item]:
        from inlake.client.files import find_files, with_sidecars, with_table

        files = find_files(sources, sys.stdin.read().splitlines() if "-" in sources else ())
        if self._table is None or self._plan is None:
            return list(with_sidecars(files))
        whole = Path(self._given.table or "").resolve()
        others = {name: path for name, path in files.items() if path.resolve() != whole}
        return list(with_table(others, map(self._plan.convert, self._table)))

    def _explained(self, item: Item, error: Mapping[str, Any]) -> Fault:
        from inlake.client.collection import explain

        fault = explain(item, error)
        if item.row and self._plan and error.get("pointer"):
            return self._plan.fault(item.row, error)
        return fault._replace(row=item.row.number if item.row else None)


def _journal_of(sources: list[str]) -> Path:
    from inlake.client.journal import beside

    return beside(Path(sources[0] if sources[0] != "-" else "stdin"))
