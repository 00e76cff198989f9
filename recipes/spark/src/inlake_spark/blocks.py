"""Which bytes of which files a task reads: Spark lists, cuts and shares them out, and no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class FileBlock(NamedTuple):
    """Bytes of a file; whose lines begin there belong to it."""

    file: str
    """As `_metadata.file_path` has it: a URI, percent-encoded."""
    start: int
    end: int
    time_ms: int
    """When the file was last changed, milliseconds since 1970."""


def shares_of(text: DataFrame) -> list[list[FileBlock]]:
    """The blocks of each task that would read the files of a DataFrame, by Spark's own plan."""
    path = text.sparkSession._jvm.org.apache.hadoop.fs.Path  # noqa: SLF001 - PySpark has no other way
    plan: Any = text._jdf  # noqa: SLF001
    shares = []
    for task in plan.queryExecution().toRdd().partitions():
        share = []
        for file in task.files():
            start = file.start()
            name = path(file.urlEncodedPath()).toString()
            share.append(FileBlock(name, start, start + file.length(), file.modificationTime()))
        shares.append(share)
    return shares
