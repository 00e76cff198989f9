"""What comes back from the executors: refused records, and how many lines of each block were what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from inlake.errors import FieldError, InlakeError, RecordRejected
from inlake.rejects import reject as causes
from inlake.web.request.problems import line_problem
from inlake_spark.source import Block, Item

if TYPE_CHECKING:
    from inlake.model import Label

REASON = pa.struct([(name, pa.string()) for name in FieldError._fields])
ARROW = pa.schema(
    [
        ("kind", pa.string()),
        ("file", pa.string()),
        ("block", pa.int64()),
        ("lines", pa.int64()),
        ("accepted", pa.int64()),
        ("rejected", pa.int64()),
        ("bytes", pa.int64()),
        ("number", pa.int64()),
        ("position", pa.int64()),
        ("schema", pa.string()),
        ("destination", pa.string()),
        ("status", pa.int32()),
        ("code", pa.string()),
        ("detail", pa.string()),
        ("errors", pa.list_(REASON)),
        ("cause", pa.string()),
        ("record", pa.binary()),
    ]
)
DDL = (
    "kind string, file string, block long, lines long, accepted long, rejected long, bytes long, number long, "
    "position long, schema string, destination string, status int, code string, detail string, "
    "errors array<struct<pointer:string, code:string, detail:string, expected:string, got:string>>, "
    "cause string, record binary"
)
"""The same in Spark's words."""


class Counts:
    """Of the lines of one block, in one task."""

    __slots__ = ("accepted", "bytes", "lines", "rejected")

    def __init__(self) -> None:
        self.lines = self.accepted = self.rejected = self.bytes = 0

    def count(self, error: InlakeError | None, size: int) -> None:
        """One record more; `size`: its bytes."""
        if error is None:
            self.accepted += 1
            self.bytes += size
        else:
            self.rejected += 1

    def row(self, block: tuple[str, int]) -> dict[str, Any]:
        """A row of the outcomes."""
        told = {name: getattr(self, name) for name in ("lines", "accepted", "rejected", "bytes")}
        return {"kind": "block", "file": block[0], "block": block[1], **told}


def reject_row(block: Block, item: Item, label: Label | None, error: InlakeError) -> dict[str, Any]:
    """A refused record as a row of the outcomes."""
    return {
        "kind": "reject",
        "file": block.place,
        "block": block.start,
        "number": item.number,
        "position": item.position,
        "schema": label.schema if label else None,
        "destination": label.destination if label else None,
        "status": error.status,
        "code": error.code,
        "detail": error.detail,
        "errors": msgspec.json.decode(line_problem(error, item.number))["errors"],
        "cause": cause_of(error),
        "record": item.record if isinstance(item.record, bytes) else None,
    }


def cause_of(error: InlakeError) -> str:
    """What refusals have in common that one mending cures: codes and places, the indexes of arrays as `*`."""
    reasons = causes.reasons_of(error.code, error.errors if isinstance(error, RecordRejected) else ())
    return "; ".join(f"{reason.code} {reason.pointer}".rstrip() for reason in reasons)


def batch_of(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist(rows, schema=ARROW)
