"""A promise as a log of create-once entries in the store: what the entries are, and what they add up to.

.inlake/promises/<puuid>/<n>.json   the log; the fact is inside the entry, so two transitions compete for one name
.inlake/open/<sha256 of principal>/<puuid>   there is work left; created before entry 0, deleted after the last
.inlake/names/<sha256 of the path>  who may write at a place that a client named

reserved ── uploading* ──┬── stored ───┬── published
                         └── claimed ──┴── failed      (the bus refuses the event for good)
    stored again by a repeat of its request, which goes on with it
    any of them without both stored and claimed ── expired
    failed or expired at a place that a client named ── removing*   (who wrote it removes what is left)
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import msgspec
from msgspec import structs

from inlake.errors import PromiseExpired
from inlake.logbook.log import STATE, Log
from inlake.memory import Recent
from inlake.model import Event, Place, Receipt, SchemaVersion, StoredObject, masked, place
from inlake.ports import Store
from inlake.promises.entries import (
    Claimed,
    Entry,
    Expired,
    Failed,
    Presigned,
    Promised,
    Published,
    Removing,
    Reserved,
    Stored,
    Tus,
    Uploading,
    decode,
    with_resource,
)
from inlake.promises.places import OBJECTS

OPEN = f"{STATE}/open/"
KNOWN, KNOWN_LENGTH = 2_000, 1_000
"""Promises that a process remembers, and characters that are announced of each."""
State = Literal["reserved", "uploading", "stored", "claimed", "published", "failed", "expired"]


@dataclass(frozen=True, slots=True)
class Claim:
    """The event of a promise, whole but for the headers that name its object, and the schema it was checked against."""

    event: Event
    schema: SchemaVersion | None


@dataclass(frozen=True, slots=True)
class Promise:
    """The sum of a promise's log. Times are seconds since 1970."""

    puuid: str
    principal: str
    key: str
    """Object key, relative to the store's prefix."""
    uri: str
    announced: Promised
    owner: str
    """The process that works on it, or did last (`process.me`): takes the binary, publishes the event, removes what is
    left. Empty before the first; one that claimed it stays while the binary is waited for."""
    upload: str | None = None
    """The store's id of an upload in pieces."""
    received: int = 0
    """Bytes that had come at the last entry `uploading`."""
    entries: int = 0
    """Length of the log; the next entry gets this number."""
    last: Entry | None = None
    expires: float = 0.0
    """The time when a promise without progress may be given up."""
    has_place: bool = False
    """The object at a key that the client named is this promise's: so from the entry `uploading` on."""
    stored: StoredObject | None = None
    claim: Claim | None = None
    again: bool = False
    """Claimed by an attempt before, which may have published the event."""
    published: Place | None = None
    end: Failed | Expired | None = None

    @property
    def size(self) -> int | None:
        """Bytes, as announced."""
        return self.announced.size

    @property
    def is_named(self) -> bool:
        """Whether the client named the key: keys of ours are all in one folder, where no client can name one."""
        return not self.key.startswith(f"{OBJECTS}/")

    @property
    def may_be_deleted(self) -> bool:
        """Whether what stands at the key is this promise's, and no event names it."""
        return (self.has_place or not self.is_named) and not (isinstance(self.end, Failed) and self.end.kept)

    @property
    def at(self) -> float:
        """The time of the last entry."""
        return self.last.at if self.last else 0.0

    @property
    def reason(self) -> str:
        """Why it ended: a code of `inlake.errors`, or words; empty when it has not."""
        return self.end.reason if self.end else ""

    @property
    def state(self) -> State:
        """One word for it, as clients see it."""
        if self.published is not None:
            return "published"
        if self.end is not None:
            return "failed" if isinstance(self.end, Failed) else "expired"
        if self.claim is not None:
            return "claimed"
        if self.stored is not None:
            return "stored"
        return "uploading" if self.received else "reserved"

    @property
    def expires_at(self) -> str:
        """RFC 3339, UTC, to the second."""
        return datetime.fromtimestamp(self.expires, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

    @property
    def receipt(self) -> Receipt | None:
        """The receipt of the published event."""
        if self.published is None or self.claim is None:
            return None
        return Receipt.of(self.claim.event, self.published, self.claim.schema, self.stored)

    def reserved(self) -> Reserved:
        """Entry 0 of a promise that is not written yet."""
        announced, metadata, concat = self.announced, "", ""
        match announced.way:
            case Tus(metadata, concat):
                pass
            case Presigned(part_size=int()):
                metadata = msgspec.json.encode(announced.way).decode()
        return Reserved(
            principal=self.principal,
            key=self.key,
            named=self.is_named,
            filename=announced.filename,
            content_type=announced.content_type,
            owner=self.owner,
            expires=self.expires,
            way=announced.way.name,
            size=announced.size,
            sha256=announced.sha256,
            metadata=metadata,
            concat=concat,
        )

    def allows(self, entry: Entry) -> bool:
        """Whether the entry may be the next one."""
        if self.end is not None or self.published is not None:
            return isinstance(entry, Removing) and self.end is not None
        match entry:
            case Reserved():
                return self.entries == 0
            case Uploading() | Stored():
                return self.stored is None
            case Claimed():
                return self.claim is None
            case Published() | Failed():
                return self.stored is not None and self.claim is not None
            case Expired():
                return self.entries > 0 and (self.stored is None or self.claim is None)
        return False

    def after(self, entry: Entry) -> Promise:
        """The promise after one more entry."""
        n = self.entries + 1
        match entry:
            case Uploading():
                known = self.announced
                return replace(
                    self,
                    entries=n,
                    last=entry,
                    has_place=True,
                    received=entry.received,
                    upload=self.upload or entry.upload,  # the first stays: bytes were confirmed in it
                    announced=known if entry.size is None else structs.replace(known, size=entry.size),
                    expires=self.expires if entry.expires is None else entry.expires,
                )
            case Stored():
                binary = (self.announced.content_type, self.announced.filename)
                return replace(
                    self,
                    entries=n,
                    last=entry,
                    has_place=True,
                    stored=StoredObject(self.puuid, self.uri, entry.size, entry.sha256, *binary),
                    owner=self.owner if entry.owner is None else entry.owner,
                    expires=self.expires if entry.expires is None else entry.expires,
                )
            case Claimed(owner=owner, expires=expires):
                claim = Claim(entry.event.event(), entry.schema and SchemaVersion(*entry.schema))
                return replace(self, entries=n, last=entry, claim=claim, owner=owner, expires=expires)
            case Published():
                return replace(self, entries=n, last=entry, published=place(*entry.position))
            case Failed() | Expired():
                owner = self.owner if entry.owner is None else entry.owner
                return replace(self, entries=n, last=entry, end=entry, owner=owner)
            case Removing(owner=owner):
                return replace(self, entries=n, last=entry, owner=owner)
        return replace(self, entries=n, last=entry)

    def __str__(self) -> str:
        """The promise as logs name it: the puuid of an anonymous client is its only secret, so never whole."""
        return masked(self.puuid)


def event_of(promise: Promise) -> Event:
    """The event of a promise that is stored and claimed: always these bytes."""
    assert promise.stored is not None
    assert promise.claim is not None
    return with_resource(promise.claim.event, promise.stored)


class Known:
    """Promises as this process has last read or written them. Their entries never change and are never deleted, so
    only those behind are read."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._promises: Recent[str, Promise] = Recent(KNOWN)

    async def read(self, puuid: str) -> Promise | None:
        """The promise as its log tells it now."""
        promise = await read(self._store, puuid, self._promises.recall(puuid))
        if promise is not None:
            self.keep(promise)
        return promise

    def keep(self, promise: Promise) -> None:
        """Remember a promise that something may still happen to, unless it takes much memory."""
        if promise.claim is None and promise.end is None and promise.announced.length <= KNOWN_LENGTH:
            self._promises.keep(promise.puuid, promise)
        else:
            self._promises.pop(promise.puuid, None)


async def read(store: Store, puuid: str, known: Promise | None = None) -> Promise | None:
    """A promise as its log tells it now; None when there is no such promise. `known`: as it was; the rest is read."""
    promise = known
    for entry in await _log(store, puuid).read(known.entries if known else 0):
        if promise is None:
            if not isinstance(entry, Reserved):
                return None  # given up before it was reserved: nothing was written
            key = entry.key
            promise = Promise(puuid, entry.principal, key, store.uri(key), entry.announced(), entry.owner)
            promise = replace(promise, expires=entry.expires)
        promise = promise.after(entry)
    return promise


async def add(store: Store, promise: Promise, entry: Entry, *, if_next: bool = False) -> tuple[Promise, bool]:
    """Add an entry if the log allows it: what the log adds up to then, and whether the entry is the caller's.

    Who loses an entry's number to another reads the log again and decides anew, so the caller looks at what came back;
    of two that add one fact, one acts on it. `if_next`: not if the log has gone on since the caller read it.
    """
    while promise.allows(entry):
        if after := await add_next(store, promise, entry):
            return after, True
        entries = promise.entries
        promise = await read(store, promise.puuid) or promise
        if promise.entries == entries:
            raise PromiseExpired(f"The promise {promise} was given up before it was reserved: begin another one.")
        if if_next:
            break
    return promise, False


async def add_next(store: Store, promise: Promise, entry: Entry) -> Promise | None:
    """Add the entry that stands next in the log as the caller knows it; None when another's stands there."""
    ends = isinstance(entry, Published | Failed | Expired | Removing)
    added = await _log(store, promise.puuid).add(promise.entries, entry, ends=ends)
    return promise.after(entry) if added else None


def marker_key(principal: str, puuid: str) -> str:
    """Key of the mark that a promise has work left."""
    return f"{OPEN}{hashlib.sha256(principal.encode()).hexdigest()}/{puuid}"


def name_key(key: str) -> str:
    """Key of the mark that a place named by a client is taken."""
    return f"{STATE}/names/{hashlib.sha256(key.encode()).hexdigest()}"


def _log(store: Store, puuid: str) -> Log[Entry]:
    return Log(store, f"{STATE}/promises/{puuid}", decode, suffix=".json")
