"""From files and stdin to lines of NDJSON; the text of a record is sent as it is, never parsed and written anew."""

from __future__ import annotations

import gzip
import json
import re
import select
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader, RawIOBase
from pathlib import Path
from typing import BinaryIO, cast

from inlake.client.problems import ClientError

BLOCK = 1 << 16
STDIN = "-"
BOM = b"\xef\xbb\xbf"
SPACE = re.compile(r"[ \t\n\r]*")
ADVICE = {
    ".7z": "unpack it, and name the files in it.",
    ".bz2": "write `bunzip2 -c FILE | inlake send SCHEMA`.",
    ".tar": "unpack it, and name the files in it.",
    ".tgz": "unpack it, and name the files in it.",
    ".xls": "a spreadsheet of before Excel 2007; save it as .xlsx.",
    ".xml": "records are JSON: one a line, or an array.",
    ".xz": "write `xz -dc FILE | inlake send SCHEMA`.",
    ".zip": "unpack it, and name the files in it.",
    ".zst": "write `zstd -dc FILE | inlake send SCHEMA`.",
}
"""Advice for files that hold no records as they are, by the end of their names."""


class BrokenFile(ClientError):
    """A file of records is not there, is of another kind, or cannot be read to its end."""

    def __init__(self, name: str, reason: str, line: int | None = None, column: int | None = None) -> None:
        place = f", line {line}, column {column}" if line else ""
        super().__init__(f"{named(name)}{place}: {reason}")
        self.line = line
        self.reason = reason


def chosen(files: list[str] | None) -> list[str]:
    """The files to read, stdin if none is named. `BrokenFile` when one is not there, or is of another kind."""
    if not files and sys.stdin.isatty():
        raise BrokenFile(STDIN, "there are no records; name a file, or pipe records in.")
    for name in files or []:
        require_file(name)
        advice = ADVICE.get(Path(name).suffix.lower())
        if advice:
            raise BrokenFile(name, advice.replace("FILE", name))
    return files or [STDIN]


def require_file(name: str) -> None:
    """`BrokenFile` unless it is stdin, a file, or a pipe with a name."""
    if name == STDIN:
        return
    if not Path(name).exists():
        raise BrokenFile(name, "there is no such file.")
    if Path(name).is_dir():
        raise BrokenFile(name, "this is a folder; name the files in it.")


def read_lines(name: str, watch: Callable[[BinaryIO], BinaryIO] | None = None) -> Iterator[bytes]:
    """Records of a file or of stdin (`-`), in blocks of whole lines; an empty block asks to send what came so far,
    since nothing more is there now.

    NDJSON is a stream of any length. JSON (by the name `.json`, or when the first line is no whole object) is read
    at once: one record, several, or a top-level array of them, each of which becomes a line. `watch`: see
    `read_records`.
    """
    with _opened(name, watch) as stream:
        if _holds_lines(name, stream):
            yield from _blocks(stream)
        else:
            for _, record in _records(stream.read(), name):
                yield record + b"\n"


def read_records(name: str, watch: Callable[[BinaryIO], BinaryIO] | None = None) -> Iterator[tuple[int, bytes]]:
    """Records as in `read_lines`, one at a time, each with the line of the file where it begins, from 1.

    `watch` is given the open file and returns what is read in its place. Raises `BrokenFile`.
    """
    with _opened(name, watch) as stream:
        if not _holds_lines(name, stream):
            yield from _records(stream.read(), name)
            return
        for number, line in enumerate(stream, 1):
            record = (line.removeprefix(BOM) if number == 1 else line).strip()
            if record:
                yield number, record


def read_record(name: str) -> bytes:
    """The one record of a file."""
    records = [line for block in read_lines(name) for line in block.splitlines() if line.strip()]
    if len(records) != 1:
        raise BrokenFile(name, f"holds {len(records)} records; a binary goes with exactly one.")
    return records[0]


def named(source: str) -> str:
    """A file as messages name it."""
    return "stdin" if source == STDIN else source.encode(errors="backslashreplace").decode()


@contextmanager
def _opened(name: str, watch: Callable[[BinaryIO], BinaryIO] | None = None) -> Iterator[BufferedReader]:
    if name == STDIN:
        yield cast("BufferedReader", sys.stdin.buffer)
        return
    with Path(name).open("rb", buffering=0) as file:
        stream = watch(file) if watch else file
        try:
            yield BufferedReader(gzip.GzipFile(fileobj=stream) if name.endswith(".gz") else cast("RawIOBase", stream))
        except (gzip.BadGzipFile, EOFError, zlib.error):
            raise BrokenFile(name, "this is not a whole gzip file.") from None


def _holds_lines(name: str, stream: BufferedReader) -> bool:
    suffix = Path(name.removesuffix(".gz")).suffix.lower()
    if suffix in {".ndjson", ".jsonl"}:
        return True
    first = stream.peek(BLOCK).removeprefix(BOM).lstrip().partition(b"\n")[0].strip()
    return suffix != ".json" and first.startswith(b"{") and (first.endswith(b"}") or len(first) >= BLOCK // 8)


def _blocks(stream: BufferedReader) -> Iterator[bytes]:
    rest = bytearray()
    while data := stream.read1(BLOCK):
        lines, newline, begun = data.rpartition(b"\n")
        if newline:
            yield bytes(rest) + lines + newline
            rest = bytearray(begun)
            if _is_silent(stream):
                yield b""
        else:
            rest += data
    if rest:
        yield bytes(rest)


def _is_silent(stream: BufferedReader) -> bool:
    """Whether nothing more can be read now, from a pipe or a terminal that may have more later."""
    try:
        return not select.select([stream], [], [], 0)[0]
    except (OSError, ValueError):  # no file of the system: a gzip file
        return False


def _records(data: bytes, name: str) -> Iterator[tuple[int, bytes]]:
    """JSON texts, or the elements of a top-level array, each as one line, with the line where it began.

    Newlines in JSON are white space or an error: replaced by spaces, the record keeps its length and its columns.
    """
    try:
        text = data.decode("utf-8-sig")
        spans = list(_spans(text))
    except UnicodeDecodeError as error:
        raise BrokenFile(name, f"not UTF-8 at byte {error.start}.") from None
    except json.JSONDecodeError as error:
        raise BrokenFile(name, f"not JSON: {error.msg}.", error.lineno, error.colno) from None
    except RecursionError:
        raise BrokenFile(name, "nested too deeply.") from None
    line, counted = 1, 0
    for start, end in spans:
        line, counted = line + text.count("\n", counted, start), start
        yield line, text[start:end].replace("\n", " ").replace("\r", " ").encode()


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Where each record begins and ends."""
    here = _after_space(text, 0)
    if text.startswith("[", here):
        yield from _elements(text, here + 1)
        return
    while here < len(text):
        end = _end_of_value(text, here)
        yield here, end
        here = _after_space(text, end)


def _elements(text: str, start: int) -> Iterator[tuple[int, int]]:
    here = _after_space(text, start)
    while not text.startswith("]", here):
        end = _end_of_value(text, here)
        yield here, end
        here = _after_space(text, end)
        if text.startswith(",", here):
            here = _after_space(text, here + 1)
            if text.startswith("]", here):
                raise json.JSONDecodeError("Expecting value", text, here)
        elif not text.startswith("]", here):
            raise json.JSONDecodeError("Expecting ',' or ']'", text, here)
    here = _after_space(text, here + 1)
    if here < len(text):
        raise json.JSONDecodeError("Extra data after the array", text, here)


def _end_of_value(text: str, start: int) -> int:
    return json.JSONDecoder().raw_decode(text, start)[1]


def _after_space(text: str, here: int) -> int:
    match = SPACE.match(text, here)
    return match.end() if match else here
