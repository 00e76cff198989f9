"""Lines keep their numbers and their bytes over batches, blocks and files."""

from __future__ import annotations

import pyarrow as pa

from inlake_spark.source import Block
from inlake_spark.sources.lines import JsonLines, LineReader, runs

COLUMNS = pa.schema([("record", pa.binary()), ("file", pa.string()), ("block", pa.int64()), ("time_ms", pa.int64())])


def batch(*rows: tuple[bytes, str, int]) -> pa.RecordBatch:
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], []]
    return pa.record_batch([*columns, [1_000] * len(rows)], schema=COLUMNS)


def found(reader: LineReader, *batches: pa.RecordBatch) -> list[Block]:
    return [block for one in batches for block in reader.blocks(one)]


def test_lines_are_numbered_through_all_batches_of_a_block() -> None:
    blocks = found(JsonLines([]).reader(), batch((b"{}", "a", 0), (b"", "a", 0)), batch((b" {} \r", "a", 0)))
    assert [(item.number, item.position, item.record) for block in blocks for item in block.items] == [
        (1, 0, b"{}"),
        (3, 4, b"{}"),
    ]
    assert [block.blank for block in blocks] == [1, 0]


def test_a_block_within_a_file_counts_from_where_its_first_line_begins() -> None:
    reader = JsonLines([], {("a", 100): 117}).reader()
    (block,) = found(reader, batch((b"{}", "a", 100), (b"[1]", "a", 100)))
    assert [(item.number, item.position) for item in block.items] == [(1, 117), (2, 120)]


def test_a_batch_may_hold_several_files_and_several_blocks_of_one() -> None:
    blocks = found(
        JsonLines([], {("a", 100): 117}).reader(),
        batch((b"1", "a", 0), (b"2", "b", 0), (b"3", "b", 0), (b"4", "a", 100)),
        batch(),
    )
    assert [(block.place, block.start, len(block.items)) for block in blocks] == [
        ("a", 0, 1),
        ("b", 0, 2),
        ("a", 100, 1),
    ]
    assert list(runs(batch())) == []
