"""`inlake send`: records, or a record and its binary, to a gateway."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from inlake.cli.completion import schema_names
from inlake.cli.failures import UNAUTHORIZED, Failure

if TYPE_CHECKING:
    from inlake.cli.report import Report
    from inlake.client import Client


def send(
    schema: Annotated[
        str,
        typer.Argument(
            metavar="SCHEMA", help="Name of the schema: `tate.artwork` for one.", autocompletion=schema_names
        ),
    ],
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE", help="Files of records; - is stdin.")] = None,
    url: Annotated[str, typer.Option(envvar="INLAKE_URL", help="Address of the gateway.")] = "http://127.0.0.1:8000",
    token: Annotated[str | None, typer.Option(envvar="INLAKE_TOKEN", help="Sent as `Authorization: Bearer`.")] = None,
    binary: Annotated[str | None, typer.Option(metavar="FILE", help="A binary that belongs to the one record.")] = None,
    content_type: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Media type of the binary; told from its name if not given.")
    ] = None,
    destination: Annotated[
        str | None, typer.Option(help="Database that consumers should load the records into.")
    ] = None,
    version: Annotated[int | None, typer.Option(help="Version of the schema; the latest if not given.")] = None,
    message: Annotated[str | None, typer.Option(help="Protobuf: full name of the message.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all receipts as JSON lines.")] = False,
) -> None:
    """Send records to a gateway.

    Files: .ndjson and .jsonl (one record a line, of any length), .json (one record, several, or a top-level array,
    which is split into its records); each also as .gz. A record is sent as its text stands in the file.

    Exit code: 0 all accepted; 1 some refused; 2 the command or a file is wrong; 3 the gateway cannot be reached or
    failed.
    """
    from inlake.cli.records import chosen, require_file
    from inlake.cli.report import Report
    from inlake.client import Client

    names = chosen(files)
    if binary:
        require_file(binary)
    query = {"destination": destination, "version": version, "message": message}
    report = Report(as_json=as_json)
    try:
        client = Client(url, token=token)
    except ValueError as error:
        raise Failure(str(error)) from None
    with client:
        if binary:
            _send_binary(client, schema, names, (binary, content_type), query, report)
        else:
            _send_files(client, schema, names, query, report)
    report.close()
    raise typer.Exit(report.exit_code)


def _send_files(client: Client, schema: str, names: list[str], query: dict[str, Any], report: Report) -> None:
    """One request a file, so that `line` in a receipt is the line of the file."""
    from inlake.cli.records import read_lines
    from inlake.cli.report import counted

    wanted = "all" if report.as_json else "rejects"
    for name in names:
        for receipt in client.send_records(schema, counted(name, read_lines(name)), receipts=wanted, **query):
            report.add(name, receipt)


def _send_binary(
    client: Client, schema: str, names: list[str], binary: tuple[str, str | None], query: dict[str, Any], report: Report
) -> None:
    from rich.progress import DownloadColumn

    from inlake.cli.records import read_record
    from inlake.cli.report import progress
    from inlake.client import Refused, Upload

    if len(names) > 1:
        raise Failure(f"--binary goes with exactly one record; {len(names)} files are named.")
    path, content_type = binary
    record = read_record(names[0])
    try:
        with progress(DownloadColumn()) as bar, bar.open(path, "rb", description=Path(path).name) as file:
            upload = Upload.of(file, Path(path).name, content_type)
            receipt = client.send_binary(schema, record, upload, **query)
    except Refused as refused:
        if refused.status == UNAUTHORIZED:
            raise
        receipt = {**refused.document, "status": refused.status}
    report.add_single(names[0], receipt)
