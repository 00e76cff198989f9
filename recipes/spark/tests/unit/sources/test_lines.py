"""Lines keep their numbers and their bytes, wherever Spark cuts their files."""

from __future__ import annotations

import bz2
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from inlake_spark.blocks import FileBlock
from inlake_spark.job import JobStopped
from inlake_spark.source import Block, Item, runs
from inlake_spark.sources import lines
from inlake_spark.sources.lines import JsonLines, lines_of

TEXT = b"one\n\ntwo \r\nthree\n\xff\xfe\nlast"
WHERE = [(0, b"one"), (4, b""), (5, b"two \r"), (11, b"three"), (17, b"\xff\xfe"), (20, b"last")]


def of(text: bytes, start: int, end: int) -> list[tuple[int, bytes]]:
    """Each line with the byte where it begins."""
    found = []
    for at, some in lines_of(io.BytesIO(text), start, end):
        for line in some:
            found.append((at, line))
            at += len(line) + 1  # noqa: PLW2901
    return found


def source(*shares: Sequence[FileBlock]) -> JsonLines:
    """What the driver sends to the executors."""
    given = JsonLines([])
    given._shares = [list(share) for share in shares]
    return given


def blocks(given: JsonLines, *numbers: int) -> list[Block]:
    return list(given.reader().blocks(pa.record_batch({"id": pa.array(numbers, pa.int64())})))


def whole(file: Path) -> FileBlock:
    return FileBlock(file.as_uri(), 0, file.stat().st_size, 1_000)


@pytest.mark.parametrize("read", [1, 2, 3, 7, 1 << 20])
def test_every_line_is_in_one_block_wherever_files_are_cut(read: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "READ", read)
    for text, expected in ((TEXT, WHERE), (TEXT + b"\n", WHERE), (b"", []), (b"\n", [(0, b"")])):
        for size in range(1, len(text) + 2):
            cut = [of(text, start, min(start + size, len(text))) for start in range(0, len(text), size)]
            assert [line for block in cut for line in block] == expected, size


def test_a_line_beyond_measure_is_cut_and_the_next_ones_stand_where_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "READ", 4)
    monkeypatch.setattr(lines, "LONGEST", 10)
    text = b"a\n" + b"x" * 50 + b"\nb\n"
    ((_, first), (at, cut), after) = of(text, 0, len(text))
    assert (first, at, cut, after) == (b"a", 2, b"x" * len(cut), (53, b"b"))
    assert 10 < len(cut) <= 14
    assert of(text, 20, 40) == []
    assert of(text, 40, len(text)) == [(53, b"b")]


def test_lines_are_numbered_in_their_block_and_blank_ones_left_out(tmp_path: Path) -> None:
    file = tmp_path / "100 %.ndjson"
    file.write_bytes(b"\xef\xbb\xbf{}\n\n [1] \r\n")
    (block,) = blocks(source([], [whole(file)]), 1)
    assert (block.place, block.start, block.time_ms, block.blank) == (file.as_uri(), 0, 1_000, 1)
    assert block.items == [Item(1, 0, b"{}"), Item(3, 7, b"[1]")]
    assert file.as_uri().endswith("100%20%25.ndjson")


def test_compressed_files_are_read_whole_by_their_first_block(tmp_path: Path) -> None:
    for suffix, packed in ((".gz", gzip.compress(TEXT) + gzip.compress(b"\nmore\n")), (".bz2", bz2.compress(TEXT))):
        file = tmp_path / f"a.ndjson{suffix}"
        file.write_bytes(packed)
        first, second = (FileBlock(file.as_uri(), start, start + 9, 0) for start in (0, 9))
        records = [item.record for block in blocks(source([first, second]), 0) for item in block.items]
        assert records == [b"one", b"two", b"three", b"\xff\xfe", b"last", *([b"more"] if suffix == ".gz" else [])]


def test_a_file_that_is_gone_stops_the_task_with_its_name(tmp_path: Path) -> None:
    gone = FileBlock((tmp_path / "gone.ndjson").as_uri(), 0, 9, 0)
    with pytest.raises(JobStopped, match=r"store_unavailable: file:///.*/gone\.ndjson cannot be read"):
        blocks(source([gone]), 0)


def test_rows_of_a_batch_are_taken_by_the_block_they_are_of() -> None:
    def rows(*places: tuple[str, int]) -> pa.RecordBatch:
        files, starts = zip(*places, strict=True) if places else ((), ())
        return pa.record_batch({"file": pa.array(files, pa.string()), "block": pa.array(starts, pa.int64())})

    assert list(runs(rows())) == []
    assert list(runs(rows(("a", 0), ("a", 0)))) == [(0, 2)]
    assert list(runs(rows(("a", 0), ("b", 0), ("b", 0), ("b", 7)))) == [(0, 1), (1, 3), (3, 4)]
