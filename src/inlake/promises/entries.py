"""The entries of a promise's log, one a fact, and the ways in which a binary comes. `promise.py` adds them up."""

from __future__ import annotations

import time
from typing import ClassVar, Literal
from urllib.parse import quote

import msgspec
from msgspec import Struct, field, structs

from inlake.model import Event, StoredObject


# ------------------------------------------------------------------------------------------------- how a binary comes
class InRequest(Struct, frozen=True):
    """The binary comes in one request to the gateway."""

    name: ClassVar[Literal["request"]] = "request"


class Tus(Struct, frozen=True):
    """The binary comes in requests of the tus protocol."""

    name: ClassVar[Literal["tus"]] = "tus"

    metadata: str = ""
    """`Upload-Metadata` as sent."""
    concat: str = ""
    """`Upload-Concat` as sent: `partial`, or `final` and the partial uploads that are one."""


class Presigned(Struct, frozen=True):
    """Straight to the object store: in one PUT, or in parts."""

    name: ClassVar[Literal["direct"]] = "direct"

    part_size: int | None = None
    """Bytes of every part but the last; None: one PUT."""
    sha256: tuple[str, ...] = ()
    """The digest of each part, hexadecimal; empty when they are not known beforehand."""


Way = InRequest | Tus | Presigned


class Promised(Struct, frozen=True):
    """A binary as far as it is known before its first byte."""

    filename: str
    content_type: str
    way: Way = InRequest()
    size: int | None = None
    """Bytes; a tus upload may tell them later."""
    sha256: str | None = None
    """Hexadecimal."""

    @property
    def length(self) -> int:
        """Characters of all that the client has told."""
        match self.way:
            case Tus(metadata, concat):
                told = len(metadata) + len(concat)
            case Presigned(sha256=sha256):
                told = sum(map(len, sha256))
            case _:
                told = 0
        return told + len(self.filename) + len(self.content_type)


# ------------------------------------------------------------------------------------------------------- the entries
class Entry(Struct, frozen=True, kw_only=True, tag_field="fact", tag=str.lower, omit_defaults=True):
    """One fact; what an entry does not say (None) is as it was before. Times are seconds since 1970."""

    at: float = field(default_factory=time.time)


class Reserved(Entry, frozen=True):
    """Written before the first byte."""

    principal: str
    key: str
    named: bool
    """The client named the key."""
    filename: str
    content_type: str
    owner: str
    expires: float
    way: Literal["request", "tus", "direct"] | None = None
    size: int | None = None
    sha256: str | None = None
    metadata: str = ""
    """tus: `Upload-Metadata`; direct, in parts: JSON with `part_size` and `sha256`."""
    concat: str = ""

    def announced(self) -> Promised:
        """The binary, as the entry has it."""
        way: Way = InRequest()
        if self.way == "tus":
            way = Tus(self.metadata, self.concat)
        elif self.way == "direct":
            way = msgspec.json.decode(self.metadata or "{}", type=Presigned)
        return Promised(self.filename, self.content_type, way, self.size, self.sha256)


class Uploading(Entry, frozen=True):
    """Bytes have come, or the place that a client named is this promise's."""

    received: int
    expires: float | None = None
    upload: str | None = None
    """The store's id of an upload in pieces."""
    size: int | None = None


class Stored(Entry, frozen=True):
    """The object is complete in the store; once more: another process goes on with it."""

    size: int
    sha256: str
    owner: str | None = None
    expires: float | None = None


class ClaimedEvent(Struct, frozen=True, omit_defaults=True):
    """An event as JSON; its bytes in hexadecimal."""

    id: str
    topic: str
    key: str
    value: str
    headers: list[tuple[str, str]]
    partition_by: str | None = None

    @classmethod
    def of(cls, event: Event) -> ClaimedEvent:
        """The event as it is written."""
        headers = [(name, value.decode()) for name, value in event.headers]
        by = None if event.partition_by is None else event.partition_by.hex()
        return cls(event.id, event.topic, event.key.decode(), event.value.hex(), headers, by)

    def event(self) -> Event:
        """The event as it is published."""
        context = tuple((name, value.encode()) for name, value in self.headers if name != "ce_id")
        by = None if self.partition_by is None else bytes.fromhex(self.partition_by)
        return Event(self.id, self.topic, self.key.encode(), bytes.fromhex(self.value), context, by)


def with_resource(event: Event, stored: StoredObject) -> Event:
    """The event with the headers that name its object."""
    resource = [
        ("inlake_puuid", stored.puuid.encode()),
        ("inlake_resource_uri", stored.uri.encode()),
        ("inlake_resource_size", b"%d" % stored.size),
        ("inlake_resource_sha256", stored.sha256.encode()),
        ("inlake_resource_type", stored.content_type.encode()),
        ("inlake_resource_filename", quote(stored.filename, safe="").encode()),
    ]
    return structs.replace(event, context=(*event.context, *resource))


class Claimed(Entry, frozen=True):
    """A record is bound to the promise, with its whole event but for the headers that name the object."""

    event: ClaimedEvent
    schema: tuple[str, int, int] | None
    """Subject, version, id."""
    owner: str
    expires: float


class Published(Entry, frozen=True):
    """The event is on the bus."""

    position: tuple[str, int | None, int | None]
    """Topic, partition, offset."""


class Failed(Entry, frozen=True):
    """The bus has refused the event for good."""

    reason: str
    """A code of `inlake.errors`."""
    kept: bool
    """The object stays: an event that names it may have been published before."""
    owner: str


class Expired(Entry, frozen=True):
    """Given up."""

    reason: str
    owner: str | None = None


class Removing(Entry, frozen=True):
    """The owner removes what is left, since `at`."""

    owner: str


decode = msgspec.json.Decoder(Reserved | Uploading | Stored | Claimed | Published | Failed | Expired | Removing).decode
