"""Tables that commands read: the options that say how one is written, and what was found, said aloud."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inlake.cli.failures import Failure

if TYPE_CHECKING:
    from inlake.client.tables import Layout, Map, Table

Encoding = Annotated[
    str | None, typer.Option(help="Encoding of the table: utf-8, cp1252, mac_roman, ...; detected if not given.")
]
Delimiter = Annotated[
    str | None, typer.Option(help="What stands between cells: a character, or `tab`; detected if not given.")
]
Header = Annotated[
    int | None, typer.Option(min=1, help="Row with the names of the columns; the first with two if not given.")
]
SheetName = Annotated[
    str | None, typer.Option("--sheet", help="Sheet of a workbook; the first that holds something if not given.")
]


def layout_of(encoding: str | None, delimiter: str | None, header: int | None, sheet: str | None) -> Layout:
    """The layout that the options ask for."""
    from inlake.client.tables import Layout

    return Layout(encoding=encoding, delimiter=_character(delimiter), header=header, sheet=sheet)


@contextmanager
def opened(source: str, layout: Layout, map_: Map | None = None) -> Iterator[Table]:
    """A table, `-` for stdin; what was found is said on stderr. Options stand above the map. `TableError`."""
    import sys

    from inlake.cli.terminal import note, printable
    from inlake.client.tables import open_table

    if map_:
        layout = map_.layout_under(layout)
    name = "stdin" if source == "-" else source
    with open_table(sys.stdin.buffer if source == "-" else Path(source), layout) as table:
        said = " ".join((f"{name}: {table.layout.sentence()}.", *table.layout.notes))
        note(printable(said))
        yield table


def require_columns(table: Table) -> None:
    """`Failure` for NDJSON, whose lines are records already."""
    if not table.columns:
        raise Failure("Lines of JSON are records already: there are no columns.")


def _character(delimiter: str | None) -> str | None:
    """`tab` and `\\t` are the character that no shell takes easily."""
    if delimiter in {"tab", "\\t"}:
        return "\t"
    return codecs.decode(delimiter, "unicode_escape") if delimiter and delimiter.startswith("\\") else delimiter
