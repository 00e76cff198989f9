"""The body of a multipart request, record first and file second, read from disk as it is sent."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import UnsupportedOperation
from typing import BinaryIO
from uuid import uuid4

from inlake.client.media_types import media_type
from inlake.client.problems import FileChanged

BLOCK = 1 << 18


@dataclass(frozen=True, slots=True)
class Upload:
    """A binary to be sent: an open file with the name and the media type it shall have."""

    file: BinaryIO
    filename: str
    content_type: str

    @classmethod
    def of(cls, file: BinaryIO, filename: str, content_type: str | None = None) -> Upload:
        """The media type, where it is not given, is told from the file's name; a name that is not UTF-8 is read as
        Windows-1252."""
        name = readable(filename)
        return cls(file, name, content_type or media_type(name))


def readable(filename: str) -> str:
    """A file's name as text: one that is not UTF-8 is most often from an old Windows or Unix of western Europe."""
    try:
        filename.encode()
    except UnicodeEncodeError:
        return os.fsencode(filename).decode("cp1252", errors="replace")
    return filename


class RecordAndFile:
    """`multipart/form-data` (RFC 7578) with the parts `record` and `file`; it can be read once."""

    def __init__(self, record: bytes, upload: Upload) -> None:
        boundary = uuid4().hex
        self._upload = upload
        self._size = _bytes_left(upload.file)
        self._head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="record"\r\nContent-Type: application/json\r\n\r\n'
        ).encode()
        self._head += record
        self._head += (
            f"\r\n--{boundary}\r\n"
            f'Content-Disposition: form-data; name="file"; filename="{_quoted(upload.filename)}"\r\n'
            f"Content-Type: {_quoted(upload.content_type)}\r\n\r\n"
        ).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self.headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        if self._size is not None:
            self.headers["Content-Length"] = str(len(self._head) + self._size + len(self._tail))

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        left = self._size
        while block := self._upload.file.read(BLOCK if left is None else min(BLOCK, left)):
            if left is not None:
                left -= len(block)  # a file that grows while it is sent is sent as long as it was
            yield block
        if left:
            raise FileChanged(f"{self._upload.filename}: the file became shorter while it was sent; it is not in.")
        yield self._tail


def _bytes_left(file: BinaryIO) -> int | None:
    """How many bytes there are to read; None for a pipe."""
    try:
        here = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(here)
    except (OSError, UnsupportedOperation):
        return None
    return end - here


def _quoted(text: str) -> str:
    """A value inside quotes, escaped as browsers do (WHATWG HTML, multipart/form-data encoding algorithm)."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
