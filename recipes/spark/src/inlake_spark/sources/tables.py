"""Tables that people have (CSV, TSV, XLSX, ODS), read as the client reads them: cells become values by the schema."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from inlake.client.tables import Fault, Layout, Map, Plan, Shape, TableError, open_table
from inlake.errors import FieldError, InlakeError, RecordRejected
from inlake_spark.source import Block, Item
from inlake_spark.sources.whole import WholeFile, files_of, frame_of

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

PART = 1_000
"""Rows of a table that are encoded before the next are read."""


class Tables:
    """Files of tables; a record's position is its row."""

    def __init__(
        self,
        paths: Sequence[str],
        shape: Shape,
        map_: Map | None = None,
        *,
        layout: Layout | None = None,
        file_column: str | None = None,
    ) -> None:
        """`shape`: of the schema; `file_column`: see `inlake.client.tables.Plan`."""
        self.paths = list(paths)
        self._shape, self._map, self._layout, self._file_column = shape, map_, layout, file_column

    def frame(self, spark: SparkSession) -> DataFrame:
        return frame_of(spark, self.paths)

    def reader(self) -> Tables:
        return self

    def blocks(self, batch: pa.RecordBatch) -> Iterator[Block]:
        """Blocks of up to `PART` rows of each file."""
        for file in files_of(batch):
            part: list[Item] = []
            for item in self._items(file):
                part.append(item)
                if len(part) == PART:
                    yield Block(file.uri, 0, file.time_ms, part)
                    part = []
            yield Block(file.uri, 0, file.time_ms, part)

    def _items(self, file: WholeFile) -> Iterator[Item]:
        try:
            with open_table(io.BytesIO(file.content), self._layout, name=file.uri) as table:
                plan = Plan(table.columns, self._shape, self._map, file_column=self._file_column)
                for row in table:
                    converted = plan.convert(row)
                    record = converted.text if converted.text is not None else refusal(converted.faults)
                    yield Item(row.line, row.number, record, file=converted.file)
        except TableError as error:
            yield Item(0, 0, refusal(error.faults))


def refusal(faults: Iterable[Fault]) -> InlakeError:
    """What is wrong in a row, or with a table, as the error of a record."""
    errors = [FieldError(fault.pointer or "", fault.code, fault.sentence, "", fault.cell or "") for fault in faults]
    return RecordRejected(errors).without_frames()
