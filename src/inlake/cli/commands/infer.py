"""`inlake schemas infer`: a draft of a schema from a table."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from inlake.cli.table import Delimiter, Encoding, Header, SheetName, layout_of, opened, require_columns
from inlake.cli.terminal import printable


class Language(StrEnum):
    AVRO = "avro"
    PROTOBUF = "protobuf"
    JSON_SCHEMA = "jsonschema"


def infer(
    table: Annotated[str, typer.Argument(metavar="TABLE", help="CSV, TSV, XLSX or ODS; - is stdin.")],
    language: Annotated[Language, typer.Option(help="Language of the schema.")] = Language.AVRO,
    name: Annotated[
        str | None, typer.Option(help="Full name of the record: `tate.artwork`; the table's if not given.")
    ] = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    header: Header = None,
    sheet: SheetName = None,
) -> None:
    """Draft a schema from a table, and print it.

    There is a field for each column, of the narrowest type that all cells fit. What was seen in a column stands in
    the doc of its field: read it, and change what you know better.

    Exit code: 0 drafted; 2 the command or the table is wrong.
    """
    from inlake.client.tables import collect_facts, infer_schema

    with opened(table, layout_of(encoding, delimiter, header, sheet)) as read:
        require_columns(read)
        facts = collect_facts(read.columns, read)
    typer.echo(printable(infer_schema(facts, language.value, name or Path(table).name.partition(".")[0])), nl=False)
