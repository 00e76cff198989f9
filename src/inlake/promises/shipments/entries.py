"""The log of a shipment: what its entries say, and what they add up to.

.inlake/shipments/<first 12 digits of its id>/<n>   the log
.inlake/shipping/<sha256 of principal>/<id>   there is work left; created before entry 0, deleted after the last

announced ── completing ── published ── completing ── ... ── expired

Whoever publishes creates `completing` before and `published` after, also where nothing became of it. Between the two no
other entry fits but another `completing`, of who goes on for a process that died: it publishes the same bytes again.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import msgspec
from msgspec import UNSET, Struct, UnsetType

from inlake.logbook.log import STATE, Log
from inlake.model import Blob, Context, Event, Place, Receipt, SchemaVersion, StoredObject, masked, place
from inlake.ports import Store
from inlake.promises.entries import with_resource
from inlake.promises.places import object_key, promise_named

OPEN = f"{STATE}/shipping/"
PREFIX = 13
"""Characters of an id that all puuids of a shipment share: 48 random bits and a hyphen."""
State = Literal["open", "completing", "published", "expired"]
LineState = Literal["announced", "published", "failed", "expired"]


class Entry(Struct, frozen=True, kw_only=True, tag_field="fact", tag=str.lower, omit_defaults=True):
    """One fact. Times are seconds since 1970."""

    at: float = msgspec.field(default_factory=time.time)


class Standing(Struct, frozen=True, gc=False):
    """Where an object is that was in a store before it was announced, and its tag then. It is never deleted."""

    uri: str
    etag: str


class File(Struct, frozen=True, kw_only=True, gc=False):
    """A line without its event: a binary that was announced."""

    line: int
    """The line's number from 1, as in the request."""
    puuid: str
    filename: str
    content_type: str
    size: int
    sha256: str
    """Hexadecimal."""
    key: str
    """The key of the object, relative to the store's prefix; empty where it is `in_place`."""
    in_place: Standing | UnsetType = UNSET

    def stored(self, root: str) -> StoredObject:
        """The binary as receipts show it; `root`: what the URIs of the store begin with."""
        uri = self.in_place.uri if self.in_place else root + self.key
        return StoredObject(self.puuid, uri, self.size, self.sha256, self.content_type, self.filename)


class Line(File, frozen=True, kw_only=True, gc=False):
    """A binary with the event that goes out once it is there."""

    id: str
    """The id of the event, whose fields all that follow are."""
    topic: str
    event_key: str
    value: bytes
    context: int
    """The index of its headers in the `contexts` of the shipment, but for those that name the object."""
    partition_by: bytes | None = None
    schema: tuple[str, int, int] | None
    """Subject, version, id."""

    def event(self, contexts: Sequence[Context], root: str) -> Event:
        """The event as it is published."""
        key, context = self.event_key.encode(), contexts[self.context]
        event = Event(self.id, self.topic, key, self.value, context, self.partition_by)
        return with_resource(event, self.stored(root))

    def receipt(self, at: Place, root: str) -> Receipt:
        """The client's receipt, once the event is out."""
        schema = SchemaVersion(*self.schema) if self.schema else None
        return Receipt(self.id, self.event_key, at.topic, at.partition, at.offset, schema, self.stored(root))


class Announced(Entry, frozen=True):
    """Written before the first byte."""

    id: str
    principal: str
    secret: str
    """Hexadecimal; the puuids of the lines are made with it."""
    expires: float
    contexts: list[list[tuple[str, str]]]
    """Headers that several events share."""
    lines: list[Line]


class Manifest(Entry, frozen=True, tag="announced"):
    """The same entry, read without its events."""

    id: str
    principal: str
    expires: float
    lines: list[File]


class Completing(Entry, frozen=True):
    """The events of these lines go out now, by this process."""

    owner: str
    lines: list[int]
    expires: float


class Refused(Struct, frozen=True, array_like=True):
    """A line whose event the bus refuses for good."""

    line: int
    code: str
    detail: str
    kept: bool
    """The object stays: the event may have been published before."""


class Published(Entry, frozen=True):
    """Outcomes of the lines of `completing`; those that are not named wait for another."""

    lines: list[int]
    positions: list[tuple[str, int | None, int | None]]
    """Topic, partition, offset, in the order of `lines`."""
    refused: list[Refused] = []


class Expired(Entry, frozen=True):
    """Given up, but for what was published."""

    reason: str
    owner: str


_decode = msgspec.json.Decoder(Announced | Completing | Published | Expired).decode
_decode_light = msgspec.json.Decoder(Manifest | Completing | Published | Expired).decode


@dataclass(frozen=True, slots=True)
class Shipment:
    """The sum of a shipment's log."""

    announced: Manifest | Announced
    entries: int
    last: Entry
    expires: float
    positions: dict[int, Place] = field(default_factory=dict)
    """The positions of the events of lines."""
    refused: dict[int, Refused] = field(default_factory=dict)
    tried: frozenset[int] = frozenset()
    """Lines that a process has begun to publish, and so may have."""
    end: Expired | None = None

    @property
    def id(self) -> str:
        return self.announced.id

    @property
    def completing(self) -> Completing | None:
        """The entry of who publishes now."""
        return self.last if isinstance(self.last, Completing) else None

    @property
    def state(self) -> State:
        """One word for it, as clients see it."""
        if self.end is not None:
            return "expired"
        if not self.left:
            return "published"
        return "completing" if self.completing else "open"

    def state_of(self, line: int) -> LineState:
        """One word for a line."""
        if line in self.positions:
            return "published"
        if line in self.refused:
            return "failed"
        return "expired" if self.end else "announced"

    @property
    def expires_at(self) -> str:
        """RFC 3339, UTC, to the second."""
        return datetime.fromtimestamp(self.expires, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

    @property
    def left(self) -> list[File]:
        """The lines that nothing became of yet."""
        return [f for f in self.announced.lines if f.line not in self.positions and f.line not in self.refused]

    @property
    def kept(self) -> set[int]:
        """The lines whose objects stay: an event names them, or may."""
        return {*self.positions} | {one.line for one in self.refused.values() if one.kept}

    def file(self, line: int) -> File | None:
        """A line of it."""
        return next((file for file in self.announced.lines if file.line == line), None)

    def after(self, entry: Entry) -> Shipment:
        """The shipment after one more entry."""
        shipment = replace(self, entries=self.entries + 1, last=entry)
        match entry:
            case Completing(expires=expires, lines=lines):
                return replace(shipment, expires=max(expires, self.expires), tried=self.tried.union(lines))
            case Published(lines=lines, positions=positions, refused=refused):
                found = zip(lines, (place(*at) for at in positions), strict=True)
                failed = {one.line: one for one in refused}
                return replace(
                    shipment, positions={**self.positions, **dict(found)}, refused={**self.refused, **failed}
                )
            case Expired():
                return replace(shipment, end=entry)
        return shipment

    def allows(self, entry: Entry) -> bool:
        """Whether the entry may be the next one."""
        if self.end is not None:
            return False
        return isinstance(entry, Completing) or isinstance(entry, Published) == (self.completing is not None)

    def __str__(self) -> str:
        """The shipment as logs name it: the id is the only secret of an anonymous client."""
        return masked(self.id)


class Accepted(NamedTuple):
    """A line whose record is validated: its event goes out as it is here."""

    line: int
    puuid: str
    blob: Blob
    filename: str
    content_type: str
    event: Event
    schema: SchemaVersion | None
    in_place: Standing | None = None


def written_down(accepted: Sequence[Accepted]) -> tuple[list[list[tuple[str, str]]], list[Line]]:
    """The headers that events share, and the lines, as `announced` has them."""
    contexts: dict[Context, int] = {}
    lines = [
        Line(
            line=a.line,
            puuid=a.puuid,
            filename=a.filename,
            content_type=a.content_type,
            size=a.blob.size,
            sha256=a.blob.sha256 or "",
            key="" if a.in_place else object_key(a.puuid, a.filename),
            in_place=a.in_place or UNSET,
            id=a.event.id,
            topic=a.event.topic,
            event_key=a.event.key.decode(),
            value=a.event.value,
            context=contexts.setdefault(a.event.context, len(contexts)),
            partition_by=a.event.partition_by,
            schema=(a.schema.subject, a.schema.version, a.schema.id) if a.schema else None,
        )
        for a in accepted
    ]
    return [[(name, value.decode()) for name, value in context] for context in contexts], lines


class Names:
    """The id of a new shipment and the puuids of its lines: UUIDs, version 8 (RFC 9562, 5.8).

    Their first 48 bits are random, and the same for all, so that a store lists them in one go; the others are bits of
    an HMAC with a secret of the shipment: who knows one puuid knows none of the others, nor the id.
    """

    def __init__(self, secret: str | None = None) -> None:
        """`secret`: of the request that announces it, where another attempt at the request is to find the same."""
        bits = hashlib.sha512(f"shipment {secret}".encode()).digest() if secret else secrets.token_bytes(38)
        prefix = bits[32:38].hex()
        self._prefix = f"{prefix[:8]}-{prefix[8:]}-8"
        self.secret = bits[:32]
        self.id = self.puuid(0)

    def puuid(self, line: int) -> str:
        """The puuid of a line, from 1."""
        h = hmac.digest(self.secret, b"%d" % line, "sha256").hex()
        return f"{self._prefix}{h[:3]}-{'89ab'[int(h[3], 16) & 3]}{h[4:7]}-{h[7:19]}"


def is_of_shipment(puuid: str) -> bool:
    """Whether a puuid is that of a line of some shipment, by its form."""
    return promise_named(puuid) == puuid and puuid[14] == "8"


def marker_key(principal: str, shipment: str) -> str:
    """Key of the mark that a shipment has work left."""
    return f"{OPEN}{hashlib.sha256(principal.encode()).hexdigest()}/{shipment}"


def log_of(store: Store, name: str) -> Log[Announced | Completing | Published | Expired]:
    """The log of a shipment, by its id or a puuid of a line."""
    return Log(store, _folder(name), _decode)


async def read(store: Store, name: str, known: Shipment | None = None) -> Shipment | None:
    """The shipment without its events, by its id or a puuid of a line; None when there is none.

    `known`: as it was; the rest is read.
    """
    log: Log[Manifest | Completing | Published | Expired] = Log(store, _folder(name), _decode_light)
    return _added(known, await log.read(known.entries if known else 0))


async def read_whole(store: Store, name: str) -> Shipment | None:
    """The shipment with its events."""
    return _added(None, await log_of(store, name).read())


def _added(shipment: Shipment | None, entries: Sequence[Entry]) -> Shipment | None:
    for entry in entries:
        if isinstance(entry, Announced | Manifest):
            shipment = Shipment(entry, 1, entry, entry.expires)
        elif shipment is not None:
            shipment = shipment.after(entry)
    return shipment


def _folder(name: str) -> str:
    return f"{STATE}/shipments/{name[:PREFIX].replace('-', '')}"
