"""`inlake map`: a draft of the map from a table to a schema."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from inlake.cli.completion import schema_names
from inlake.cli.gateway import Token, Url, connect, suggesting
from inlake.cli.table import Delimiter, Encoding, Header, SheetName, layout_of, opened, require_columns
from inlake.cli.terminal import printable

ROWS = 1_000
"""Rows that are looked at, to see how cells are written."""


def draft(
    schema: Annotated[
        str,
        typer.Argument(
            metavar="SCHEMA", help="Name of the schema: `tate.artwork` for one.", autocompletion=schema_names
        ),
    ],
    table: Annotated[str, typer.Argument(metavar="TABLE", help="CSV, TSV, XLSX or ODS; - is stdin.")],
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it there, if there is no such file; else it is printed.")
    ] = None,
    version: Annotated[int | None, typer.Option(help="Version of the schema; the latest if not given.")] = None,
    message: Annotated[str | None, typer.Option(help="Protobuf: full name of the message.")] = None,
    encoding: Encoding = None,
    delimiter: Delimiter = None,
    header: Header = None,
    sheet: SheetName = None,
    url: Url = None,
    token: Token = None,
) -> None:
    """Draft a map from a table to a schema.

    A map says which column goes to which field. Columns go to the fields of their names. Columns and fields that
    are left over stand in the draft as well, and the first cell of a column that does not fit its field.

    Exit code: 0 drafted; 1 refused; 2 the command or the table is wrong; 3 the gateway cannot be reached or failed.
    """
    from inlake.client.tables import draft_map, read_shape

    with opened(table, layout_of(encoding, delimiter, header, sheet)) as read:
        require_columns(read)
        with connect(url, token) as client, suggesting(client, schema):
            shape = read_shape(client.schema(schema, version, message))
        text = printable(draft_map(read.columns, islice(read, ROWS), shape, read.layout))
    if output is None:
        typer.echo(text, nl=False)
        return
    with output.open("x", encoding="utf-8") as file:
        file.write(text)
