"""The bytes of a table: read from the start as often as it takes to see what they are."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from inlake.client.tables.encoding import BLOCK, SAMPLE
from inlake.client.tables.faults import no_table

_BINARIES = (b"\xff\xd8\xff", b"\x89PNG", b"%PDF-", b"GIF8", b"II*\0", b"MM\0*")
"""How JPEG, PNG, PDF, GIF and TIFF begin: a name mistyped."""


class Source:
    """A stream whose beginning was looked at, and can be read from the start once more."""

    def __init__(self, stream: BinaryIO, name: str) -> None:
        self.stream = stream
        self.suffix = Path(name.removesuffix(".gz")).suffix.lower()
        self.sample = _read_up_to(stream, SAMPLE)

    def rest(self) -> Iterator[bytes]:
        """The bytes behind the sample, where the stream can be read twice; nothing where it cannot."""
        if self.stream.seekable():
            while block := self.stream.read(BLOCK):
                yield block

    def again(self) -> BinaryIO:
        """The stream from its start."""
        if self.stream.seekable():
            self.stream.seek(0)
            return self.stream
        return cast("BinaryIO", io.BufferedReader(_Joined(self.sample, self.stream), BLOCK))


class _Joined(io.RawIOBase):
    """Bytes that were read already, and the rest of a pipe."""

    def __init__(self, begun: bytes, stream: BinaryIO) -> None:
        super().__init__()
        self._begun = io.BytesIO(begun)
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self._begun.read(len(view)) or self._stream.read(len(view))
        view[: len(data)] = data
        return len(data)


def _read_up_to(stream: BinaryIO, size: int) -> bytes:
    parts: list[bytes] = []
    while size > 0 and (data := stream.read(size)):
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def find_format(source: Source) -> str:
    """Finds the format by what the file holds; its name counts for NDJSON alone."""
    sample = source.sample
    if sample.startswith(b"PK\x03\x04"):
        return _format_of_archive(source)
    if sample.startswith(b"\xd0\xcf\x11\xe0"):
        raise no_table("The file is a workbook of before Excel 2007, or one with a password.", "Save it as .xlsx.")
    text = sample[:1024].removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:15].lower().startswith((b"<html", b"<table", b"<!doctype html", b"<?xml")):
        raise no_table(
            "The file is a page of HTML or XML, whatever its name says.",
            "Open it in a spreadsheet and save it as .xlsx.",
        )
    if source.suffix == ".json" or text.startswith((b"[{", b"[\n", b"[\r\n")):
        raise no_table("The file is JSON and no table.", "Its records are sent as they are.")
    if sample.startswith(_BINARIES):
        raise no_table("The file is a picture or a document.", "Tables are CSV, TSV, XLSX, ODS and NDJSON.")
    if not text:
        raise no_table("The file is empty.", "", code="empty_table")
    return "ndjson" if source.suffix in {".ndjson", ".jsonl"} or text.startswith((b'{"', b"{}", b"{ ")) else "csv"


def _format_of_archive(source: Source) -> str:
    import zipfile  # noqa: PLC0415 - most tables are none

    try:
        with zipfile.ZipFile(io.BytesIO(source.again().read())) as archive:
            names = set(archive.namelist())
            if "xl/workbook.xml" in names:
                return "xlsx"
            if "mimetype" in names and archive.read("mimetype").startswith(
                b"application/vnd.oasis.opendocument.spreadsheet"
            ):
                return "ods"
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
        raise no_table("The file is a damaged ZIP archive.", "Copy or save it anew.") from None
    raise no_table("The file is a ZIP archive and no workbook.", "Tables are CSV, TSV, XLSX, ODS and NDJSON.")
