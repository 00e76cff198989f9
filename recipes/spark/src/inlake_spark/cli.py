"""`inlake-spark ingest|stream|read`: alone, or by spark-submit. Settings are the gateway's, from the environment."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inlake.client.tables import TableError, read_map
from inlake.errors import InlakeError
from inlake.model import ANONYMOUS, Label
from inlake.settings import SettingsError, read_environment
from inlake.web.request import address
from inlake_spark import batch, binaries, driver, events, stream
from inlake_spark.binaries import Files, with_files
from inlake_spark.kafka import reader_options
from inlake_spark.report import Report
from inlake_spark.session import open_session
from inlake_spark.source import Source
from inlake_spark.sources.json_texts import JsonTexts
from inlake_spark.sources.lines import JsonLines
from inlake_spark.sources.messages import Messages
from inlake_spark.sources.parquet import Parquet
from inlake_spark.sources.tables import Tables

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from inlake_spark.job import Job

OK, REFUSED, USAGE, UNAVAILABLE = 0, 1, 2, 3
"""Exit codes, as the gateway's commands have them."""
FORMATS = {
    "lines": (".ndjson", ".jsonl", ".ndjson.gz", ".jsonl.gz"),
    "json": (".json",),
    "table": (".csv", ".tsv", ".tab", ".xlsx", ".ods"),
    "parquet": (".parquet",),
}
"""By the suffix of a source; anything else is JSON lines."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Ends the process with the exit code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; its exit code."""
    asked = _parser().parse_args(arguments)
    try:
        code: int = asked.command(asked)
        return code
    except (SettingsError, TableError, OSError) as error:
        return _failed(str(error), USAGE)
    except InlakeError as error:
        return _failed(error.detail, UNAVAILABLE if error.retryable else USAGE)
    except Exception as error:
        from pyspark.errors import AnalysisException

        if isinstance(error, AnalysisException):
            return _failed(str(error).partition("\n")[0], USAGE)
        stopped = driver.why_stopped(error)
        if stopped is None:
            raise
        return _failed(f"{stopped.detail} ({stopped.code}) Nothing is lost: run it again.", UNAVAILABLE)


def _failed(sentence: str, code: int) -> int:
    print(f"inlake-spark: {sentence}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="inlake-spark", description=__doc__)
    commands = parser.add_subparsers(required=True)
    ingest = commands.add_parser("ingest", help="publish the records of files, once")
    _add_records(ingest)
    ingest.add_argument("--format", choices=sorted(FORMATS), help="default: by the suffix of the source")
    ingest.add_argument("--map", help="tables only: the map, a TOML file")
    ingest.add_argument("--files", metavar="PREFIX", help="tables only: where the binaries are that the rows name")
    ingest.add_argument("--file-column", help="tables only: the column that names them")
    ingest.add_argument("--copy", action="store_true", help="copy the binaries into the store, instead of naming them")
    ingest.add_argument("source", nargs="+", help="files or folders: s3a://..., file:///... or a path")
    ingest.set_defaults(command=_ingest)
    flow = commands.add_parser("stream", help="publish the records of files that land in a folder, or of messages")
    _add_records(flow)
    flow.add_argument("source", help="folder of JSON lines, or topic:NAME; each unsecured message says its schema")
    flow.add_argument("--checkpoint", required=True, help="folder where Spark keeps what was read")
    flow.add_argument("--most", type=int, help="files or messages of one micro-batch; default: 100, 100,000")
    flow.add_argument("--once", action="store_true", help="take what there is, and end")
    flow.set_defaults(command=_stream)
    read = commands.add_parser("read", help="write events as Parquet, each once, their records as columns")
    read.add_argument("schema", help="name of the schema: its topic is read")
    read.add_argument("--to", required=True, help="folder of the table, written anew")
    read.add_argument("--as-json", action="store_true", help="records as JSON, in place of columns of their own")
    read.add_argument("--message", help="Protobuf only: full name of the message; default: the first")
    _add_spark(read)
    read.set_defaults(command=_read)
    return parser


def _add_records(command: argparse.ArgumentParser) -> None:
    command.add_argument("schema", help="name of the schema; - where messages say theirs")
    command.add_argument("--rejects", required=True, help="folder of the table of refused records")
    command.add_argument("--destination", help="database that consumers should load the records into")
    command.add_argument("--version", type=int, help="of the schema; default: the latest")
    command.add_argument("--message", help="Protobuf only: full name of the message; default: the first")
    command.add_argument("--principal", default=ANONYMOUS, help="who sends; default: anonymous")
    command.add_argument("--json", action="store_true", help="the report as one line of JSON")
    _add_spark(command)


def _add_spark(command: argparse.ArgumentParser) -> None:
    command.add_argument("--master", help="Spark's master, without spark-submit; default: local[*]")
    command.add_argument("--conf", action="append", default=[], metavar="NAME=VALUE", help="a setting of Spark")


def session_of(asked: argparse.Namespace) -> SparkSession:
    conf = dict(pair.partition("=")[::2] for pair in asked.conf)
    return open_session(master=asked.master, conf=conf)


def _ingest(asked: argparse.Namespace) -> int:
    job = asyncio.run(driver.prepare(read_environment(), label_of(asked), ", ".join(asked.source)))
    spark = session_of(asked)
    source = source_of(asked, job)
    frame = source.frame(spark)
    if asked.files:
        files = Files(asked.files, asked.copy)
        report = binaries.ingest(frame, asyncio.run(with_files(job, files)), source, files, asked.rejects)
    else:
        report = batch.ingest(frame, job, source, asked.rejects)
    print(report.json() if asked.json else report.text())
    return REFUSED if report.rejected else OK


def _stream(asked: argparse.Namespace) -> int:
    label = None if asked.schema == "-" else label_of(asked)
    topic = asked.source.removeprefix("topic:") if asked.source.startswith("topic:") else None
    if label is None and topic is None:
        return _failed("Lines of a folder do not say their schema: name it in place of -.", USAGE)
    environment = read_environment()
    job = asyncio.run(driver.prepare(environment, label, asked.source))
    spark = session_of(asked)
    source: JsonLines | Messages
    if topic is None:
        source = JsonLines([asked.source], environment)
        frame = stream.landing(spark, asked.source, asked.most or stream.FILES)
    else:
        source = Messages({**reader_options(environment), "subscribe": topic}, label)
        frame = stream.messages(spark, source, asked.most or stream.MESSAGES)

    def told(number: int, report: Report) -> None:
        print(report.json() if asked.json else f"batch {number}: {report.text()}", flush=True)

    places = stream.Places(asked.rejects, asked.checkpoint)
    stream.wait(stream.start(frame, job, source, places, once=asked.once, told=told))
    return OK


def _read(asked: argparse.Namespace) -> int:
    schema, _ = address.names(asked.schema, None, None)
    environment = read_environment()
    label = Label(schema or "", message=address.message_name(asked.message))
    job = asyncio.run(driver.prepare(environment, label, asked.schema))
    found = events.read_events(session_of(asked), environment, [job.settings.topic_of(label.schema)])
    if not asked.as_json:
        found = events.typed(found, asyncio.run(driver.shape_of(job)))
    found.write.mode("overwrite").parquet(asked.to)
    return OK


def label_of(asked: argparse.Namespace) -> Label:
    """Where the records go. Raises `BadName`, `BadParameter`."""
    schema, destination = address.names(asked.schema, asked.destination, None)
    message = address.message_name(asked.message)
    return Label(schema or "", destination, asked.version, message, asked.principal)


def source_of(asked: argparse.Namespace, job: Job) -> Source:
    """The source of the files that are named. Raises `TableError`."""
    format_ = asked.format or next(
        (name for name, suffixes in FORMATS.items() if asked.source[0].lower().rstrip("/").endswith(suffixes)), "lines"
    )
    if format_ == "lines":
        return JsonLines(asked.source, job.environment)
    if format_ == "json":
        return JsonTexts(asked.source)
    shape = asyncio.run(driver.shape_of(job))
    if format_ == "parquet":
        return Parquet(asked.source, shape)
    return Tables(asked.source, shape, read_map(Path(asked.map)) if asked.map else None, file_column=asked.file_column)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
