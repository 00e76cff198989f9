"""Protobuf's wire format of single values (protobuf.dev, "Encoding"), and Confluent's message indexes."""

from __future__ import annotations

import struct

from inlake.formats.binary import read_varint, varint, zigzag

FIXED_64, SIZED, FIXED_32 = 1, 2, 5
WIRE_TYPES = {
    "double": FIXED_64, "fixed64": FIXED_64, "sfixed64": FIXED_64,
    "float": FIXED_32, "fixed32": FIXED_32, "sfixed32": FIXED_32,
    "string": SIZED, "bytes": SIZED, "message": SIZED,
}  # fmt: skip
"""Wire type by kind; the others, enums too, are varints: 0."""
MAX_NESTING = 100
"""Messages and map entries in each other that the readers of all languages accept by default."""


def sized(data: bytes) -> bytes:
    """Bytes with their length in front."""
    return varint(len(data)) + data


PACKERS = {
    "int32": varint, "int64": varint, "uint32": varint, "uint64": varint, "sint32": zigzag, "sint64": zigzag,
    "fixed32": struct.Struct("<I").pack, "sfixed32": struct.Struct("<i").pack,
    "fixed64": struct.Struct("<Q").pack, "sfixed64": struct.Struct("<q").pack,
}  # fmt: skip
"""How the integer kinds are written."""
RANGES = {
    kind: (0, (1 << int(kind[-2:])) - 1)
    if kind[0] in "uf"
    else (-1 << int(kind[-2:]) - 1, (1 << int(kind[-2:]) - 1) - 1)
    for kind in PACKERS
}
"""Smallest and largest value of the integer kinds."""


def message_indexes(path: list[int]) -> bytes:
    """The path of a message in its file as Confluent's wire format writes it: [0], the first one, is one zero byte."""
    return b"\0" if path == [0] else b"".join(zigzag(n) for n in [len(path), *path])


def read_message_indexes(payload: bytes) -> tuple[list[int], int]:
    """The path of the message, and where the message begins. `IndexError` when it is cut off."""
    count, at = read_varint(payload, 0)
    count = count >> 1
    if count == 0:
        return [0], at
    path = []
    for _ in range(count):
        number, at = read_varint(payload, at)
        path.append(number >> 1)
    return path, at
