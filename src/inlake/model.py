"""The nouns of the path: what a client sends, what is stored, what is published, what is answered.

One of several of them is made for each record, so they are structs: frozen, and cheaper to make than dataclasses.
"""

from __future__ import annotations

import re
import sys
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple, Self

from msgspec import Struct

ANONYMOUS = "anonymous"
SCHEMA_NAME = r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,200}"
"""A regular expression: what a client may call a schema, and a folder of schemas a subject."""
PART = 8 << 20
"""Bytes in each chunk of a binary on its way to the store, the last excepted; the smallest S3 part is 5 MiB."""
_PUUID = re.compile(r"([0-9A-Fa-f]{8})-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}")


def masked(text: str) -> str:
    """The text with the first eight digits of every puuid in it: that of an anonymous client is its only secret."""
    return _PUUID.sub(r"\1…", text)


class Binary(Struct, frozen=True, gc=False):
    """A binary on its way in: it can be read once."""

    filename: str
    """The name as the client sent it, any text."""
    content_type: str
    chunks: AsyncIterator[bytes]
    """Chunks of any size, none empty; raises InlakeError when the body is broken or the client goes away."""
    sha256: str | None = None
    """Hexadecimal, as the client announced it: other bytes are refused."""
    puuid: str | None = None
    """Name of its promise, if an attempt before chose it; None: a new one."""


class Trace(Struct, frozen=True, gc=False):
    """The W3C Trace Context that a request came with."""

    parent: str
    """`traceparent`"""
    state: str = ""
    """`tracestate`; empty where there is none."""

    @property
    def id(self) -> str:
        """The id of the trace, 32 hexadecimal digits."""
        return self.parent.split("-")[1]

    @property
    def headers(self) -> tuple[tuple[str, bytes], ...]:
        """The headers of an event that goes on with the trace."""
        parent = ("traceparent", self.parent.encode())
        return (parent, ("tracestate", self.state.encode())) if self.state else (parent,)


class Label(Struct, frozen=True, gc=False):
    """Where a record goes, and who sends it. Records of one request share it; names are checked already."""

    schema: str
    destination: str | None = None
    version: int | None = None
    """Version of the schema; None is the latest."""
    message: str | None = None
    """Protobuf only: full name of the message; None is the first in the file."""
    principal: str = ANONYMOUS
    tagged: bool = False
    """Avro only: unions in the tagged form of the specification and nothing else (application/vnd.apache.avro+json)."""
    trace: Trace | None = None

    @property
    def key(self) -> bytes:
        """The Kafka key: `schema` or `schema/destination`, UTF-8."""
        return (self.schema if self.destination is None else f"{self.schema}/{self.destination}").encode()


class Submission(Struct, frozen=True, gc=False):
    """One record as a client sends it, its binary with it if there is one."""

    label: Label
    record: bytes
    """One JSON text, UTF-8, no BOM."""
    file: Binary | None = None
    event_id: str | None = None
    """`ce_id`, where every repeat must have the same; None: a new one."""
    accepted_ms: int | None = None
    """The time when the record was first accepted, milliseconds since 1970; None: now."""


class StoredObject(Struct, frozen=True, gc=False):
    """A binary in the store, as receipts show it."""

    puuid: str
    uri: str
    size: int
    """Bytes."""
    sha256: str
    """Hexadecimal, lower case, of the bytes received."""
    content_type: str
    filename: str
    """The name as the client sent it."""


class Part(NamedTuple):
    """A part of a multipart upload, as the store holds it."""

    number: int
    """The number of the part, from 1."""
    size: int
    """Bytes."""
    etag: str
    """The mark as S3 wants it back, quotes included."""
    checksum_sha256: str | None = None
    """Base64, where the upload was begun with it."""


class ObjectFacts(NamedTuple):
    """A store's answer about an object."""

    size: int
    """Bytes."""
    etag: str
    """A mark of these bytes and no others, quotes included; in a folder made of its time and size."""
    checksum_sha256: str | None = None
    """Base64, of the whole object; None for one made of parts, and in a folder."""


class Listed(NamedTuple):
    """An object as a listing of the store has it."""

    key: str
    size: int
    """Bytes."""
    modified: float
    """Seconds since 1970."""


class Blob(NamedTuple):
    """Bytes that somebody announces: what is known of them."""

    size: int
    """Bytes."""
    sha256: str | None = None
    """Hexadecimal, lower case."""


class SignedRequest(NamedTuple):
    """A request that a client sends to the store itself."""

    method: str
    url: str
    headers: dict[str, str]
    """Headers, to be sent so; the length of the body and `Host` are signed too: every HTTP client sends them."""


Context = tuple[tuple[str, bytes], ...]
"""Names and values of headers."""


class Event(Struct, frozen=True, gc=False):
    """One event as it is published: key, value and headers are final bytes; publishing again repeats them."""

    id: str
    """`ce_id`."""
    topic: str
    key: bytes
    value: bytes
    """Confluent wire format."""
    context: Context
    """The headers beside `ce_id`, which is `id`. Events that are accepted together share one tuple: what a bus makes
    of it is made once."""
    partition_by: bytes | None = None
    """The bytes that choose Kafka's partition (Java's murmur2 of them); None is the key."""

    @property
    def headers(self) -> list[tuple[str, bytes]]:
        """All headers: CloudEvents 1.0 Kafka binding, binary mode; UTF-8."""
        return [("ce_id", self.id.encode()), *self.context]


class Position(Struct, frozen=True, gc=False):
    """Where the bus keeps an event."""

    topic: str
    partition: int
    offset: int
    """-1 where Kafka confirmed the event without saying where (a repeat within the producer)."""

    def __iter__(self) -> Iterator[str | int]:
        """Topic, partition, offset."""
        return iter((self.topic, self.partition, self.offset))


class InOutbox(Struct, frozen=True, gc=False):
    """Where an event is that the bus could not take: on the gateway's disk, to be published when the bus is back."""

    topic: str
    partition: None = None
    offset: None = None


Place = Position | InOutbox
"""Where an event is that was accepted."""


def place(topic: str, partition: int | None, offset: int | None) -> Place:
    """The place that topic, partition and offset stand for; without the last two it is the outbox."""
    return InOutbox(topic) if partition is None or offset is None else Position(topic, partition, offset)


class Message(NamedTuple):
    """An event as a reader gets it back from the bus."""

    position: Position
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]
    timestamp_ms: int
    """Milliseconds since 1970 UTC; when the bus took it."""


class Moment(NamedTuple):
    """Where a message stands among all by their time; those of one millisecond are told apart by their positions."""

    timestamp_ms: int
    topic: str
    partition: int
    offset: int

    @classmethod
    def end_of(cls, timestamp_ms: int) -> Self:
        """Behind all messages of this time and before it: `offset` is one that no message has."""
        return cls(timestamp_ms, chr(sys.maxunicode), (1 << 31) - 1, (1 << 63) - 1)


def moment_of(message: Message) -> Moment:
    """Where a message stands among all."""
    at = message.position
    return Moment(message.timestamp_ms, at.topic, at.partition, at.offset)


class SchemaVersion(Struct, frozen=True, gc=False):
    """The schema that a record was checked against."""

    subject: str
    version: int
    id: int


class Receipt(Struct, frozen=True, gc=False):
    """The answer to a client for a record whose event is on the bus, or in the outbox."""

    id: str
    key: str
    topic: str
    partition: int | None
    """The partition; None, as the offset is, of an event in the outbox."""
    offset: int | None
    schema: SchemaVersion | None
    """The schema; None on the unsecured routes, where nothing was checked."""
    resource: StoredObject | None = None

    @classmethod
    def of(cls, event: Event, at: Place, schema: SchemaVersion | None, resource: StoredObject | None = None) -> Receipt:
        """The receipt of an event that was accepted."""
        return cls(event.id, event.key.decode(), at.topic, at.partition, at.offset, schema, resource)

    @property
    def status(self) -> int:
        """HTTP's status: 201 of an event on the bus, 202 of one in the outbox."""
        return 202 if self.offset is None else 201


class Pending(Struct, frozen=True, gc=False):
    """The answer to a client for a record whose binary is not complete yet: it is published once that is."""

    id: str
    """`ce_id` of the event to come."""
    key: str
    promise: str
    """The promise's puuid: `/promises/<puuid>` tells how it goes on."""
    state: str
    schema: SchemaVersion | None
    expires_at: str
    """RFC 3339, UTC; without progress until then it is given up."""
