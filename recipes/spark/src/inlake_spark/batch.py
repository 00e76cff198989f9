"""A batch: the records of a source, published by the executors; the rejects as a table, and a report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from inlake_spark import hadoop
from inlake_spark.executor import Ingest
from inlake_spark.job import Job
from inlake_spark.outcomes import DDL
from inlake_spark.report import COUNTED, Report, causes_of
from inlake_spark.source import Source

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row

REJECTS = (
    "input",
    "file",
    "line",
    "position",
    "schema",
    "destination",
    "status",
    "code",
    "detail",
    "errors",
    "cause",
    "record",
)
"""Columns of the table of rejects."""
BEFORE = pa.schema([("file", pa.string()), ("block", pa.int64()), ("before", pa.int64())])
"""How many lines of a file stand before a block."""


def ingest(frame: DataFrame, job: Job, source: Source, rejects: str, *, leave_empty: bool = True) -> Report:
    """Publishes all records of a DataFrame of the source.

    `rejects`: the folder of the table, written anew; where nothing was refused it is empty, or not made without
    `leave_empty`. One pass over the input, and no shuffle.
    """
    broadcast = frame.sparkSession.sparkContext.broadcast(job)
    return collect(frame.mapInArrow(Ingest(broadcast, source), DDL), job, rejects, leave_empty=leave_empty)


def collect(outcomes: DataFrame, job: Job, rejects: str, *, leave_empty: bool = True) -> Report:
    """Runs the job whose outcomes these are, once.

    What the executors give back is kept in a folder beside the table until its lines are numbered.
    """
    spark, began = outcomes.sparkSession, time.monotonic()
    kept = f"{rejects.rstrip('/')}.{job.name}.part"
    try:
        outcomes.write.mode("overwrite").parquet(kept)
        told = spark.read.schema(DDL).parquet(kept)
        blocks = told.where("kind = 'block'").select("file", "block", *COUNTED).collect()
        totals = {name: sum(block[name] for block in blocks) for name in COUNTED}
        refused = totals["rejected"]
        if refused or leave_empty:
            numbered(told, _lines_before(blocks) if refused else [], job.input).write.mode("overwrite").parquet(rejects)
        else:
            hadoop.delete(spark, rejects)  # of an attempt before
        return Report(**totals, seconds=time.monotonic() - began, causes=causes_of(told) if refused else ())
    finally:
        hadoop.delete(spark, kept)


def _lines_before(blocks: Sequence[Row]) -> list[tuple[str, int, int]]:
    """File, block and how many lines of the file stand before it, for all blocks but the first."""
    before: dict[str, int] = {}
    found: dict[tuple[str, int], int] = {}
    for file, block, lines in sorted((block["file"], block["block"], block["lines"]) for block in blocks):
        if block:
            found.setdefault((file, block), before.get(file, 0))
        before[file] = before.get(file, 0) + lines
    return [(*place, count) for place, count in found.items()]


def numbered(outcomes: DataFrame, bases: list[tuple[str, int, int]], input_: str) -> DataFrame:
    """The refused records, with the numbers of their lines in their files."""
    from pyspark.sql import functions as f

    rejects: Any = outcomes.where("kind = 'reject'")
    if bases:
        table = pa.Table.from_pylist([dict(zip(BEFORE.names, one, strict=True)) for one in bases], schema=BEFORE)
        before = outcomes.sparkSession.createDataFrame(table)  # a list would go through Python workers of its own
        rejects = rejects.join(f.broadcast(before), ["file", "block"], "left")
        line = f.col("number") + f.coalesce(f.col("before"), f.lit(0))
    else:
        line = f.col("number")
    return rejects.withColumn("line", line).withColumn("input", f.lit(input_)).select(*REJECTS)
