"""Kafka's wire protocol beside aiokafka's: requests that it reads as they were meant, answers of its making, cut ones."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable
from typing import Any

import pytest
from aiokafka.protocol import admin, metadata, produce, transaction
from aiokafka.protocol.types import Int16, Int32, Schema, String
from hypothesis import given
from hypothesis import strategies as st

from inlake.bus.kafka.producer import wire
from inlake.bus.kafka.producer.batch import ProducerId
from inlake.bus.kafka.producer.wire import Answer, Authenticated, Leader, Metadata, Produced, Refused, Throttled

BROKERS = [(1, "kafka-1", 9092, None), (2, "::1", 9093, "rack")]
PARTITIONS = [(0, 0, 1, [1, 2], [1]), (5, 1, -1, [2], []), (0, 2, 7, [], [])]
VERSIONS = [(0, 0, 11), (3, 0, 12), (17, 0, 1), (18, 0, 4), (22, 0, 5), (36, 0, 2), (60, 0, 0)]
PRODUCED = [("a", [(0, 0, 42, -1, 0), (1, 6, -1, -1, -1)]), ("ключ", [(2, 0, -7, -1, 0)])]
ANSWERS: list[tuple[Any, Callable[[Answer], object], object]] = [
    (
        admin.ApiVersionResponse_v0(0, VERSIONS),
        wire.read_versions,
        {0: 7, 3: 7, 17: 1, 18: 0, 22: 1, 36: 1},
    ),
    (
        metadata.MetadataResponse_v4(0, BROKERS, "cluster", 1, [(0, "a", False, PARTITIONS), (3, "b", False, [])]),
        lambda answer: wire.read_metadata(answer, 4),
        Metadata(
            {1: ("kafka-1", 9092), 2: ("::1", 9093)},
            {("a", 0): Leader(1, -1, 1), ("a", 1): Leader(-1, -1, 0), ("a", 2): Leader(7, -1, 0)},
            {"a": 0, "b": 3, ("a", 1): 5, ("a", 2): 5},
        ),
    ),
    (
        produce.ProduceResponse_v7(PRODUCED, 250),
        lambda answer: wire.read_produced(answer, 7),
        Throttled([Produced("a", 0, 0, 42), Produced("a", 1, 6, -1), Produced("ключ", 2, 0, -1)], 0.25),
    ),
    (
        produce.ProduceResponse_v3([("a", [(0, 0, 42, -1)])], 250),  # it has waited before it answered
        lambda answer: wire.read_produced(answer, 3),
        Throttled([Produced("a", 0, 0, 42)], 0.0),
    ),
    (transaction.InitProducerIdResponse_v0(0, 0, 4711, 3), wire.read_producer_id, ProducerId(4711, 3)),
    (admin.SaslHandShakeResponse_v1(0, ["PLAIN"]), wire.read_handshake, None),
    (
        admin.SaslAuthenticateResponse_v1(0, None, b"v=1", 3_600_000),
        lambda answer: wire.read_authenticated(answer, 1),
        Authenticated(b"v=1", 3600.0),
    ),
]
KINDS = ["versions", "metadata", "produced", "produced, version 3", "producer id", "handshake", "authenticated"]


@pytest.mark.parametrize(("given", "read", "meant"), ANSWERS, ids=KINDS)
def test_an_answer_is_read_as_it_was_meant(given: Any, read: Callable[[Answer], object], meant: object) -> None:
    assert read(Answer(given.encode())) == meant


@pytest.mark.parametrize(("given", "read", "meant"), ANSWERS, ids=KINDS)
def test_an_answer_that_is_cut_anywhere_is_refused(given: Any, read: Callable[[Answer], object], meant: object) -> None:
    data = given.encode()
    needed = next(size for size in range(len(data) + 1) if reads(data[:size], read))
    of_no_interest = len(data) - 2 if meant is None else 4  # which mechanisms there are beside ours; throttling
    assert needed >= len(data) - of_no_interest
    assert read(Answer(data[:needed])) == meant


def reads(data: bytes, read: Callable[[Answer], object]) -> bool:
    try:
        read(Answer(data))
    except ValueError:
        return False
    return True


@given(st.binary(max_size=200), st.sampled_from([read for _, read, _ in ANSWERS]))
def test_any_bytes_are_read_or_refused(data: bytes, read: Callable[[Answer], object]) -> None:
    with contextlib.suppress(ValueError, Refused):
        read(Answer(data))


@pytest.mark.parametrize("count", [-1, -(1 << 31), (1 << 31) - 1])
def test_a_count_that_is_a_lie_ends_with_the_bytes(count: int) -> None:
    data = struct.pack(">i", count) + bytes(1000)
    for read in (lambda answer: answer.many(lambda: answer.number(2)), lambda answer: wire.read_produced(answer, 7)):
        assert reads(data, read) == (count < 0)


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (admin.ApiVersionResponse_v0(35, []), wire.read_versions),
        (transaction.InitProducerIdResponse_v0(0, 31, -1, -1), wire.read_producer_id),
        (admin.SaslHandShakeResponse_v1(33, ["PLAIN", "OAUTHBEARER"]), wire.read_handshake),
        (admin.SaslAuthenticateResponse_v1(58, "no", b"", 0), lambda answer: wire.read_authenticated(answer, 1)),
    ],
)
def test_a_refusal_has_its_code(given: Any, read: Callable[[Answer], object]) -> None:
    with pytest.raises(Refused) as refused:
        read(Answer(given.encode()))
    assert refused.value.code in {35, 31, 33, 58}


def test_a_producer_id_by_which_no_broker_would_know_a_repeat_is_refused() -> None:
    with pytest.raises(ValueError, match="no producer id"):
        wire.read_producer_id(Answer(transaction.InitProducerIdResponse_v0(0, 0, -1, -1).encode()))


@pytest.mark.parametrize(
    ("offered", "chosen"), [((0, 2), None), ((0, 3), 3), ((3, 5), 5), ((7, 20), 7), ((8, 9), None)]
)
def test_the_best_version_that_both_speak_is_chosen(offered: tuple[int, int], chosen: int | None) -> None:
    answer = Answer(admin.ApiVersionResponse_v0(0, [(wire.PRODUCE, *offered)]).encode())
    assert wire.read_versions(answer).get(wire.PRODUCE) == chosen


# ------------------------------------------------------------------------------------------------------------ requests
HEAD = Schema(("key", Int16), ("version", Int16), ("correlation", Int32), ("client", String("utf-8")))


@pytest.mark.parametrize(
    ("key", "version", "body", "theirs", "meant"),
    [
        (
            wire.PRODUCE,
            7,
            wire.produce_body([("a", 0, (b"on", b"e")), ("ключ", 1, (b"", b"")), ("a", 2, (b"", b"three"))], 3000),
            produce.ProduceRequest_v7,
            [None, -1, 3000, [("a", [(0, b"one"), (2, b"three")]), ("ключ", [(1, b"")])]],
        ),
        (wire.METADATA, 4, wire.metadata_body(["a", "ключ"]), metadata.MetadataRequest_v4, [["a", "ключ"], False]),
        (
            wire.INIT_PRODUCER_ID,
            0,
            wire.init_producer_id_body(),
            transaction.InitProducerIdRequest_v0,
            [None, 0x7FFFFFFF],
        ),
        (wire.SASL_HANDSHAKE, 1, wire.sasl_handshake_body("PLAIN"), admin.SaslHandShakeRequest_v1, ["PLAIN"]),
        (wire.SASL_AUTHENTICATE, 1, wire.sasl_authenticate_body(b"\0a"), admin.SaslAuthenticateRequest_v1, [b"\0a"]),
        (wire.API_VERSIONS, 0, [], admin.ApiVersionRequest_v0, []),
    ],
)
def test_aiokafka_reads_a_request_as_it_was_meant(
    key: int, version: int, body: list[bytes], theirs: Any, meant: list[Any]
) -> None:
    data = b"".join(wire.request(key, version, 77, b"inlake", body))
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    head = (key, version, 77, "inlake")
    assert data[4:] == HEAD.encode(head) + theirs.SCHEMA.encode(meant)
    assert (key, version) == (theirs.API_KEY, theirs.API_VERSION)
