"""`inlake upload`: a folder of files with a table, or with a record beside each, to a gateway."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from inlake.cli.files import Check, JournalFile, MapFile, ReceiptsFile, RejectsFile, require_apart
from inlake.cli.gateway import (
    Destination,
    MessageName,
    Retry,
    Schema,
    Token,
    Url,
    Version,
    connect,
    require_order,
    suggesting,
)
from inlake.cli.table import Delimiter, Encoding, Header, SheetName, layout_of

if TYPE_CHECKING:
    from inlake.client import Client
    from inlake.client.collection import Outcome
    from inlake.client.files import Item
    from inlake.client.gateway import Address
    from inlake.client.journal import Journal
    from inlake.client.tables import Layout, Map, Table

JOBS = 32
Via = Literal["store", "gateway"] | None
ViaOption = Annotated[
    Via,
    typer.Option(help="Where the bytes go: straight to the store or through the gateway; found out if not given."),
]
FileColumn = Annotated[
    str | None, typer.Option(metavar="NAME", help="Column that names the file; known by its name if not given.")
]
InPlace = Annotated[
    bool,
    typer.Option("--in-place", help="Sources are URIs of what is in the gateway's store already: no copy is made."),
]


def upload(
    schema: Schema,
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE", help="Folders, files, patterns; - is a list on stdin.")
    ],
    url: Url = None,
    token: Token = None,
    table: Annotated[
        str | None, typer.Option(metavar="FILE", help="CSV, TSV, XLSX, ODS or NDJSON with a row for each file.")
    ] = None,
    in_place: InPlace = False,
    file_column: FileColumn = None,
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
    jobs: Annotated[int, typer.Option(min=1, max=256, help="Most files on their way at once.")] = JOBS,
    via: ViaOption = None,
    retry: Retry = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each file.")] = False,
) -> None:
    """Send files to a gateway, each with its record.

    The record is a row of the table, or FILE.json beside the file. All is checked first; what is wrong is named, and
    the rest goes in. A journal beside the source knows what is in: the same command again sends what is missing.

    Exit code: 0 all is in; 1 some is not; 2 the command, the table or a source is wrong; 3 the gateway cannot be
    reached or failed, and the same command again goes on.
    """
    from inlake.client.gateway import Address

    require_order("upload", schema, sources)
    require_apart({"--rejects": rejects, "--receipts": receipts}, [*sources, table, map_, journal])
    given = Given(table, file_column, map_, layout_of(encoding, delimiter, header, sheet), rejects, in_place)
    with connect(url, token, retry=retry) as client, ExitStack() as stack:
        run = Upload(client, Address(schema, destination, version, message), given, stack, as_json)
        with run.stoppable(only_look=check):
            run.check(sources, journal or _journal_of(sources, in_place=in_place), only_look=check)
            if not check:
                run.send(receipts, jobs, via)
            run.close(checked=check)
    raise typer.Exit(run.tally.exit_code)


@dataclass(frozen=True, slots=True)
class Given:
    """The options about the table."""

    table: str | None
    file_column: str | None
    map: Path | None
    layout: Layout
    rejects: Path | None
    in_place: bool


class Upload:
    """One run of the command; what it opens is closed by `stack`."""

    def __init__(self, client: Client, to: Address, given: Given, stack: ExitStack, as_json: bool) -> None:
        from inlake.cli.tally import Tally
        from inlake.client.catalogue import Catalogue
        from inlake.client.tables import Map, Rejects, read_map, read_shape

        self._client, self._to, self._given, self._stack = client, to, given, stack
        with suggesting(client, to.schema):
            shape = read_shape(client.schema(to.schema, to.version, to.message))
        map_ = read_map(given.map) if given.map else Map()
        table = self._opened(given.table, map_) if given.table else None
        self._catalogue = Catalogue(shape, table, map_, given.file_column)
        rejects = None
        if given.rejects and table:
            rejects = stack.enter_context(Rejects(given.rejects, table.layout, table.header))
        self.tally = Tally(as_json=as_json, rejects=rejects)
        self._good: list[Item] = []
        self._earlier: list[Item] = []
        """Items that are in as they are."""
        self._known: Journal | None = None

    def _open(self, journal: Path, *, only_look: bool) -> None:
        """Open the journal; one that is not there is made unless this run `only_look`s."""
        from inlake.client.collection import target
        from inlake.client.journal import Journal

        if not only_look or journal.exists():
            of = target(self._client, self._to, in_place=self._given.in_place)
            self._known = self._stack.enter_context(Journal(journal, of))

    def check(self, sources: list[str], journal: Path, *, only_look: bool) -> None:
        """Find all files with their records, and tell those that cannot go in; the journal knows those that are."""
        from inlake.client.collection import apart, check
        from inlake.client.in_place import find

        with self.tally.looking("Looking for files and their records"):
            if self._given.in_place:
                items = self._catalogue.placed(find(self._client, sources))
            else:
                listed = _listed(sys.stdin.buffer.read()) if "-" in sources else ()
                items = self._catalogue.items(sources, listed, but=Path(self._given.table or ""))
            self._open(journal, only_look=only_look)  # not before: a source that is not there has none
            self._earlier, others = apart(items, self._known.files() if self._known else ())
        bad = set()
        known = self._known.find if self._known else lambda _: None
        with self.tally.looking(f"Checking {len(others):,} files", len(others)):
            looked_at, explain = self.tally.counted(others), self._catalogue.explain
            for outcome in check(self._client, self._to, looked_at, self._catalogue.field, explain, known):
                bad.add(id(outcome.item))
                if outcome.state == "in already":
                    self._earlier.append(outcome.item)
                else:
                    self.tally.add(outcome)
        self._good = [item for item in others if id(item) not in bad]
        self.tally.checked = len(items)

    def send(self, receipts: Path | None, jobs: int, via: Via) -> None:
        """Send those that can."""
        from inlake.client.ledger import Ledger

        if receipts:
            self.tally.ledger = self._stack.enter_context(Ledger(receipts))
        with self.tally.progress(self._good):
            for outcome in self._outcomes(jobs, via):
                self.tally.add(outcome)

    @contextmanager
    def stoppable(self, *, only_look: bool) -> Iterator[None]:
        """Says what was done until somebody stopped it, in whatever phase."""
        try:
            yield
        except KeyboardInterrupt:
            self.tally.stop(self._known.path if self._known and not only_look else None)
            raise

    def close(self, *, checked: bool) -> None:
        """Count those that are in already too, which belong to the receipts, and print the sums."""
        from inlake.client.collection import Outcome

        find = self._known.find if self._known and self.tally.wants_receipts else lambda _: None
        for item in self._earlier:
            self.tally.add(Outcome(item, "in already", sent=find(item.entry)))
        self.tally.close(checked=checked)

    def _outcomes(self, jobs: int, via: Via) -> Iterator[Outcome]:
        from inlake.client import in_place
        from inlake.client.upload.engine import Engine, Options

        explain, known = self._catalogue.explain, self._known
        assert known is not None
        if self._given.in_place:
            return in_place.send(self._client, self._to, self._good, known, explain)
        options = Options(self._catalogue.field, jobs, direct=None if via is None else via == "store")
        engine = self._stack.enter_context(Engine(self._client, self._to, known, options, explain))
        self.tally.watch(lambda: engine.sent)
        return engine.send(self._good)

    def _opened(self, name: str, map_: Map) -> Table:
        from inlake.cli.table import opened

        return self._stack.enter_context(opened(name, self._given.layout, map_))


def _journal_of(sources: list[str], *, in_place: bool) -> Path:
    from inlake.client.in_place import journal_of
    from inlake.client.journal import beside

    if in_place:
        return journal_of(sources[0])
    return beside(Path(sources[0] if sources[0] != "-" else "stdin"))


def _listed(text: bytes) -> list[str]:
    """The names of a list: one a line, or, as `find -print0` writes them, with NUL between."""
    return [os.fsdecode(name) for name in (text.split(b"\0") if b"\0" in text else text.splitlines()) if name]
