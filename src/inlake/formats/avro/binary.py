"""Avro's binary encoding of single values (specification 1.12, "Binary Encoding")."""

from __future__ import annotations

import struct

SMALL = 1 << 13
"""Integers from 0 to below this, of one or two bytes, are looked up: most lengths, years and identifiers are."""
pack_double = struct.Struct("<d").pack
pack_float = struct.Struct("<f").pack
unpack_double = struct.Struct("<d").unpack_from
unpack_float = struct.Struct("<f").unpack_from


def zigzag(n: int) -> bytes:
    """An int or long as zig-zag variable-length bytes; `n` fits 64 bits."""
    rest = n << 1 if n >= 0 else ~(n << 1)
    groups = bytearray()
    while rest > 0x7F:
        groups.append(rest & 0x7F | 0x80)
        rest >>= 7
    groups.append(rest)
    return bytes(groups)


INTEGERS = [zigzag(n) for n in range(SMALL)]


def sized(data: bytes) -> bytes:
    """Bytes with their length in front."""
    return zigzag(len(data)) + data
