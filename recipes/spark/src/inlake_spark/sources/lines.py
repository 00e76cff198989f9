"""JSON lines: files of any size, shared out by Spark in blocks; a record's position is the byte where its line begins.

The Python workers read the files themselves: Spark would cut each line out in the JVM, copy it into a row, and that
into Arrow, and would not tell where it stood.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from inlake.errors import StoreUnavailable
from inlake.web.request.address import BOM
from inlake_spark.blocks import FileBlock, shares_of
from inlake_spark.files import compression_of, open_file
from inlake_spark.job import JobStopped
from inlake_spark.source import Block, Item

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

BLANKS = b" \t\r"
READ = 4 << 20
"""Bytes that are read in one go."""
LONGEST = 64 << 20
"""Bytes of a line that are kept: one so long is refused for its size, whatever else is in it."""


class JsonLines:
    """Files of JSON lines, also compressed ones (by their suffix): lines end with a newline and nothing else."""

    def __init__(self, paths: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """`environment`: the `AWS_*` variables, for files in S3."""
        self.paths = list(paths)
        self._environment = {name: value for name, value in (environment or {}).items() if name.startswith("AWS_")}
        self._shares: list[list[FileBlock]] = []

    def frame(self, spark: SparkSession) -> DataFrame:
        return self.shared_out(spark.read.text(self.paths, lineSep="\n"))

    def shared_out(self, text: DataFrame) -> DataFrame:
        """A row for each task that would read the files of a DataFrame that `text` made: the number of its share."""
        self._shares = shares_of(text)
        return text.sparkSession.range(0, len(self._shares), 1, max(len(self._shares), 1))

    def reader(self) -> JsonLines:
        return self

    def blocks(self, batch: pa.RecordBatch) -> Iterator[Block]:
        """The lines of the shares, some megabytes in one go; blank ones are counted and left out."""
        for number in batch["id"].to_pylist():
            for block in self._shares[number]:
                try:
                    yield from self._read(block)
                except OSError as error:
                    raise JobStopped(StoreUnavailable(f"{block.file} cannot be read: {error}")) from error

    def _read(self, block: FileBlock) -> Iterator[Block]:
        file, start, end, time_ms = block
        if compression_of(file):
            if start:
                return  # Spark would cut what nothing but its own reader can enter in the middle
            end = sys.maxsize
        number = 0
        with closing(open_file(file, self._environment)) as stream:
            for at, lines in lines_of(stream, start, end):
                items = []
                for line in lines:
                    number += 1
                    record = line.strip(BLANKS)
                    if not at:
                        record = record.removeprefix(BOM)
                    if record:
                        items.append(Item(number, at, record))
                    at += len(line) + 1  # noqa: PLW2901
                yield Block(file, start, time_ms, items, len(lines) - len(items))


def lines_of(stream: Any, start: int, end: int) -> Iterator[tuple[int, list[bytes]]]:
    """The lines that begin from `start` to before `end`: the byte where the first of some begins, and these.

    Of one longer than `LONGEST` only so much is given.
    """
    at, rest, inside = start, b"", start > 0
    if inside:  # a line that begins before `start` is another block's
        at -= 1
        stream.seek(at)
    while (left := end - at - len(rest)) > 0 or rest:
        data = stream.read(min(READ, left) if left > 0 else READ)
        lines = data.split(b"\n")
        lines[0] = rest + lines[0]  # not all of it: megabytes would be copied for that
        rest = lines.pop()
        if left <= 0 and lines:
            yield at, lines[:1]
            return
        if inside and lines:
            inside = False
            at += len(lines.pop(0)) + 1
        if lines:
            yield at, lines
            at += sum(map(len, lines)) + len(lines)
        if not data:
            if rest:
                yield at, [rest]
            return
        if inside or len(rest) > LONGEST:
            if not inside:
                yield at, [rest]
            at, rest, inside = at + len(rest), b"", True
