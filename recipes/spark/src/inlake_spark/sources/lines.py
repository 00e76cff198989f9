"""JSON lines: files of any size, cut by Spark into blocks; a record's position is the byte where its line begins."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from inlake_spark.source import Block, Item

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

BLANKS = b" \t\r"


def columns(text: DataFrame) -> DataFrame:
    """The columns that the reader takes, of a DataFrame that `text` made. Bytes that are not UTF-8 stay as they are."""
    return text.selectExpr(
        "CAST(value AS BINARY) AS record",
        "_metadata.file_path AS file",
        "_metadata.file_block_start AS block",
        "unix_millis(_metadata.file_modification_time) AS time_ms",
    )


class JsonLines:
    """Files of JSON lines, also compressed ones (by their suffix): lines end with a newline and nothing else."""

    def __init__(self, paths: Sequence[str], starts: Mapping[tuple[str, int], int] | None = None) -> None:
        """`starts`: where the first line of a block begins, by file and block; absent for the first block of a file."""
        self.paths = list(paths)
        self.starts = dict(starts or {})

    def frame(self, spark: SparkSession) -> DataFrame:
        return columns(spark.read.text(self.paths, lineSep="\n"))

    def reader(self) -> LineReader:
        return LineReader(self.starts)


class LineReader:
    """Numbers the lines of a task's blocks."""

    def __init__(self, starts: Mapping[tuple[str, int], int]) -> None:
        self._starts = starts
        self._block: tuple[str, int] | None = None
        self._number = self._at = 0

    def blocks(self, batch: pa.RecordBatch) -> Iterator[Block]:
        """The lines of the batch, by block; blank ones are counted and left out."""
        for first, end in runs(batch):
            part = batch.slice(first, end - first)
            block = (part["file"][0].as_py(), part["block"][0].as_py())
            if block != self._block:
                self._block, self._number, self._at = block, 0, self._starts[block] if block[1] else 0
            items = self._items(part["record"].to_pylist())
            yield Block(*block, part["time_ms"][0].as_py(), items, len(part) - len(items))

    def _items(self, lines: list[bytes]) -> list[Item]:
        number, at, items = self._number, self._at, []
        for line in lines:
            number += 1
            if record := line.strip(BLANKS):
                items.append(Item(number, at, record))
            at += len(line) + 1
        self._number, self._at = number, at
        return items


def runs(batch: pa.RecordBatch) -> Iterator[tuple[int, int]]:
    """First and end of the rows that are of one block: Spark gives a task one block after the other."""
    files, blocks = batch["file"], batch["block"]
    last, first = len(batch) - 1, 0
    if last < 0:
        return
    if files[0] == files[last] and blocks[0] == blocks[last]:
        yield 0, last + 1
        return
    of_rows = list(zip(files.to_pylist(), blocks.to_pylist(), strict=True))
    for at in range(1, len(of_rows)):
        if of_rows[at] != of_rows[at - 1]:
            yield first, at
            first = at
    yield first, len(of_rows)
