"""What a source of records is: columns of a DataFrame, and how an executor makes records of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

from msgspec import Struct

from inlake.errors import InlakeError
from inlake.model import Label

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession


class Item(Struct, frozen=True, gc=False):
    """A record where it was found."""

    number: int
    """The line in its block, the row of a table or the offset of a message; lines and rows count from 1."""
    position: int
    """What its id is made of: the byte where it begins, or its number."""
    record: bytes | InlakeError
    """JSON as it stands, or why there is none."""
    label: Label | None = None
    """Where it goes, if it says so itself."""
    file: str | None = None
    """What names its binary: a path or a URI."""
    time_ms: int | None = None
    """When it first came, where that is another time than its block's."""

    @property
    def size(self) -> int:
        """Bytes of the record, if there is one."""
        return len(self.record) if isinstance(self.record, bytes) else 0


class Block(NamedTuple):
    """Records that stand together."""

    place: str
    """The file's URI, or topic and partition."""
    start: int
    """The byte of the file where Spark cut it: lines count from there."""
    time_ms: int
    """When the place was last changed, milliseconds since 1970: the time of its events."""
    items: list[Item]
    blank: int = 0
    """Lines that hold nothing."""


class Reader(Protocol):
    """Makes records of what Spark gives to a task; one for each task."""

    def blocks(self, batch: pa.RecordBatch) -> Iterator[Block]: ...


class Source(Protocol):
    """A kind of input. It travels to the executors, so it holds plain values only."""

    def frame(self, spark: SparkSession) -> DataFrame:
        """The rows, as the reader takes them."""
        ...

    def reader(self) -> Reader: ...


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
