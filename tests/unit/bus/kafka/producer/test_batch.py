"""Record batches, read by a decoder that shares no code with the encoder: aiokafka's, which checks the CRC too."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords
from hypothesis import given, settings
from hypothesis import strategies as st

from inlake.bus.kafka.producer.batch import ProducerId, record_batch, varint
from inlake.bus.kafka.producer.compression import CODECS
from inlake.model import Event

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PRODUCER = ProducerId(4711, 3)
long = st.integers(0, 300_000).map(bytes)
octets = st.binary(max_size=300) | long
names = st.text(max_size=50)
contexts = st.lists(st.tuples(names, octets), max_size=12).map(tuple)
events = st.builds(Event, st.text(max_size=40), st.just("topic"), octets, octets, contexts)


def read(data: bytes) -> tuple[Any, list[Any]]:
    """The batch and its records; there is one batch, and it is whole."""
    for decoder in (MemoryRecords(data).next_batch(), _DefaultRecordBatchPy(data)):  # in C, and in Python
        assert decoder.validate_crc()
        records = list(decoder)
    records_in_c = MemoryRecords(data)
    assert records_in_c.size_in_bytes() == len(data)
    assert records_in_c.next_batch() is not None
    assert not records_in_c.has_next()
    return decoder, records


def check(sent: Sequence[Event], sequence: int = 0, timestamp: int = 1_700_000_000_000) -> None:
    batch, records = read(b"".join(record_batch(sent, PRODUCER, sequence, timestamp)))
    assert (batch.magic, batch.compression_type, batch.timestamp_type) == (2, 0, 0)
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (*PRODUCER, sequence)
    assert not batch.is_transactional
    assert not batch.is_control_batch
    assert (batch.first_timestamp, batch.max_timestamp) == (timestamp, timestamp)
    assert (batch.base_offset, batch.next_offset) == (0, len(sent))
    for offset, (event, record) in enumerate(zip(sent, records, strict=True)):
        assert (record.offset, record.timestamp) == (offset, timestamp)
        assert (record.key, record.value, list(record.headers)) == (event.key, event.value, event.headers)


@given(st.lists(events, min_size=1, max_size=20), st.integers(0, (1 << 31) - 1), st.integers(0, (1 << 62)))
@settings(deadline=None, max_examples=60)
def test_what_goes_in_comes_out(sent: list[Event], sequence: int, timestamp: int) -> None:
    check(sent, sequence, timestamp)


@given(st.lists(st.sampled_from([b"a", b"b", b""]), min_size=1, max_size=1000), st.lists(contexts, min_size=1))
@settings(deadline=None, max_examples=30)
def test_events_that_share_keys_and_headers_with_others_keep_their_own(keys: list[bytes], shared: list[Any]) -> None:
    check([Event(str(i), "topic", key, b"%d" % i, shared[i % len(shared)]) for i, key in enumerate(keys)])


@pytest.mark.parametrize(("codec", "number"), [("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4)])
@pytest.mark.parametrize("size", [10, 1000, 70_000])
def test_a_compressed_batch_is_read_as_it_was_sent(codec: str, number: int, size: int) -> None:
    value = b"value %d " * (size // 10)
    sent = [Event(str(n), "topic", b"key", value.replace(b"%d", b"%d" % n), (("ce_type", b"note"),)) for n in range(99)]
    plain, data = (b"".join(record_batch(sent, PRODUCER, 7, 0, CODECS[name])) for name in ("none", codec))
    assert len(data) < len(plain) / 2
    [batch] = [MemoryRecords(data).next_batch()]
    assert batch is not None
    assert batch.validate_crc()
    assert batch.compression_type == number
    assert [(record.key, record.value) for record in batch] == [(event.key, event.value) for event in sent]


def test_zstd_is_what_another_library_reads() -> None:
    sent = [Event(str(n), "topic", b"key", b"value %d" % n, ()) for n in range(500)]
    (_, plain), (head, records) = (record_batch(sent, PRODUCER, 7, 0, CODECS[name]) for name in ("none", "zstd"))
    assert zstd.decompress(records) == plain
    assert int.from_bytes(head[8:12], "big") == len(head) + len(records) - 12


@pytest.mark.parametrize("count", [1, 63, 64, 65, 1000])
def test_a_batch_holds_up_to_a_thousand_events(count: int) -> None:
    check([Event(str(i), "topic", b"key", bytes(i % 130), ()) for i in range(count)])


@given(st.binary(max_size=50), st.integers(0))
@settings(deadline=None)
def test_the_checksum_finds_a_byte_that_changed(value: bytes, at: int) -> None:
    data = bytearray(b"".join(record_batch([Event("id", "topic", b"key", value, ())], PRODUCER, 0, 0)))
    at = 21 + at % (len(data) - 21)
    data[at] ^= 0xFF
    assert not _DefaultRecordBatchPy(bytes(data)).validate_crc()


@pytest.mark.parametrize(
    ("n", "data"),
    [
        (0, "00"),
        (1, "02"),
        (63, "7e"),
        (64, "8001"),
        (8191, "fe7f"),
        (8192, "808001"),
        ((1 << 14) - 1, "feff01"),
        (1 << 14, "808002"),
        ((1 << 20) - 1, "feff7f"),
        (1 << 20, "80808001"),
        ((1 << 31) - 1, "feffffff0f"),
    ],
)
def test_a_length_is_a_zig_zag_number_of_variable_length(n: int, data: str) -> None:
    assert varint(n).hex() == data
