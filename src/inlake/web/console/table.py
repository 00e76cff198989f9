"""A table that is dropped on the page of a schema: its rows as records, each checked, before any of them is sent."""

from __future__ import annotations

import asyncio
import io
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from inlake.client.tables import Fault, Layout, Plan, Row, TableError, open_table, read_shape
from inlake.client.tables.cells import text_of
from inlake.errors import BadParameter, BodyTooLarge, InlakeError, RecordRejected
from inlake.group import TimeSlice
from inlake.web.request import address
from inlake.web.request.exchange import Exchange
from inlake.web.request.query import query
from inlake.web.request.quota import admit_records
from inlake.web.routes.schemas import Which, tell
from inlake.wiring import Deployment

MOST_BYTES = 4 << 20
INFLATED_BYTES = 64 << 20
"""A workbook is an archive: what is in it may take so many bytes."""
MOST_ROWS = 1_000
MORE = "For more, use `inlake send`: it reads tables of any size."
MOST_FAULTS = 20
"""Faults of a table as a whole that are told."""


class Asked(Struct):
    """The query that a table comes with."""

    file: str = ""
    """The name of the file."""
    destination: str = ""
    again: bool = False
    """Rows that were mended on the page: CSV as the page writes it."""


class Wrong(Struct):
    """A fault of a row."""

    column: int | None
    """The index of its cell, from 0; None: the row as a whole."""
    said: str


class Checked(Struct):
    """A row, and what becomes of it."""

    number: int
    """From 1, as a spreadsheet counts."""
    cells: list[str]
    record: str | None
    """The record as one line of JSON; None where its cells do not become one."""
    wrong: list[Wrong]


class Answer(Struct):
    """A table that was read, or why it cannot be."""

    said: str = ""
    """The sentence about what was found."""
    columns: list[str] = []
    rows: list[Checked] = []
    wrong: list[str] = []
    """Faults of the table as a whole."""


def may_hold(x: Exchange) -> int:
    """Bytes that a table may take while it is read: cells are objects."""
    return x.holds(16 * MOST_BYTES)


async def check(x: Exchange, d: Deployment) -> None:
    """Read the table, make its rows records as the client does, and check each as `/ingress/validate` does,
    which counts as many records."""
    name, asked = x.path_parameter("name"), query(x, Asked)
    address.names(name, asked.destination or None, None)
    to = address.Address(schema=name, destination=asked.destination or None)
    body = await x.body(MOST_BYTES, BodyTooLarge)
    shape: Mapping[str, Any] = msgspec.to_builtins(await tell(x, d, name, Which()))
    try:
        read = await asyncio.to_thread(Reading, body, asked, shape)
    except TableError as error:
        await x.reply(200, msgspec.json.encode(Answer(wrong=_sentences(error.faults))))
        return
    admit_records(x, sum([checked.record is not None for checked in read.answer.rows]))
    time_slice = TimeSlice()
    for checked, row in zip(read.answer.rows, read.rows, strict=True):
        if checked.record is not None:
            errors = await _errors(x, d, to, checked.record.encode())
            checked.wrong = [read.wrong(read.plan.fault(row, each)) for each in errors]
            await time_slice.yield_if_long()
    await x.reply(200, msgspec.json.encode(read.answer))


def _sentences(faults: Sequence[Fault]) -> list[str]:
    """Sentences about the faults of a table as a whole: one names all fields without a column, one all
    columns without a field."""
    unfilled = [f"`{fault.pointer[1:]}`" for fault in faults if fault.code == "no_column" and fault.pointer]
    homeless = [f"`{fault.column}`" for fault in faults if fault.code == "no_field"]
    others = [each.sentence for each in faults if each.code not in {"no_column", "no_field"} or "meant?" in each.advice]
    said = []
    if unfilled:
        said.append(f"The schema wants {_listed(unfilled)} too, and no column is called so.")
    if homeless:
        said.append(f"The schema has no field that is called {_listed(homeless)}: rename such columns, or remove them.")
    return [*said, *others[:MOST_FAULTS]]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_FAULTS:,} more" if len(names) > MOST_FAULTS else ""
    return ", ".join(names[:MOST_FAULTS]) + more


async def _errors(x: Exchange, d: Deployment, to: address.Address, record: bytes) -> list[dict[str, Any]]:
    """The gateway's reasons against a record, in the form of a problem's `errors`."""
    try:
        address.check_size(record, x.settings.max_record_bytes)
        await d.gateway.validate(address.submission(to, record, caller=x.caller, tagged=False, trace=None))
    except RecordRejected as error:
        return [each._asdict() for each in error.errors]
    except InlakeError as error:
        if error.status >= 500:
            raise
        return [{"code": error.code, "detail": error.detail}]
    return []


class Reading:
    """A table whose rows were made records, as far as they become any."""

    def __init__(self, body: bytes, asked: Asked, told: Mapping[str, Any]) -> None:
        """`told`: what `GET /schemas/{name}` says. Raises `TableError`, `BadParameter`."""
        _check_archive(body)
        layout = Layout(format="csv", encoding="utf-8", delimiter=",", header=1) if asked.again else Layout()
        self.rows: list[Row] = []
        with open_table(io.BytesIO(body), layout, name=asked.file or "table.csv") as table:
            self.plan = Plan(table.columns, read_shape(told))
            self._indexes = {column.letter: column.index for column in table.columns}
            self.answer = Answer(table.layout.sentence(), [text_of(cell) for cell in table.header])
            for row in table:
                if len(self.rows) == MOST_ROWS:
                    raise BadParameter(f"The table has more than {MOST_ROWS:,} rows. {MORE}")
                self.rows.append(row)
                self.answer.rows.append(self._checked(row))

    def wrong(self, fault: Fault) -> Wrong:
        """A fault at its cell; of maps, which a page does not take, nothing is said."""
        advice = fault.advice.partition("A map ")[0]
        return Wrong(self._indexes.get(fault.letter or ""), f"{fault.detail} {advice}".rstrip())

    def _checked(self, row: Row) -> Checked:
        converted = self.plan.convert(row)
        text = None if converted.text is None else converted.text.decode()
        return Checked(row.number, [text_of(cell) for cell in row.cells], text, list(map(self.wrong, converted.faults)))


def _check_archive(body: bytes) -> None:
    """Inflate what may be a workbook, and keep nothing: a small archive may hold more than any memory. Raises
    `BadParameter`."""
    if not body.startswith(b"PK"):
        return
    left = INFLATED_BYTES
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            for entry in archive.infolist():
                with archive.open(entry) as content:
                    while piece := content.read(1 << 16):
                        left -= len(piece)
                        if left < 0:
                            raise BadParameter(f"The workbook is over {INFLATED_BYTES >> 20} MiB. {MORE}")
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, OSError):
        raise BadParameter("The workbook is damaged, or locked by a password.") from None
