"""A stream: files that land in a folder, or messages of a topic, in micro-batches that each are a batch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inlake_spark import batch
from inlake_spark.job import Job
from inlake_spark.report import Report
from inlake_spark.source import Source
from inlake_spark.sources.lines import JsonLines
from inlake_spark.sources.messages import COLUMNS, Messages

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.streaming import StreamingQuery

FILES = 100
MESSAGES = 100_000


@dataclass(frozen=True)
class Places:
    """Where a stream keeps what it leaves."""

    rejects: str
    """Folder of the table of refused records: `batch=<number>` in it is written anew when a micro-batch is repeated."""
    checkpoint: str
    """Spark's own: what was read. Without it a stream begins from the start, and makes the same events again."""


def landing(spark: SparkSession, folder: str, files: int = FILES) -> DataFrame:
    """The lines of files that come into a folder: move them there whole, under names that they keep.

    `files`: of one micro-batch.
    """
    return spark.readStream.option("maxFilesPerTrigger", files).text(folder, lineSep="\n")


def messages(spark: SparkSession, source: Messages, count: int = MESSAGES) -> DataFrame:
    """The messages of a topic, from its start."""
    options = {"includeHeaders": "true", "startingOffsets": "earliest", "maxOffsetsPerTrigger": str(count)}
    return spark.readStream.format("kafka").options(**options | source.options).load().selectExpr(*COLUMNS)


def start(
    frame: DataFrame,
    job: Job,
    source: Source,
    places: Places,
    *,
    once: bool = False,
    told: Callable[[int, Report], None] = lambda number, report: None,  # noqa: ARG005
) -> StreamingQuery:
    """Begins the stream; `once`: it ends when it has taken what there is.

    `told` gets the report of each micro-batch. A micro-batch that fails ends the query with what stopped it; started
    again with the same checkpoint, it repeats that micro-batch and makes the same events.
    """

    def publish(rows: DataFrame, number: int) -> None:
        if isinstance(source, JsonLines):
            rows = source.shared_out(rows)
        report = batch.ingest(rows, job, source, f"{places.rejects.rstrip('/')}/batch={number}", leave_empty=False)
        told(number, report)

    writer = frame.writeStream.foreachBatch(publish).option("checkpointLocation", places.checkpoint)
    return (writer.trigger(availableNow=True) if once else writer.trigger(processingTime="1 second")).start()


def wait(query: StreamingQuery) -> None:
    """Until the stream ends. Raises what ended it; Ctrl-C lets the micro-batch at hand end."""
    try:
        query.awaitTermination()
    except KeyboardInterrupt:
        query.stop()
        while query.isActive:
            time.sleep(0.1)
