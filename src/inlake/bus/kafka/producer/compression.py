"""Compression of record batches, by Kafka's names, in the framing that each of its clients reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cramjam

LEVEL = 1
"""The level of gzip, lz4 and zstd: the records of a batch are much alike, and the event loop waits for it."""
SNAPPY_HEAD = b"\x82SNAPPY\0" + (1).to_bytes(4, "big") * 2
"""The head of snappy-java's framing, which is Kafka's: a mark, the version, and the oldest one that can read it."""
SNAPPY_BLOCK = 32 << 10
"""Bytes before compression, as in snappy-java."""


class Codec(NamedTuple):
    """How the records of a batch are compressed."""

    attributes: int
    """The bits 0-2 of the batch's attributes, by which readers know the compression."""
    compress: Callable[[bytes], bytes] | None


def _gzip(data: bytes) -> bytes:
    return bytes(cramjam.gzip.compress(data, LEVEL))


def _snappy(data: bytes) -> bytes:
    pieces = [SNAPPY_HEAD]
    for start in range(0, len(data), SNAPPY_BLOCK):
        block = bytes(cramjam.snappy.compress_raw(data[start : start + SNAPPY_BLOCK]))
        pieces += (len(block).to_bytes(4, "big"), block)
    return b"".join(pieces)


def _lz4(data: bytes) -> bytes:
    """One frame, whose blocks stand for themselves: Java reads no others."""
    stream = cramjam.lz4.Compressor(level=LEVEL, content_checksum=False, block_linked=False)
    stream.compress(data)
    return bytes(stream.finish())


def _zstd(data: bytes) -> bytes:
    return bytes(cramjam.zstd.compress(data, LEVEL))


NONE = Codec(0, None)
CODECS = {
    "none": NONE,
    "gzip": Codec(1, _gzip),
    "snappy": Codec(2, _snappy),
    "lz4": Codec(3, _lz4),
    "zstd": Codec(4, _zstd),
}
"""Compressions by the property `compression.type`. Brokers take zstd from 2.1 on (KIP-110)."""
