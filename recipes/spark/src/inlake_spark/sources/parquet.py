"""Parquet: a row is a record, its position the number of the row in its file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from inlake.client.tables import Shape
from inlake_spark.source import Block, Item, runs

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from inlake.client.tables import Field


OPTIONS = "map('ignoreNullFields', 'false', 'timestampFormat', '{0}[XXX]', 'timestampNTZFormat', '{0}')".format(
    "yyyy-MM-dd''T''HH:mm:ss[.SSSSSS]"
)
"""Of `to_json`, which has milliseconds if it is not told otherwise; Spark's times have microseconds."""
_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


class Parquet:
    """Files of Parquet. Spark writes a row as JSON (`to_json`): decimals as numbers, dates and times as ISO 8601."""

    def __init__(self, paths: Sequence[str], shape: Shape) -> None:
        """`shape`: of the schema; a null where JSON Schema takes none is a field that is absent."""
        self.paths = list(paths)
        self._shape = shape

    def frame(self, spark: SparkSession) -> DataFrame:
        rows = spark.read.parquet(*self.paths)
        columns = ", ".join(f"`{name.replace('`', '``')}`" for name in rows.columns)
        return rows.selectExpr(
            f"CAST(to_json(struct({columns}), {OPTIONS}) AS BINARY) AS record",
            "_metadata.file_path AS file",
            "CAST(0 AS LONG) AS block",
            "_metadata.row_index AS row",
            "unix_millis(_metadata.file_modification_time) AS time_ms",
        )

    def reader(self) -> Parquet:
        return self

    def blocks(self, batch: pa.RecordBatch) -> Iterator[Block]:
        """The rows of the batch, by file."""
        drop = self._shape.language == "JSON"
        for first, end in runs(batch):
            part = batch.slice(first, end - first)
            rows = zip(part["row"].to_pylist(), part["record"].to_pylist(), strict=True)
            items = [Item(n + 1, n, without_nulls(record, self._shape) if drop else record) for n, record in rows]
            yield Block(part["file"][0].as_py(), 0, part["time_ms"][0].as_py(), items)


def without_nulls(record: bytes, shape: Shape) -> bytes:
    """The record without the nulls that its schema does not take: a column of Parquet always has a value or null."""
    if b"null" not in record:
        return record
    return _encode(_pruned(_decode(record), shape.root))


def _pruned(value: Any, field: Field | None) -> Any:
    if isinstance(value, dict):
        inner = {name: (field.field(name) if field else None) for name in value}
        return {
            name: _pruned(one, inner[name])
            for name, one in value.items()
            if one is not None or inner[name] is None or inner[name].nullable  # type: ignore[union-attr]
        }
    if isinstance(value, list):
        return [_pruned(one, field.items if field else None) for one in value]
    return value
