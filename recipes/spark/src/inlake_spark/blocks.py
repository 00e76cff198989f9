"""Which bytes of which files a task reads: Spark lists and cuts them, and here all cores get as much as the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from inlake_spark.files import compression_of

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


OPEN = 1 << 20
"""Bytes that could be read while a file is opened, about."""


def shares_of(text: DataFrame) -> list[list[FileBlock]]:
    """The blocks of each task: those that Spark would read for a DataFrame, shared out evenly to all cores."""
    planned = _planned(text)
    cores = text.sparkSession.sparkContext.defaultParallelism
    return planned if len(planned) < cores else evenly(planned, -(-len(planned) // cores) * cores)


def evenly(planned: list[list[FileBlock]], tasks: int) -> list[list[FileBlock]]:
    """The same bytes in shares that take about the same time, at most so many.

    Spark's last task is what is left over, and cores that have one task less than others wait for these.
    """
    blocks = [block for share in planned for block in share]
    total = sum(block.end - block.start + OPEN for block in blocks)
    room = -(-total // tasks)
    shares: list[list[FileBlock]] = [[] for _ in range(tasks)]
    at = 0
    for block in blocks:
        at += OPEN
        is_whole, start = compression_of(block.file) is not None, block.start
        while start < block.end:
            number = min(at // room, tasks - 1)
            end = block.end if is_whole or number == tasks - 1 else min(start + (number + 1) * room - at, block.end)
            shares[number].append(block._replace(start=start, end=end))
            at, start = at + end - start, end
    return [share for share in shares if share]


def _planned(text: DataFrame) -> list[list[FileBlock]]:
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
