"""Where the first line of each block begins: Spark cuts files at bytes, and ids must not depend on where."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING, Any, NamedTuple

from inlake.web.request.address import BOM
from inlake_spark import hadoop

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

AT_ONCE = 16
"""Blocks looked into side by side; each costs the store one read of some kilobytes."""
LOOK = 1 << 16
"""Bytes read in one go."""


class Cut(NamedTuple):
    """A block of a file."""

    file: str
    """As `_metadata.file_path` has it: a URI, percent-encoded."""
    start: int
    path: str
    """As Hadoop opens it."""


def first_lines(frame: DataFrame) -> dict[tuple[str, int], int]:
    """The byte where the first line of each block begins, by file and block, of those that do not begin their file.

    A line belongs to the block in which it begins (Hadoop's `LineRecordReader`), so the first one of a block stands
    behind the first newline in it.
    """
    cut = [block for block in blocks_of(frame) if block.start > 0]
    if not cut:
        return {}
    spark = frame.sparkSession
    files = sorted({block.path for block in cut})
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(lambda block: _behind_newline(spark, block), cut)
        left_out = dict(zip(files, pool.map(lambda path: _byte_order_mark(spark, path), files), strict=True))
        return {(one.file, one.start): at - left_out[one.path] for one, at in zip(cut, found, strict=True)}


def blocks_of(frame: DataFrame) -> list[Cut]:
    """The blocks that Spark reads, as its own plan has them."""
    jvm: Any = frame.sparkSession._jvm  # noqa: SLF001 - PySpark has no other way to the plan
    plan: Any = frame._jdf  # noqa: SLF001
    blocks: list[Cut] = []
    for partition in plan.queryExecution().toRdd().partitions():
        for file in partition.files():
            name = jvm.org.apache.hadoop.fs.Path(file.urlEncodedPath()).toString()
            blocks.append(Cut(name, file.start(), file.toPath().toString()))
    return blocks


def _behind_newline(spark: Any, block: Cut) -> int:
    at = block.start
    with closing(hadoop.open_file(spark, block.path)) as stream:
        stream.seek(at)
        while data := bytes(stream.readNBytes(LOOK)):
            newline = data.find(b"\n")
            if newline >= 0:
                return at + newline + 1
            at += len(data)
    return at


def _byte_order_mark(spark: Any, path: str) -> int:
    """Its bytes: Hadoop leaves it out, and no line counts it."""
    with closing(hadoop.open_file(spark, path)) as stream:
        return len(BOM) if bytes(stream.readNBytes(len(BOM))) == BOM else 0
