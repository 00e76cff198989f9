"""Receipts of all that went in, written down for a person: the file that `inlake verify` and `inlake get` read."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from inlake.client.receipts import Receipt

FIELDS = ("row", "file", "status", "size", "sha256", "puuid", "uri", "id", "topic", "partition", "offset")


BLOCK = 1 << 16


class Ledger:
    """A file that is whole when it is closed: receipts as NDJSON, or as CSV by its name."""

    def __init__(self, path: Path, *, goes_on: bool = False) -> None:
        """`goes_on`: behind what an earlier run has written."""
        begun = goes_on and path.exists() and _cut_back(path) > 0
        self._file = path.open("a" if begun else "w", encoding="utf-8", newline="")
        self._rows = csv.DictWriter(self._file, FIELDS) if path.suffix.lower() == ".csv" else None
        if self._rows and not begun:
            self._rows.writeheader()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._file.close()

    def flush(self) -> None:
        """Keeps what was added, whatever happens to this process."""
        self._file.flush()

    def add(self, receipt: Receipt, *, row: int | None, file: str | None = None) -> None:
        """`row`: of the table, or line of the source; `file`: as its source names it."""
        resource = receipt.get("resource") or {}
        found: dict[str, Any] = {"row": row, "file": file, "status": receipt.get("status", 201), **receipt, **resource}
        line = {name: found.get(name) for name in FIELDS}
        if self._rows:
            self._rows.writerow(line)
        else:
            self._file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _cut_back(path: Path) -> int:
    """Removes the line that a killed run has begun at the end, and returns the bytes that are left."""
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - BLOCK)
            file.seek(start)
            if (found := file.read(end - start).rfind(b"\n")) >= 0:
                end = start + found + 1
                break
            end = start
        return file.truncate(end)
