"""NDJSON as a table: a line is a row, and its record already."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from inlake.client.tables.row import Row

_BOM = b"\xef\xbb\xbf"


def read_json_lines(stream: BinaryIO) -> Iterator[Row]:
    """Lines that are not blank, as they stand: the gateway reads the JSON in them."""
    for number, line in enumerate(stream, 1):
        record = (line.removeprefix(_BOM) if number == 1 else line).strip()
        if record:
            yield Row(number, number, (), (), record)
