"""Compression of record batches, by Kafka's names: those for which no library beside the gateway's own is needed."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from typing import NamedTuple

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

LEVEL = 1
"""Of gzip and of zstd: the records of a batch are much alike, and the event loop waits for it."""


class Codec(NamedTuple):
    """How the records of a batch are compressed."""

    attributes: int
    """Of the batch, which readers know it by (bits 0-2)."""
    compress: Callable[[bytes], bytes] | None


def _gzip(data: bytes) -> bytes:
    stream = zlib.compressobj(LEVEL, wbits=zlib.MAX_WBITS | 16)
    return stream.compress(data) + stream.flush()


NONE = Codec(0, None)
CODECS = {"none": NONE, "gzip": Codec(1, _gzip), "zstd": Codec(4, lambda data: zstd.compress(data, LEVEL))}
"""By the property `compression.type`. Brokers take zstd from 2.1 on (KIP-110)."""
