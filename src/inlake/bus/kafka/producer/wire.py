"""Kafka's wire protocol, as much as a producer needs: requests to bytes, answers from bytes.

All versions used are from before the protocol's "flexible" ones and are taken by brokers from 1.0 to today's.
https://kafka.apache.org/protocol
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from inlake.bus.kafka.producer.batch import Batch, ProducerId

T = TypeVar("T")
PRODUCE, METADATA, SASL_HANDSHAKE, API_VERSIONS, INIT_PRODUCER_ID, SASL_AUTHENTICATE = 0, 3, 17, 18, 22, 36
VERSIONS = {
    PRODUCE: (3, 7),
    METADATA: (4, 7),
    SASL_HANDSHAKE: (1, 1),
    API_VERSIONS: (0, 0),
    INIT_PRODUCER_ID: (0, 1),
    SASL_AUTHENTICATE: (0, 1),
}
"""Versions by request: the first and the last version that is written and read here."""
ACKS_ALL = -1
UNKNOWN_TOPIC = 3
LEADER_NOT_AVAILABLE = 5
NOT_LEADER = 6
"""Error codes; the first, UNKNOWN_TOPIC_OR_PARTITION, is of partitions too."""
SASL_AUTHENTICATION_FAILED = 58
THROTTLED_AFTER = 6
"""The version of PRODUCE from which on a broker answers first, and wants to be left alone afterwards (KIP-219)."""
_HEAD = struct.Struct(">ihhi")


class Leader(NamedTuple):
    """The leader of a partition."""

    broker: int
    """The id of the broker; -1 where there is none now."""
    epoch: int
    """Counts the leaders of the partition (KIP-320); -1 where the broker does not tell."""
    in_sync: int
    """Replicas in sync."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """The brokers, and the leader of each partition."""

    nodes: dict[int, tuple[str, int]]
    """Host and port by the broker's id."""
    leaders: dict[tuple[str, int], Leader]
    """Leaders by topic and partition."""
    errors: dict[str | tuple[str, int], int]
    """Error code by topic, 0 when there is none; and by partition without a leader."""


class Throttled(NamedTuple):
    """An answer, and how long the broker wants to be left alone after it (KIP-219)."""

    batches: list[Produced]
    seconds: float


class Produced(NamedTuple):
    """A broker's answer about one batch."""

    topic: str
    partition: int
    error: int
    """Code; 0: it is in the log of all in-sync replicas."""
    offset: int
    """The offset of its first event; -1 when the broker had it already and has forgotten where."""


class Authenticated(NamedTuple):
    """A server's answer in a SASL exchange."""

    data: bytes
    seconds: float
    """Until the connection must prove itself again; 0 is never (KIP-368)."""


class Refused(Exception):
    """A broker refused a request as a whole: its error code, and its own words if it gave some."""

    def __init__(self, code: int, words: str = "") -> None:
        super().__init__(words)
        self.code = code
        self.words = words


def request(key: int, version: int, correlation: int, client: bytes, body: Sequence[bytes]) -> list[bytes]:
    """A request in pieces, its length in front."""
    size = 8 + 2 + len(client) + sum(map(len, body))
    return [_HEAD.pack(size, key, version, correlation) + _text(client), *body]


# ------------------------------------------------------------------------------------------------------------ requests
def produce_body(batches: Iterable[tuple[str, int, Batch]], milliseconds: int) -> list[bytes]:
    """`batches`: with topic and partition; `milliseconds`: for all replicas to have them."""
    topics: dict[str, list[tuple[int, Batch]]] = {}
    for topic, partition, batch in batches:
        topics.setdefault(topic, []).append((partition, batch))
    pieces = [struct.pack(">hhii", -1, ACKS_ALL, milliseconds, len(topics))]
    for topic, partitions in topics.items():
        pieces.append(_text(topic.encode()) + struct.pack(">i", len(partitions)))
        for partition, batch in partitions:
            pieces += (struct.pack(">ii", partition, sum(map(len, batch))), *batch)
    return pieces


def metadata_body(topics: Iterable[str]) -> list[bytes]:
    """A request for these topics, which creates none."""
    names = [_text(topic.encode()) for topic in topics]
    return [struct.pack(">i", len(names)), *names, b"\0"]


def init_producer_id_body() -> list[bytes]:
    """The request of an idempotent producer without transactions."""
    return [struct.pack(">hi", -1, 0x7FFFFFFF)]


def sasl_handshake_body(mechanism: str) -> list[bytes]:
    return [_text(mechanism.encode())]


def sasl_authenticate_body(data: bytes) -> list[bytes]:
    return [struct.pack(">i", len(data)), data]


def _text(text: bytes) -> bytes:
    return struct.pack(">h", len(text)) + text


# ------------------------------------------------------------------------------------------------------------- answers
class Answer:
    """Reads an answer from its front to its end. What is cut or is no text is `ValueError`."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, size: int) -> int:
        """A signed integer of so many bytes."""
        at = self._at
        self._at = at + size
        if self._at > len(self._data):
            raise ValueError("the answer ends too early")
        return int.from_bytes(self._data[at : self._at], "big", signed=True)

    def text(self) -> str:
        """Text, empty for null."""
        return self._take(self.number(2)).decode()

    def octets(self) -> bytes:
        """Bytes, empty for null."""
        return self._take(self.number(4))

    def many(self, read: Callable[[], T]) -> list[T]:
        """An array, empty for null."""
        return [read() for _ in range(self.number(4))]

    def _take(self, size: int) -> bytes:
        at = self._at
        self._at = at + max(size, 0)
        if self._at > len(self._data):
            raise ValueError("the answer ends too early")
        return self._data[at : self._at]


def read_versions(answer: Answer) -> dict[int, int]:
    """The version to use of each request that is written here. `Refused` with code 35 when there is none."""
    if code := answer.number(2):
        raise Refused(code)
    offered = {key: (low, high) for key, low, high in answer.many(lambda: tuple(answer.number(2) for _ in range(3)))}
    chosen = {}
    for key, (low, high) in VERSIONS.items():
        their_low, their_high = offered.get(key, (0, -1))
        best = min(high, their_high)
        if best >= max(low, their_low):
            chosen[key] = best
    return chosen


def read_metadata(answer: Answer, version: int) -> Metadata:
    nodes: dict[int, tuple[str, int]] = {}
    leaders: dict[tuple[str, int], Leader] = {}
    errors: dict[str | tuple[str, int], int] = {}
    answer.number(4)  # throttled for so long, which the broker sees to
    for _ in range(answer.number(4)):
        node, host, port, _rack = answer.number(4), answer.text(), answer.number(4), answer.text()
        nodes[node] = (host, port)
    answer.text()  # id of the cluster
    answer.number(4)  # its controller
    for _ in range(answer.number(4)):
        code, topic, _internal = answer.number(2), answer.text(), answer.number(1)
        errors[topic] = code
        for _ in range(answer.number(4)):
            code, partition, leader = answer.number(2), answer.number(4), answer.number(4)
            epoch = answer.number(4) if version >= 7 else -1
            _replicas, in_sync = (answer.many(lambda: answer.number(4)) for _ in range(2))
            if version >= 5:
                answer.many(lambda: answer.number(4))  # replicas that are offline
            leaders[topic, partition] = Leader(leader, epoch, len(in_sync))
            if leader not in nodes:
                errors[topic, partition] = code or LEADER_NOT_AVAILABLE
    return Metadata(nodes, leaders, errors)


def read_produced(answer: Answer, version: int) -> Throttled:
    found = []
    for _ in range(answer.number(4)):
        topic = answer.text()
        for _ in range(answer.number(4)):
            partition, code, offset, _time = answer.number(4), answer.number(2), answer.number(8), answer.number(8)
            if version >= 5:
                answer.number(8)  # where the log begins
            found.append(Produced(topic, partition, code, max(offset, -1)))
    throttled = answer.number(4) / 1000
    return Throttled(found, throttled if version >= THROTTLED_AFTER else 0.0)


def read_producer_id(answer: Answer) -> ProducerId:
    """Raises `Refused`."""
    answer.number(4)
    if code := answer.number(2):
        raise Refused(code)
    producer = ProducerId(answer.number(8), answer.number(2))
    if min(producer) < 0:
        raise ValueError("no producer id: by such a one a broker knows no repeat")
    return producer


def read_handshake(answer: Answer) -> None:
    """Raises `Refused` with the mechanisms that the broker takes."""
    if code := answer.number(2):
        raise Refused(code, "the broker takes " + ", ".join(answer.many(answer.text)))


def read_authenticated(answer: Answer, version: int) -> Authenticated:
    """Raises `Refused`."""
    code, words, data = answer.number(2), answer.text(), answer.octets()
    if code:
        raise Refused(code, words)
    return Authenticated(data, answer.number(8) / 1000 if version >= 1 else 0.0)
