"""Single values in binary, as Avro and Protobuf have them alike: variable-length integers and IEEE 754 numbers.

Avro 1.12, "Binary Encoding"; protobuf.dev, "Encoding".
"""

from __future__ import annotations

import struct

pack_double = struct.Struct("<d").pack
pack_float = struct.Struct("<f").pack
unpack_double = struct.Struct("<d").unpack_from
unpack_float = struct.Struct("<f").unpack_from


def varint(n: int) -> bytes:
    """An integer in groups of seven bits; a negative one as its two's complement in 64 bits, which takes ten bytes."""
    if 0 <= n < 1 << 14:
        return bytes((n & 0x7F | 0x80, n >> 7)) if n > 0x7F else bytes((n,))
    if 0 <= n < 1 << 21:
        return bytes((n & 0x7F | 0x80, n >> 7 & 0x7F | 0x80, n >> 14))
    rest = n & 0xFFFF_FFFF_FFFF_FFFF
    groups = bytearray()
    while rest > 0x7F:
        groups.append(rest & 0x7F | 0x80)
        rest >>= 7
    groups.append(rest)
    return bytes(groups)


def zigzag(n: int) -> bytes:
    """A signed integer of at most 64 bits as a varint that is short when the integer is near 0."""
    return varint(n << 1 if n >= 0 else ~(n << 1))


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """A varint at a place and the place after it. `IndexError` when it is cut off, `ValueError` when it is too long."""
    value = shift = 0
    while True:
        byte = data[at]
        at, value, shift = at + 1, value | (byte & 0x7F) << shift, shift + 7
        if byte < 0x80:
            return value, at
        if shift > 63:
            raise ValueError("a number is longer than 64 bits")
