"""`inlake send`: records, or a record and its binary, to a gateway."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from inlake.cli.failures import UNAUTHORIZED, Failure
from inlake.cli.gateway import Destination, MessageName, Retry, Schema, Token, Url, Version, connect

if TYPE_CHECKING:
    from inlake.cli.report import Report
    from inlake.client import Client
    from inlake.client.gateway import Address


def send(
    schema: Schema,
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE", help="Files of records; - is stdin.")] = None,
    url: Url = None,
    token: Token = None,
    binary: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="The binary that belongs to the one record.")
    ] = None,
    content_type: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Media type of the binary; told from its name if not given.")
    ] = None,
    destination: Destination = None,
    version: Version = None,
    message: MessageName = None,
    retry: Retry = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print all receipts as JSON lines.")] = False,
) -> None:
    """Send records to a gateway.

    Files: .ndjson and .jsonl (one record a line, of any length), .json (one record, several, or a top-level array,
    which is split into its records); each also as .gz. A record is sent as its text stands in the file.

    Exit code: 0 all accepted; 1 some refused; 2 the command or a file is wrong; 3 the gateway cannot be reached or
    failed.
    """
    from inlake.cli.report import Report
    from inlake.client.gateway import Address
    from inlake.client.records import chosen, require_file

    names = chosen(files)
    if binary and (len(binary) > 1 or len(names) > 1):
        given = f"{len(binary)} binaries" if len(binary) > 1 else f"{len(names)} files of records"
        raise Failure(f"One record goes with one --binary; {given} are named.")
    for name in binary or []:
        require_file(name)
    to = Address(schema, destination, version, message)
    report = Report(as_json=as_json)
    with connect(url, token, retry=retry) as client:
        if binary:
            _send_binary(client, to, names[0], (binary[0], content_type), report)
        else:
            for name in names:
                _send_file(client, to, name, report)
    report.close()
    raise typer.Exit(report.exit_code)


def _send_file(client: Client, to: Address, name: str, report: Report) -> None:
    """Send a file in batches; what is confirmed when it ends early is said."""
    from uuid import uuid4

    from inlake.cli.report import watching
    from inlake.client.batches import cut
    from inlake.client.records import BrokenFile, read_lines

    wanted = "all" if report.as_json else "rejects"
    last = 0
    try:
        with watching(name) as bar:
            batches = cut(read_lines(name, bar.watch))
            for answer in client.send_batches(to, batches, run=uuid4().hex, receipts=wanted):
                last = answer.batch.last
                report.add(name, answer)
                bar.advance(sum(answer.summary.values()), answer.summary["rejected"] + answer.summary["failed"])
    except BaseException:
        report.cut_off(name, last)
        raise
    if not last:
        raise BrokenFile(name, "there is no record in it.")


def _send_binary(client: Client, to: Address, name: str, binary: tuple[str, str | None], report: Report) -> None:
    from dataclasses import asdict

    from inlake.cli.report import watching
    from inlake.client import Refused, Upload
    from inlake.client.records import read_record

    path, content_type = binary
    record = read_record(name)
    try:
        with watching(path) as bar, Path(path).open("rb") as file:
            upload = Upload.of(bar.watch(file), Path(path).name, content_type)
            receipt = client.send_binary(record=record, file=upload, **asdict(to))
    except Refused as refused:
        if refused.status == UNAUTHORIZED:
            raise
        receipt = {**refused.document, "status": refused.status}
    report.add_single(name, receipt)
