"""`inlake send`: records, or a record and its binary, to a gateway."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from inlake.cli.failures import UNAUTHORIZED, UNAVAILABLE, Failure
from inlake.cli.files import (
    BinaryFile,
    Check,
    JournalFile,
    MapFile,
    MediaType,
    ReceiptsFile,
    RejectsFile,
    require_apart,
)
from inlake.cli.gateway import (
    UNKNOWN_SCHEMA,
    Destination,
    MessageName,
    Retry,
    Schema,
    Token,
    Url,
    Version,
    connect,
    note_rejects,
    require_order,
    suggesting,
)
from inlake.cli.table import Delimiter, Encoding, Header, SheetName, layout_of

if TYPE_CHECKING:
    from inlake.cli.report import Report
    from inlake.client import Client
    from inlake.client.gateway import Address, Answer
    from inlake.client.ledger import Ledger
    from inlake.client.repeats import Repeats
    from inlake.client.resume import Resumed
    from inlake.client.sheet import Sheet
    from inlake.client.tables import Fault, Layout, Row, Shape


def send(
    schema: Schema,
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE", help="Files of records; - is stdin.")] = None,
    url: Url = None,
    token: Token = None,
    binary: BinaryFile = None,
    content_type: MediaType = None,
    destination: Destination = None,
    version: Version = None,
    message: MessageName = None,
    retry: Retry = 60,
    map_: MapFile = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    header: Header = None,
    sheet: SheetName = None,
    check: Check = False,
    receipts: ReceiptsFile = None,
    rejects: RejectsFile = None,
    journal: JournalFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all receipts as JSON lines.")] = False,
) -> None:
    """Send records to a gateway.

    Files: .ndjson and .jsonl (one record a line, of any length), .json (one record, several, or a top-level array,
    which is split into its records), each sent as its text stands in the file; .csv, .tsv, .xlsx and .ods, of which
    each row becomes a record by the types of the schema. All but the last two also as .gz.

    A journal beside a file knows what is in: killed and started again, the command sends what is missing. A table's
    stays, so that the same command again sends rows that are new or mended; others go at the end but for --journal's.

    Exit code: 0 all accepted; 1 some refused; 2 command or file is wrong; 3 the gateway cannot be reached or failed.
    """
    from inlake.cli.report import Report
    from inlake.client.gateway import Address
    from inlake.client.ledger import Ledger
    from inlake.client.records import chosen

    require_order("send", schema, files or [])
    given = Given(layout_of(encoding, delimiter, header, sheet), map_, check, rejects, journal)
    _require_files(binary or [], names := chosen(files), given, receipts)
    report, to = Report(as_json=as_json), Address(schema, destination, version, message)
    with connect(url, token, retry=retry) as client, suggesting(client, schema), ExitStack() as stack:
        goes_on = any(_journal(journal, client, to, name).exists() for name in names)
        ledger = stack.enter_context(Ledger(receipts, goes_on=goes_on)) if receipts else None
        run = Sending(client, to, given, report, ledger)
        for name in names:
            run.binary(name, binary[0], content_type) if binary else run.file(name)
        run.close()
    raise typer.Exit(report.exit_code)


def _require_files(binaries: list[str], names: list[str], given: Given, receipts: Path | None) -> None:
    """`Failure` unless there is no binary, or one that goes with the one file of a record; rejects are of one too, and
    no file is written over that is read."""
    from inlake.client.records import require_file

    if given.rejects and len(names) > 1:
        raise Failure("--rejects goes with one table: its rows are written in the form they came in.")
    if binaries and (len(binaries) > 1 or len(names) > 1):
        many = f"{len(binaries)} binaries" if len(binaries) > 1 else f"{len(names)} files of records"
        raise Failure(f"One record goes with one --binary; {many} are named.")
    for name in binaries:
        require_file(name)
    written = {"--rejects": given.rejects, "--receipts": receipts}
    require_apart(written, [*names, *binaries, given.map, given.journal])


class Given(NamedTuple):
    """The options about how to send."""

    layout: Layout
    map: Path | None
    check: bool
    rejects: Path | None
    journal: Path | None


class Sending:
    """One run of the command; what it opens is closed by `stack`."""

    def __init__(self, client: Client, to: Address, given: Given, report: Report, ledger: Ledger | None) -> None:
        self._client, self._to, self._given, self._report, self._ledger = client, to, given, report, ledger
        self._shape: Shape | None = None

    def close(self) -> None:
        """Print the sums, and how one sees what was refused."""
        self._report.close()
        if self._report.refused_by_gateway and not (self._given.check or self._report.as_json):
            note_rejects(self._client, self._to.schema)

    def file(self, name: str) -> None:
        """Send a file: the rows of a table, or records."""
        from inlake.client.records import BrokenFile
        from inlake.client.sheet import is_table

        layout = self._given.layout
        is_told = self._given.map or layout.delimiter or layout.sheet
        last = self._table(name) if is_told or is_table(name) else self._records(name)
        if not last:
            raise BrokenFile(name, "there is no record in it.")

    def _table(self, name: str) -> int:
        """Send the rows of a table that are not in; returns how many it has."""
        from inlake.cli.report import watching

        last, sheet, repeats = 0, None, None
        try:
            with watching(name, is_table=True) as bar, ExitStack() as stack:
                repeats = stack.enter_context(self._repeats(name))
                if repeats:
                    self._ask(name, repeats)
                sheet = self._sheet(name, stack, repeats)
                for answer in self._answers(sheet.lines(), repeats):
                    _require_schema(answer)
                    last = answer.batch.last
                    bar.advance(sum(answer.summary.values()), answer.summary["rejected"] + answer.summary["failed"])
                    sheet.settle(answer)
                    self._tell(name, answer)
                self._report.skip(name, sheet.in_already, self._journal_of(name))
        except BaseException:
            self._report.cut_off(name, last, sheet.settled if sheet else None, goes_on=repeats is not None)
            raise
        return last

    def _ask(self, name: str, repeats: Repeats) -> None:
        """Learn what became of the batches of which an earlier run did not. `Failure` while that is not known of all:
        their rows would be sent once more among the others."""
        from inlake.client.records import named

        failed, why = 0, ""
        for answer in repeats.ask(self._client, self._to, self._wanted):
            answer.receipts = [{**one, "row": None} for one in answer.receipts]  # its row may be another now
            self._write_down(answer)
            failed += answer.summary["failed"]
            why = next((one["detail"] for one in answer.receipts if one["status"] >= 500 and "detail" in one), why)
        if failed:
            raise Failure(
                f"{named(name)}: {failed:,} row{'s' if failed > 1 else ''} of an earlier run failed again, and nothing "
                f"more was sent. {why} To go on: start the same command again.",
                UNAVAILABLE,
            )

    def _records(self, name: str) -> int:
        """Send records in batches; what is confirmed when it ends early is said. Returns the number of lines."""
        from inlake.cli.report import watching
        from inlake.client.records import read_lines
        from inlake.client.retries import leaves_nothing

        last, resumed = 0, None
        try:
            with watching(name) as bar, ExitStack() as stack:
                lines = read_lines(name, bar.watch)
                resumed = self._resumed(name, stack)
                for answer in self._answers(lines, resumed):
                    _require_schema(answer)
                    last = answer.batch.last
                    bar.advance(sum(answer.summary.values()), answer.summary["rejected"] + answer.summary["failed"])
                    self._tell(name, answer)
                    if resumed:
                        resumed.confirm(answer.batch, answer.summary)
                if resumed:
                    resumed.finish()
                    if not resumed.complete:
                        self._report.stop(name, resumed.position.lines + 1, last)
                    last = last or resumed.position.lines
        except BaseException as error:
            goes_on = resumed is not None and resumed.goes_on
            self._end(name, resumed, in_doubt=goes_on or bool(last) or not leaves_nothing(error))
            self._report.cut_off(name, last, goes_on=resumed is not None)
            raise
        self._end(name, resumed, in_doubt=resumed is not None and not resumed.complete)
        return last

    def binary(self, name: str, path: str, content_type: str | None) -> None:
        """Send the one record of a file with its binary."""
        from inlake.cli.report import watching
        from inlake.client import Refused, Upload
        from inlake.client.records import read_record

        record = read_record(name)
        try:
            with watching(path) as bar, Path(path).open("rb") as file:
                upload = Upload.of(bar.watch(file), Path(path).name, content_type)
                receipt = self._client.send_binary(record=record, file=upload, **asdict(self._to))
        except Refused as refused:
            if refused.status == UNAUTHORIZED or refused.code == UNKNOWN_SCHEMA:
                raise
            receipt = {**refused.document, "status": refused.status}
        if self._ledger and "topic" in receipt:
            self._ledger.add(receipt, row=1, file=path)
        self._report.add_single(name, receipt)

    def _resumed(self, name: str, stack: ExitStack) -> Resumed | None:
        """The file as the journal knows it; None where there is none."""
        from inlake.client.collection import target
        from inlake.client.journal import Journal
        from inlake.client.resume import Resumed

        if self._given.rejects or not self._has_journal(name):
            return None
        journal = stack.enter_context(Journal(self._journal_of(name), target(self._client, self._to)))
        resumed = Resumed(journal, journal.name_of(name, alone=self._given.journal is None))
        self._report.go_on(name, resumed.position.lines, resumed.position.summary or {})
        return resumed

    @contextmanager
    def _repeats(self, name: str) -> Iterator[Repeats | None]:
        """The table as the journal knows it; None where there is none. One with nothing in it does not stay."""
        from inlake.client.collection import target
        from inlake.client.journal import Journal
        from inlake.client.repeats import Repeats

        if not self._has_journal(name):
            yield None
            return
        is_empty = False
        try:
            with Journal(self._journal_of(name), target(self._client, self._to)) as journal:
                repeats = Repeats(journal, journal.name_of(name, alone=self._given.journal is None))
                try:
                    yield repeats
                finally:
                    is_empty = repeats.is_empty
        finally:
            if is_empty and not self._given.journal:
                _remove(self._journal_of(name))

    def _has_journal(self, name: str) -> bool:
        """Whether a journal is named, or can be beside the file: what a pipe gives comes once."""
        if self._given.check or self._given.journal:
            return not self._given.check
        return Path(name).is_file() and os.access(self._journal_of(name).parent, os.W_OK)

    def _end(self, name: str, resumed: Resumed | None, *, in_doubt: bool) -> None:
        """Remove a journal that nobody needs any more: all is in, or nothing is; `in_doubt`: that is not known."""
        if resumed and not self._given.journal and not in_doubt:
            _remove(self._journal_of(name))

    def _journal_of(self, name: str) -> Path:
        return _journal(self._given.journal, self._client, self._to, name)

    @property
    def _wanted(self) -> str:
        """The receipts that the gateway is asked for."""
        return "all" if self._report.as_json or self._ledger else "rejects"

    def _answers(self, lines: Iterable[bytes], known: Resumed | Repeats | None) -> Iterator[Answer]:
        from uuid import uuid4

        from inlake.client.batches import cut
        from inlake.client.repeats import Repeats

        if self._given.check:
            return self._client.validate_batches(self._to, cut(lines))
        if isinstance(known, Repeats):
            return known.send(self._client, self._to, cut(lines), self._wanted)
        if known:
            return self._client.send_batches(self._to, known.batches(lines), run=known.run, receipts=self._wanted)
        return self._client.send_batches(self._to, cut(lines), run=uuid4().hex, receipts=self._wanted)

    def _sheet(self, name: str, stack: ExitStack, repeats: Repeats | None) -> Sheet:
        from inlake.cli.table import opened, require_columns
        from inlake.client.sheet import Sheet
        from inlake.client.tables import Map, Plan, read_map, read_shape
        from inlake.client.tables.rejects import Rejects

        map_ = read_map(self._given.map) if self._given.map else Map()
        self._shape = self._shape or read_shape(
            self._client.schema(self._to.schema, self._to.version, self._to.message)
        )
        table = stack.enter_context(opened(name, self._given.layout, map_))
        require_columns(table)
        plan = Plan(table.columns, self._shape, map_)
        rejects = None
        if self._given.rejects:
            rejects = stack.enter_context(Rejects(self._given.rejects, table.layout, table.header))

        def refuse(row: Row, faults: Sequence[Fault]) -> None:
            errors = [{"code": fault.code, "detail": fault.sentence} for fault in faults]
            self._report.refuse(name, {"row": row.number, "status": 422, "code": "row_rejected", "errors": errors})
            if rejects:
                rejects.write(row, faults)

        return Sheet(table, plan, refuse, repeats.is_in if repeats and repeats.knows_some else None)

    def _tell(self, name: str, answer: Answer) -> None:
        self._write_down(answer)
        self._report.add(name, answer)

    def _write_down(self, answer: Answer) -> None:
        """Add receipts to the file of them, before the journal says that they are in."""
        if not self._ledger:
            return
        for receipt in answer.receipts:
            if receipt["status"] < 400:
                self._ledger.add(receipt, row=receipt.get("row", receipt["line"]))
        self._ledger.flush()


def _require_schema(answer: Answer) -> None:
    """`Refused` for what is wrong with the command, and with no line of its own: later lines would fare no better."""
    from inlake.client.problems import problem_of

    receipts = answer.receipts
    if (
        receipts
        and all(receipt.get("code") == UNKNOWN_SCHEMA for receipt in receipts)
        and not answer.summary["accepted"]
    ):
        raise problem_of(receipts[0]["status"], receipts[0])


def _journal(given: Path | None, client: Client, to: Address, name: str) -> Path:
    """The journal that is named, or the one beside a file: of its own for each target, since a file may go to two."""
    from inlake.client.collection import target
    from inlake.client.journal import beside

    return given or beside(Path(f"{name}.{hashlib.sha256(target(client, to).encode()).hexdigest()[:8]}"))


def _remove(journal: Path) -> None:
    """Delete a journal with what SQLite keeps beside it."""
    for suffix in "", "-wal", "-shm":
        journal.with_name(journal.name + suffix).unlink(missing_ok=True)
