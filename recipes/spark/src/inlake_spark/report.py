"""What came of a run: accepted, rejected by cause, time."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

CAUSES = 20
"""Causes that are told."""
LONGEST = 200
"""Characters of a cause."""
COUNTED = ("accepted", "rejected", "lines", "bytes")
"""Columns of the outcomes that are added up."""


@dataclass(frozen=True)
class Cause:
    """Refusals that one mending cures."""

    cause: str
    """Codes and places."""
    records: int
    example: str
    """What one of them says."""


@dataclass(frozen=True)
class Report:
    """Counts of a run."""

    accepted: int
    rejected: int
    lines: int
    """Blank ones too."""
    bytes: int
    """Of accepted records, as they came."""
    seconds: float
    causes: tuple[Cause, ...] = ()
    """The most frequent first."""

    def text(self) -> str:
        """For a person."""
        rate = f", {self.accepted / self.seconds:,.0f} records/s" if self.accepted and self.seconds else ""
        lines = [f"{self.accepted:,} accepted, {self.rejected:,} rejected in {self.seconds:.1f} s{rate}"]
        lines += [
            f"  {one.records:>9,}  {one.cause[:LONGEST]}\n             {one.example[:LONGEST]}" for one in self.causes
        ]
        return "\n".join(lines)

    def json(self) -> str:
        """For a program: one line."""
        return json.dumps(asdict(self), ensure_ascii=False)


def causes_of(outcomes: DataFrame) -> tuple[Cause, ...]:
    """Refused records by cause."""
    from pyspark.sql import functions as f

    counted = outcomes.where("kind = 'reject'").groupBy("cause")
    top = counted.agg(f.count("*").alias("n"), f.min("detail").alias("example"))
    return tuple(Cause(*row) for row in top.orderBy(f.desc("n"), "cause").limit(CAUSES).collect())
