"""The body of a request with record and binary, read back by a parser that is not ours."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import multipart
import pytest

from inlake.client import Upload
from inlake.client.multipart import BLOCK, RecordAndFile


class Pipe(io.RawIOBase):
    """A file without a known end."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self._content.read(size)

    def tell(self) -> int:
        raise OSError("a pipe has no position")


class Part(NamedTuple):
    content: bytes
    content_type: str
    filename: str | None


def parsed(body: RecordAndFile) -> dict[str, Part]:
    content = b"".join(body)
    if "Content-Length" in body.headers:
        assert len(content) == int(body.headers["Content-Length"])
    _, options = multipart.parse_options_header(body.headers["Content-Type"])
    parts = multipart.MultipartParser(io.BytesIO(content), options["boundary"])
    found = {}
    for part in parts:
        found[part.name] = Part(part.raw, part.content_type, part.filename)
        part.close()
    return found


@pytest.mark.parametrize("size", [0, 1, BLOCK, 3 * BLOCK + 7])
def test_record_and_file_come_out_as_they_went_in(size: int) -> None:
    content = bytes(range(256)) * (size // 256 + 1)
    body = RecordAndFile(b'{"a": "\xc3\xa9"}', Upload(io.BytesIO(content[:size]), "scan.obj", "model/obj"))
    parts = parsed(body)
    assert list(parts) == ["record", "file"]
    assert parts["record"].content == b'{"a": "\xc3\xa9"}'
    assert parts["record"].content_type == "application/json"
    assert parts["file"] == (content[:size], "model/obj", "scan.obj")


def test_a_file_is_sent_from_where_it_stands() -> None:
    file = io.BytesIO(b"headbody")
    file.seek(4)
    assert parsed(RecordAndFile(b"{}", Upload(file, "x", "text/plain")))["file"].content == b"body"


def test_a_pipe_is_sent_without_a_length() -> None:
    body = RecordAndFile(b"{}", Upload(Pipe(b"x" * 1000), "x", "text/plain"))  # type: ignore[arg-type]
    assert "Content-Length" not in body.headers
    assert parsed(body)["file"].content == b"x" * 1000


def test_a_file_that_grows_is_sent_as_long_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "growing"
    path.write_bytes(b"x" * BLOCK)
    with path.open("rb") as file:
        body = RecordAndFile(b"{}", Upload(file, "x", "text/plain"))
        with path.open("ab") as more:
            more.write(b"y" * BLOCK)
        assert parsed(body)["file"].content == b"x" * BLOCK


def test_no_more_than_a_block_is_in_memory() -> None:
    file = io.BytesIO(b"x" * (5 * BLOCK))
    assert max(map(len, RecordAndFile(b"{}", Upload(file, "x", "text/plain")))) == BLOCK


def test_a_filename_cannot_break_out_of_its_header() -> None:
    name = 'a"; name="record\r\nX: y'
    parts = parsed(RecordAndFile(b"{}", Upload(io.BytesIO(b"x"), name, "text/plain")))
    assert list(parts) == ["record", "file"]
    assert parts["file"].filename == name


def test_a_name_outside_ascii_is_sent_as_utf8() -> None:
    parts = parsed(RecordAndFile(b"{}", Upload(io.BytesIO(b"x"), "Überströmer.png", "image/png")))
    assert parts["file"].filename == "Überströmer.png"
