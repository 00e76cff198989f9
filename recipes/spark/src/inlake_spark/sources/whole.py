"""Files that are read whole, one in a task: tables and JSON texts cannot be cut at a byte."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession


class WholeFile(NamedTuple):
    """A file and what is in it."""

    uri: str
    time_ms: int
    """When it was last changed, milliseconds since 1970."""
    content: bytes


def frame_of(spark: SparkSession, paths: list[str]) -> DataFrame:
    """The files as rows; one is at most 2 GiB, the most that Spark hands over in one piece."""
    return (
        spark.read.format("binaryFile")
        .load(paths)
        .selectExpr("path AS file", "unix_millis(modificationTime) AS time_ms", "content")
    )


def files_of(batch: pa.RecordBatch) -> Iterator[WholeFile]:
    for n in range(len(batch)):
        yield WholeFile(*(batch[name][n].as_py() for name in ("file", "time_ms", "content")))
