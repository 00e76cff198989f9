"""From files to lines of NDJSON."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from inlake.client.records import BrokenFile, read_lines, read_record


def lines_of(path: Path) -> list[bytes]:
    return [line for block in read_lines(str(path)) for line in block.splitlines()]


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_ndjson_comes_as_it_is(tmp_path: Path) -> None:
    content = b'{"a":1}\n\n{"b":  2}\r\nnot json\n{"c":3}'
    assert b"".join(read_lines(str(written(tmp_path, "x.ndjson", content)))) == content


def test_a_block_of_ndjson_ends_at_a_line(tmp_path: Path) -> None:
    line = b'{"text":"' + b"x" * 1000 + b'"}\n'
    blocks = [block for block in read_lines(str(written(tmp_path, "x.jsonl", line * 500))) if block]
    assert len(blocks) > 1
    assert all(block.endswith(b"\n") for block in blocks)
    assert b"".join(blocks) == line * 500


def test_what_came_is_sent_before_a_pipe_has_more(tmp_path: Path) -> None:
    assert list(read_lines(str(written(tmp_path, "x.ndjson", b"{}\n")))) == [b"{}\n"]
    reading, writing = os.pipe()
    os.write(writing, b'{"a": 1}\n')
    blocks = read_lines(f"/dev/fd/{reading}")
    assert [next(blocks), next(blocks)] == [b'{"a": 1}\n', b""]
    os.write(writing, b'{"a": 2}\n{"a": ')
    os.close(writing)
    assert b"".join(blocks) == b'{"a": 2}\n{"a": '
    os.close(reading)


def test_an_array_becomes_a_line_for_each_element(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf [\n  {"a": 1,\n   "b": [2]},\r\n  {"c": "]"}\n]\n'
    assert lines_of(written(tmp_path, "x.json", content)) == [b'{"a": 1,    "b": [2]}', b'{"c": "]"}']


def test_the_text_of_a_record_is_not_written_anew(tmp_path: Path) -> None:
    content = '{"n": 1.10, "big": 1e400, "twice": 1, "twice": 2, "s": "\\u00e9é"}'.encode()
    assert lines_of(written(tmp_path, "x.json", b"[" + content + b"]")) == [content]


def test_a_record_over_many_lines_is_one_line(tmp_path: Path) -> None:
    record = {"a": {"b": [1, 2]}, "c": "é"}
    lines = lines_of(written(tmp_path, "x.json", json.dumps(record, indent=2).encode()))
    assert [json.loads(line) for line in lines] == [record]


def test_several_records_in_a_json_file_are_several_lines(tmp_path: Path) -> None:
    assert lines_of(written(tmp_path, "x.json", b'{"a":1}\n{"b":2}')) == [b'{"a":1}', b'{"b":2}']


@pytest.mark.parametrize("content", [b"", b"  \n", b"[]", b"[ ]\n"])
def test_a_json_file_without_a_record_has_no_lines(tmp_path: Path, content: bytes) -> None:
    assert lines_of(written(tmp_path, "x.json", content)) == []


def test_a_gzip_file_is_read_through(tmp_path: Path) -> None:
    assert lines_of(written(tmp_path, "x.ndjson.gz", gzip.compress(b"{}\n{}\n"))) == [b"{}", b"{}"]


def test_a_cut_gzip_file_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "x.ndjson.gz", gzip.compress(b"{}\n" * 1000)[:-9])
    with pytest.raises(BrokenFile, match=r"x\.ndjson\.gz: this is not a whole gzip file"):
        lines_of(path)


def test_a_file_of_another_name_is_told_by_its_first_line(tmp_path: Path) -> None:
    assert lines_of(written(tmp_path, "lines", b'{"a":1}\nbroken\n')) == [b'{"a":1}', b"broken"]
    assert lines_of(written(tmp_path, "array", b"[\n{},\n{}]")) == [b"{}", b"{}"]
    assert lines_of(written(tmp_path, "pretty", b'{\n"a": 1\n}')) == [b'{ "a": 1 }']


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b'{\n"a": 1,\n}', "line 3, column 1"),
        (b'[{"a": 1}\n{"b": 2}]', "line 2, column 1"),
        (b'[{"a": 1},', "line 1, column 11"),
        (b"[{},\n]", "line 2, column 1"),
        (b"[{}]\n{}", "line 2, column 1"),
        (b'{"a": "b\nc"}', "line 1, column 9"),
    ],
)
def test_broken_json_is_named_by_line_and_column(tmp_path: Path, content: bytes, place: str) -> None:
    with pytest.raises(BrokenFile, match=place):
        lines_of(written(tmp_path, "x.json", content))


def test_json_that_is_not_utf8_is_named_by_its_byte(tmp_path: Path) -> None:
    with pytest.raises(BrokenFile, match="not UTF-8 at byte 6"):
        lines_of(written(tmp_path, "x.json", b'{"a":"\xe9"}'))


def test_json_nested_too_deeply_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BrokenFile, match="nested too deeply"):
        lines_of(written(tmp_path, "x.json", b"[" * 100_000))


def test_a_binary_goes_with_one_record(tmp_path: Path) -> None:
    assert json.loads(read_record(str(written(tmp_path, "one.json", b'{\n"a": 1}')))) == {"a": 1}
    with pytest.raises(BrokenFile, match="holds 2 records"):
        read_record(str(written(tmp_path, "two.ndjson", b"{}\n{}\n")))
