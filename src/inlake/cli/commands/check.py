"""`inlake check`: records of files against a schema, as the gateway would judge them, without a gateway."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from inlake.cli.failures import Failure

if TYPE_CHECKING:
    from inlake.cli.findings import Findings
    from inlake.ports import Codec

PLACEHOLDER = "file:///objects/00000000-0000-4000-8000-000000000000/binary"
"""Stands in the resource field where the gateway would put the address of a binary."""


def check(
    schema: Annotated[
        str,
        typer.Argument(metavar="SCHEMA", help="File .avsc, .proto or .json; or NAME or NAME:VERSION of the registry."),
    ],
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE", help="Files of records; - is stdin.")] = None,
    reference: Annotated[
        list[str] | None,
        typer.Option(metavar="REFNAME=FILE", help="File of what the schema calls REFNAME; may be repeated."),
    ] = None,
    registry: Annotated[
        bool, typer.Option("--registry", help="SCHEMA is a name of the registry, also if a file is called so.")
    ] = False,
    message: Annotated[str | None, typer.Option(help="Protobuf: full name of the message.")] = None,
    tagged: Annotated[bool, typer.Option("--tagged", help="Avro: unions are in the tagged form only.")] = False,
    with_binary: Annotated[
        bool, typer.Option("--with-binary", help="Each record comes with a binary: its resource field will be filled.")
    ] = False,
    max_errors: Annotated[
        int | None,
        typer.Option(min=1, metavar="NUMBER", help="Most errors to print; default: 1,000 in a table, else all."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object for each refused record.")] = False,
    github: Annotated[bool, typer.Option("--github", help="Print errors as annotations of GitHub Actions.")] = False,
) -> None:
    """Check files of records against a schema, without a gateway.

    Says of every record what the gateway would say, and needs neither network nor server unless SCHEMA is a name.
    Files are those that `inlake send` reads. What a record refers to first is the first --reference.

    Exit code: 0 all records fit; 1 some do not, or a file cannot be read to its end; 2 the command, a setting or the
    schema is wrong; 3 the registry cannot be reached.
    """
    from inlake.cli.deployment import load_settings
    from inlake.cli.findings import Findings
    from inlake.cli.schema import compile_source, find_source
    from inlake.client.records import chosen

    if as_json and github:
        raise Failure("--json and --github are two forms of the same: give one.")
    names, (settings, _) = chosen(files), load_settings()
    source = find_source(schema, settings, references=reference or [], in_registry=registry)
    codec = compile_source(source, settings, message=message)
    if with_binary and not codec.has_resource_field:
        raise Failure(f"{source.label}: has no field {settings.resource_field} for the address of a binary.")
    findings = Findings("json" if as_json else "github" if github else "table", max_errors)
    _check_files(Judge(codec, settings.max_record_bytes, tagged, PLACEHOLDER if with_binary else None), names, findings)
    findings.close()
    raise typer.Exit(findings.exit_code)


@dataclass(frozen=True, slots=True)
class Judge:
    """Says of one record what the gateway would say."""

    codec: Codec
    max_record_bytes: int
    tagged: bool
    resource: str | None

    def check(self, record: bytes) -> None:
        """Return when the record fits. `InlakeError` with the reasons when not."""
        from inlake.errors import RecordTooLarge

        if len(record) > self.max_record_bytes:
            raise RecordTooLarge(
                f"The record has {len(record):,} bytes, and may have {self.max_record_bytes:,} "
                "(INLAKE_MAX_RECORD_BYTES)."
            )
        self.codec.encode(self.codec.read(record, tagged=self.tagged), self.resource)


def _check_files(judge: Judge, names: list[str], findings: Findings) -> None:
    from rich.progress import BarColumn

    from inlake.cli.progress import progress
    from inlake.cli.terminal import shown
    from inlake.client.records import STDIN, named

    total = sum(Path(name).stat().st_size for name in names if name != STDIN)
    with shown(progress(BarColumn(), quiet=findings.form != "table")) as bar:
        task = bar.add_task("", total=total or 1)
        for name in names:
            bar.update(task, description=Path(named(name)).name)
            watch = None if bar.disable else partial(bar.wrap_file, task_id=task)
            _check_file(judge, name, findings, watch)


def _check_file(
    judge: Judge, name: str, findings: Findings, watch: Callable[[BinaryIO], BinaryIO] | None = None
) -> None:
    from inlake.client.records import BrokenFile, read_records
    from inlake.errors import InlakeError

    line = 0
    try:
        for line, record in read_records(name, watch):
            try:
                judge.check(record)
                findings.accepted += 1
            except InlakeError as error:
                findings.refuse(name, line, error)
        if not line:
            findings.unreadable(name, None, "There is no record in it.")
    except BrokenFile as broken:
        findings.unreadable(name, broken.line, f"The file is broken: {broken.reason}")
