"""JSON files: one record each, or an array of records; a record's position is its number in the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from inlake.errors import InlakeError
from inlake.formats.json_text import malformed_json
from inlake.web.request.address import BOM
from inlake_spark.source import Block, Item
from inlake_spark.sources.whole import WholeFile, files_of, frame_of

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

_items = msgspec.json.Decoder(list[msgspec.Raw]).decode


class JsonTexts:
    """Files of JSON."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = list(paths)

    def frame(self, spark: SparkSession) -> DataFrame:
        return frame_of(spark, self.paths)

    def reader(self) -> JsonTexts:
        return self

    def blocks(self, batch: pa.RecordBatch) -> Iterator[Block]:
        """A block for each file."""
        for file in files_of(batch):
            items = [Item(n, n, record) for n, record in enumerate(_records(file), 1)]
            yield Block(file.uri, 0, file.time_ms, items)


def _records(file: WholeFile) -> list[bytes | InlakeError]:
    text = file.content.removeprefix(BOM).strip()
    if not text.startswith(b"["):
        return [text] if text else []
    try:
        return [bytes(raw).strip() for raw in _items(text)]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return [malformed_json(text, error).without_frames()]
