"""The client of a program: what the commands do, as methods; tables and SQLite are imported by who uses them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from inlake.client.batches import cut
from inlake.client.gateway import Address, Gateway, json_text
from inlake.client.receipts import WORDS, Receipt
from inlake.client.records import read_lines

if TYPE_CHECKING:
    from inlake.client.catalogue import Catalogue
    from inlake.client.collection import Outcome
    from inlake.client.files import Item
    from inlake.client.journal import Journal
    from inlake.client.readback import Verdict
    from inlake.client.sheet import Sheet
    from inlake.client.tables import Fault, Row

Record = bytes | Mapping[str, Any]
"""JSON text, or a mapping that is written as such."""


class Client(Gateway):
    """A gateway for a program: records, files and whole collections go in, objects come back.

    `to`: the name of a schema, or an `Address`. What is sent has an Idempotency-Key, and goes out again for up to
    `retry` seconds where that may help; then the error is raised that `Gateway` names.
    """

    def send(self, to: str | Address, record: Record) -> Receipt:
        """Send one record; returns when its event is confirmed."""
        return self.send_text(_address(to), json_text(record), key=uuid4().hex)

    def send_many(
        self, to: str | Address, records: Path | Iterable[Record], *, map_: Path | None = None
    ) -> Iterator[Receipt]:
        """Send records of any number; yields receipts and rejects as they are known, a `summary` of all last.

        `records`: mappings or lines, or a file as `inlake send` takes it: NDJSON, JSON, or a table, whose columns go
        where the map says. A row of a table that is refused has its `row`. Nothing is sent before the first receipt
        is asked for. Raises `BrokenFile`, `TableError` too.
        """
        from inlake.client.sheet import is_table

        address, summary = _address(to), dict.fromkeys(WORDS, 0)
        with ExitStack() as stack:
            refused: list[Receipt] = []
            sheet = None
            if isinstance(records, Path) and is_table(records.name):
                sheet = self._sheet(
                    address, records, map_, stack, lambda row, faults: refused.append(_reject(row, faults))
                )
            lines = sheet.lines() if sheet else _lines(records)
            for answer in self.send_batches(address, cut(lines), run=uuid4().hex):
                if sheet:
                    sheet.settle(answer)
                summary["rejected"] += len(refused)
                yield from refused
                refused.clear()
                yield from answer.receipts
                for word in WORDS:
                    summary[word] += answer.summary[word]
        yield {"summary": summary, "complete": True}

    def upload(self, to: str | Address, record: Record, file: Path) -> Receipt:
        """Send a record with its file in one request; returns when it is stored and its event confirmed."""
        return self.send_file(_address(to), json_text(record), file, key=uuid4().hex)

    def upload_many(
        self,
        to: str | Address,
        sources: Path | Sequence[Path],
        *,
        table: Path | None = None,
        map_: Path | None = None,
        journal: Path | None = None,
        jobs: int = 32,
    ) -> Iterator[Outcome]:
        """Send a collection as `inlake upload` does: files, or all below folders, each with its record from a row of
        the table or from FILE.json beside it; yields what becomes of each.

        All is checked before a file is sent. The journal, beside the first source if not given, knows what is in: a
        second call sends what is missing. Raises `BrokenFile`, `JournalError`, `TableError`.
        """
        from inlake.client.collection import target
        from inlake.client.journal import Journal, beside
        from inlake.client.upload.engine import Engine, Options

        address = _address(to)
        paths = [sources] if isinstance(sources, Path) else list(sources)
        with ExitStack() as stack:
            catalogue = self._catalogue(address, table, map_, stack)
            items = catalogue.items([str(path) for path in paths], but=table)
            known = stack.enter_context(Journal(journal or beside(paths[0]), target(self, address)))
            options = Options(catalogue.field, jobs)
            engine = stack.enter_context(Engine(self, address, known, options, catalogue.explain))
            yield from self._checked(address, items, catalogue, known, engine.send)

    def upload_in_place(
        self,
        to: str | Address,
        uris: str | Sequence[str],
        *,
        table: Path | None = None,
        map_: Path | None = None,
        journal: Path | None = None,
    ) -> Iterator[Outcome]:
        """Make events for objects that are in the store already, as `inlake upload --in-place` does: for all below the
        URIs, each with its record from a row of the table, or from a map of facts. Nothing is copied.

        The journal, in the folder of the process if not given, knows what is in. Raises as `upload_many`.
        """
        from inlake.client import in_place
        from inlake.client.collection import target
        from inlake.client.journal import Journal

        address = _address(to)
        named = [uris] if isinstance(uris, str) else list(uris)
        with ExitStack() as stack:
            catalogue = self._catalogue(address, table, map_, stack)
            items = catalogue.placed(in_place.find(self, named))
            of = target(self, address, in_place=True)
            known = stack.enter_context(Journal(journal or in_place.journal_of(named[0]), of))
            send = partial(in_place.send, self, address, journal=known, explained=catalogue.explain)
            yield from self._checked(address, items, catalogue, known, send)

    def verify(self, receipts: Path | Iterable[Receipt]) -> Iterator[Verdict]:
        """Read objects back and compare them, and where their events are, with receipts: those that were returned, or
        the file that `inlake upload --receipts` wrote. A receipt without an object is left out."""
        from inlake.client.readback import read_ledger, verify

        return verify(self, read_ledger(receipts) if isinstance(receipts, Path) else receipts)

    def get(self, puuid: str, folder: Path) -> Path:
        """Download an object under the name that its file had, and compare its SHA-256; a download that was cut goes
        on. Raises `Damaged`."""
        from inlake.client.readback import download

        return download(self, puuid, folder)

    def get_many(self, receipts: Path | Iterable[Receipt], folder: Path) -> Iterator[Path]:
        """Download the objects of receipts, which are given as to `verify`; a receipt without an object is left out.
        Raises `Damaged`."""
        from inlake.client.readback import puuids_of, read_ledger

        for puuid in puuids_of(read_ledger(receipts) if isinstance(receipts, Path) else receipts):
            yield self.get(puuid, folder)

    def _catalogue(self, to: Address, table: Path | None, map_: Path | None, stack: ExitStack) -> Catalogue:
        from inlake.client.catalogue import Catalogue
        from inlake.client.tables import Layout, Map, open_table, read_map, read_shape

        shape = read_shape(self.schema(to.schema, to.version, to.message))
        map_of = read_map(map_) if map_ else Map()
        rows = stack.enter_context(open_table(table, map_of.layout_under(Layout()))) if table else None
        return Catalogue(shape, rows, map_of)

    def _checked(
        self,
        to: Address,
        items: Sequence[Item],
        catalogue: Catalogue,
        known: Journal,
        send: Callable[[Sequence[Item]], Iterator[Outcome]],
    ) -> Iterator[Outcome]:
        """The outcomes of items: first of those that are in, and that cannot go in, then of all others, with a bar in a
        notebook."""
        from inlake.client.collection import Outcome, apart, check
        from inlake.client.notebook import watched

        same, others = apart(items, known.files())
        for item in same:
            yield Outcome(item, "in already", sent=known.find(item.entry))
        bad = set()
        for outcome in check(self, to, others, catalogue.field, catalogue.explain, known.find):
            bad.add(id(outcome.item))
            yield outcome
        good = [item for item in others if id(item) not in bad]
        yield from watched(send(good), good)

    def _sheet(
        self,
        to: Address,
        path: Path,
        map_: Path | None,
        stack: ExitStack,
        refuse: Callable[[Row, Sequence[Fault]], None],
    ) -> Sheet:
        from inlake.client.sheet import Sheet
        from inlake.client.tables import Layout, Map, Plan, open_table, read_map, read_shape

        map_of = read_map(map_) if map_ else Map()
        shape = read_shape(self.schema(to.schema, to.version, to.message))
        table = stack.enter_context(open_table(path, map_of.layout_under(Layout())))
        return Sheet(table, Plan(table.columns, shape, map_of), refuse)


def _address(to: str | Address) -> Address:
    return to if isinstance(to, Address) else Address(to)


def _lines(records: Path | Iterable[Record]) -> Iterator[bytes]:
    return read_lines(str(records)) if isinstance(records, Path) else map(json_text, records)


def _reject(row: Row, faults: Sequence[Fault]) -> Receipt:
    errors = [{"code": fault.code, "detail": fault.sentence} for fault in faults]
    return {"row": row.number, "status": 422, "code": "row_rejected", "errors": errors}
