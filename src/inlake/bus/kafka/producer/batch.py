"""Record batches as Kafka's log keeps them (message format v2): the events of one partition, encoded for one request.

librdkafka's Python binding takes one event a call, makes a C object of each header, and reports each event by a call
back: five times the CPU. Here the headers that events share are bytes made once.

https://kafka.apache.org/documentation/#recordbatch
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import google_crc32c

from inlake.bus.kafka.producer.compression import NONE, Codec
from inlake.model import Context, Event

OVERHEAD = 500
"""Bytes that a record has beside its value, or more: key, headers, lengths."""
_SMALL = 1 << 14
_BEFORE = struct.Struct(">qiibI")
"""Base offset, length, leader's epoch, format (magic), CRC-32C of all that follows."""
_COUNTED = 9
"""Bytes of those that its length counts."""
_HEAD = struct.Struct(">hiqqqhii")
"""Attributes, last offset delta, first and last timestamp, producer id and epoch, first sequence number, count."""
_NO_ATTRIBUTES = b"\0\0"
"""The first bytes of a record: no attributes, and the batch's own timestamp."""


Batch = tuple[bytes, bytes]
"""The head and the records of a batch: together they are its bytes, and half a megabyte is not copied for that."""


class ProducerId(NamedTuple):
    """The id by which brokers know a repeat (KIP-98), with a sequence number for each event of a partition."""

    id: int
    epoch: int


def record_batch(
    events: Sequence[Event], producer: ProducerId, sequence: int, timestamp_ms: int, codec: Codec = NONE
) -> Batch:
    """The events as one batch. `sequence`: of the first; `timestamp_ms`: of all, since 1970 UTC."""
    pieces: list[bytes] = []
    key, context = b"", None
    sized_key = before_id = after_id = b""
    shared, small, known = 0, _SMALL, _VARINTS  # looked up here: a call of `varint` costs as much as all of a line
    for delta, event in enumerate(events):
        if event.context is not context or event.key is not key:
            key, context = event.key, event.context
            sized_key, (before_id, after_id) = _sized(key), _headers(context)
            shared = len(_NO_ATTRIBUTES) + len(sized_key) + len(before_id) + len(after_id)
        value, id_ = event.value, event.id.encode()
        value_length, id_length = len(value), len(id_)
        offset = known[delta] if delta < small else _varint(delta)
        value_size = known[value_length] if value_length < small else _varint(value_length)
        id_size = known[id_length] if id_length < small else _varint(id_length)
        length = shared + len(offset) + len(value_size) + value_length + len(id_size) + id_length
        size = known[length] if length < small else _varint(length)
        pieces += (size, _NO_ATTRIBUTES, offset, sized_key, value_size, value, before_id, id_size, id_, after_id)
    records, count = b"".join(pieces), len(events)
    if codec.compress is not None:
        records = codec.compress(records)
    head = _HEAD.pack(
        codec.attributes, count - 1, timestamp_ms, timestamp_ms, producer.id, producer.epoch, sequence, count
    )
    checksum = google_crc32c.extend(google_crc32c.value(head), records)
    return _BEFORE.pack(0, len(head) + len(records) + _COUNTED, -1, 2, checksum) + head, records


def varint(n: int) -> bytes:
    """A length or count as zig-zag variable-length bytes; `n` is not negative."""
    return _VARINTS[n] if n < _SMALL else _varint(n)


def _varint(n: int) -> bytes:
    rest, groups = n << 1, bytearray()
    while rest > 0x7F:
        groups.append(rest & 0x7F | 0x80)
        rest >>= 7
    groups.append(rest)
    return bytes(groups)


_VARINTS = [_varint(n) for n in range(_SMALL)]


@lru_cache(1000)
def _sized(data: bytes) -> bytes:
    return varint(len(data)) + data


@lru_cache(1000)
def _headers(context: Context) -> tuple[bytes, bytes]:
    """All headers but for the value of `ce_id`: what stands before it, and after it."""
    pairs = [_sized(name.encode()) + varint(len(value)) + value for name, value in context]
    return varint(len(context) + 1) + _sized(b"ce_id"), b"".join(pairs)
