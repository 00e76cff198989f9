"""Slices are bounded, and tell what was refused."""

from __future__ import annotations

from inlake_spark.slices import BYTES, RECORDS, slices_of
from inlake_spark.source import Item


def test_slices_are_bounded_by_records_and_by_bytes() -> None:
    small, large = Item(1, 0, b"{}"), Item(1, 0, bytes(BYTES))
    many = [(len(items), size) for items, size in slices_of([small] * (2 * RECORDS + 1))]
    assert many == [(RECORDS, 2 * RECORDS), (RECORDS, 2 * RECORDS), (1, 2)]
    assert [(len(items), size) for items, size in slices_of([small, large, small])] == [(2, 2 + BYTES), (1, 2)]
    assert list(slices_of([])) == []
