"""Messages of a topic, above all of the unsecured one: each key says schema and destination, each value is JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

from inlake.errors import BadName, InlakeError
from inlake.model import ANONYMOUS, Label
from inlake.web.request import address
from inlake_spark.source import Block, Item, runs

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

COLUMNS = (
    "value AS record",
    "concat('kafka:', topic, '/', partition) AS file",
    "CAST(0 AS LONG) AS block",
    "offset AS row",
    "unix_millis(timestamp) AS time_ms",
    "CAST(key AS STRING) AS key",
    "CAST(try_element_at(filter(headers, h -> h.key = 'inlake_principal'), 1).value AS STRING) AS principal",
)


class Messages:
    """The messages of a topic; a record's position is its offset."""

    def __init__(self, options: Mapping[str, str], label: Label | None = None) -> None:
        """`options`: of Spark's Kafka source; `label`: where the records go, None: their keys say it."""
        self.options = dict(options)
        self._label = label

    def frame(self, spark: SparkSession) -> DataFrame:
        reader = spark.read.format("kafka").option("includeHeaders", "true")
        return reader.options(**self.options).load().selectExpr(*COLUMNS)

    def reader(self) -> Messages:
        return self

    def blocks(self, batch: pa.RecordBatch) -> Iterator[Block]:
        """A block for each partition; what is taken on keeps the time when it first came."""
        names = ("row", "record", "key", "principal", "time_ms")
        for first, end in runs(batch):
            part = batch.slice(first, end - first)
            items = [self._item(*row) for row in zip(*(part[name].to_pylist() for name in names), strict=True)]
            yield Block(part["file"][0].as_py(), 0, part["time_ms"][0].as_py(), items)

    def _item(self, offset: int, record: bytes | None, key: str | None, principal: str | None, ms: int) -> Item:
        label: Label | None = self._label
        try:
            if label is None:
                schema, destination = address.names(None, None, key)
                if schema is None:
                    raise BadName("The message has no key, which is the name of its schema.")
                label = Label(schema, destination, principal=unquote(principal or ANONYMOUS))
        except InlakeError as error:
            return Item(offset, offset, error.without_frames(), time_ms=ms)
        return Item(offset, offset, record or b"", label, time_ms=ms)
