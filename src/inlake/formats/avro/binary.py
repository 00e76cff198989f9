"""Avro's own in its binary encoding: lengths are zig-zag integers (specification 1.12, "Binary Encoding")."""

from __future__ import annotations

from inlake.formats.binary import zigzag

SMALL = 1 << 13
"""Integers from 0 to below this, of one or two bytes, are looked up: most lengths, years and identifiers are."""
INTEGERS = [zigzag(n) for n in range(SMALL)]


def sized(data: bytes) -> bytes:
    """Bytes with their length in front."""
    return zigzag(len(data)) + data
