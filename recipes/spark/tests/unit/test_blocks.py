"""Tasks get about as much to read as each other, and all bytes once."""

from __future__ import annotations

import pytest

from inlake_spark.blocks import OPEN, FileBlock, evenly

MIB = 1 << 20


def blocks(file: str, *ends: int) -> list[FileBlock]:
    """A file in blocks that end there."""
    return [FileBlock(file, start, end, 1) for start, end in zip((0, *ends), ends, strict=False)]


@pytest.mark.parametrize("tasks", [3, 4, 6])
def test_all_tasks_read_as_much_as_the_others(tasks: int) -> None:
    planned = [[block] for block in blocks("file:/a.ndjson", 128 * MIB, 256 * MIB, 260 * MIB)]
    shares = evenly(planned, tasks)
    assert len(shares) == tasks
    sizes = [sum(block.end - block.start for block in share) for share in shares]
    assert max(sizes) - min(sizes) <= 2 * OPEN
    read = [(block.start, block.end) for share in shares for block in share]
    assert [end for _, end in read[:-1]] == [start for start, _ in read[1:]]
    assert (read[0][0], read[-1][1]) == (0, 260 * MIB)


def test_a_compressed_file_is_never_cut() -> None:
    planned = [blocks(f"file:/{n}.ndjson.gz", 100 * MIB) for n in range(3)]
    assert evenly(planned, 4) == planned


def test_small_files_are_shared_out_by_their_number_too() -> None:
    large, small = blocks("file:/large.ndjson", 100 * MIB), [blocks(f"file:/{n}.ndjson", 10) for n in range(100)]
    first, second = evenly([large, *small], 2)
    assert [block.file for block in first] == ["file:/large.ndjson"]
    assert [block for block in second if block.file != "file:/large.ndjson"] == [block for (block,) in small]
