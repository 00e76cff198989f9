"""A promise as a log of create-once entries in the store: what the entries are, and what they add up to.

.inlake/promises/<puuid>/<n>.json   the log; the fact is inside the entry, so two transitions compete for one name
.inlake/open/<sha256 of principal>/<puuid>   there is work left; created before entry 0, deleted after the last
.inlake/names/<sha256 of the path>  who may write at a place that a client named

reserved ── uploading* ──┬── stored ───┬── published
                         └── claimed ──┴── failed      (the bus refuses the event for good)
    any of them without both stored and claimed ── expired
    failed or expired at a place that a client named ── removing*   (who wrote it removes what is left)
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

from inlake.logbook.log import STATE
from inlake.model import Event, Position, Receipt, SchemaVersion, StoredObject
from inlake.ports import Store

Fact = Literal["reserved", "uploading", "stored", "claimed", "published", "failed", "expired", "removing"]
Way = Literal["request", "tus", "direct"]
"""How a binary comes: in one request to the gateway, in tus PATCHes, or straight to the object store."""
OPEN = f"{STATE}/open/"
ANNOUNCED = ("way", "size", "sha256", "metadata", "upload")
"""What entry 0 holds of it when it is known, beside what every one holds."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The event of a promise, whole but for the headers that name its object, and the schema it was checked against."""

    event: Event
    schema: SchemaVersion | None
    at: float


@dataclass(frozen=True, slots=True)
class Promise:
    """What a log adds up to. Times are seconds since 1970."""

    puuid: str
    principal: str
    key: str
    """Object key, relative to the store's prefix."""
    uri: str
    filename: str
    content_type: str
    owner: str
    """The process that works on it (`owner.me`): takes the binary, publishes the event, removes what is left; empty
    when it waits for its client."""
    named: bool = False
    """The client named the key."""
    way: Way = "request"
    size: int | None = None
    """Bytes, as announced."""
    sha256: str | None = None
    """Hexadecimal, as announced."""
    metadata: str = ""
    """tus: `Upload-Metadata` as sent."""
    upload: str | None = None
    """The store's id of an upload in pieces."""
    received: int = 0
    """Bytes that had come at the last entry `uploading`."""
    began: float = 0.0
    """When entry 0 was made."""
    entries: int = 0
    """Length of the log; the next entry gets this number."""
    at: float = 0.0
    """When the last entry was made."""
    writing: bool = False
    """What stands at the key is this promise's to delete: always so for a key of ours, for a named one from `uploading`
    on; no more so when it failed after an event that names it may have been published (`kept`)."""
    expires: float = 0.0
    """Without progress until then it may be given up."""
    stored: StoredObject | None = None
    claim: Claim | None = None
    again: bool = False
    """Claimed by an attempt before, which may have published the event."""
    published: Position | None = None
    ended: float | None = None
    """When it failed or expired."""
    failed: bool = False
    """It ended since the bus refused its event."""
    reason: str = ""
    """Why it ended: a code of `inlake.errors`, or words."""
    removing: bool = False
    """`owner` removes what it left, since `at`."""

    @property
    def state(self) -> Fact:
        """One word for it, as clients see it."""
        if self.published is not None:
            return "published"
        if self.ended is not None:
            return "failed" if self.failed else "expired"
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
        """Of the published event."""
        if self.published is None or self.claim is None:
            return None
        return Receipt.of(self.claim.event, self.published, self.claim.schema, self.stored)

    def allows(self, fact: Fact) -> bool:
        """Whether the fact may be the next entry."""
        if self.ended is not None or self.published is not None:
            return fact == "removing" and self.published is None
        match fact:
            case "reserved":
                return self.entries == 0
            case "uploading" | "stored":
                return self.stored is None
            case "claimed":
                return self.claim is None
            case "published" | "failed":
                return self.stored is not None and self.claim is not None
            case "expired":
                return self.stored is None or self.claim is None
            case "removing":
                return False

    def __str__(self) -> str:
        """For logs: the puuid of an anonymous client is its only secret, so never whole."""
        return f"{self.puuid[:8]}…"


async def read(store: Store, puuid: str, known: Promise | None = None) -> Promise | None:
    """A promise as its log tells it now; None when there is no such promise. `known`: as it was; the rest is read."""
    promise = known
    n = known.entries if known else 0
    while data := await store.get(_entry_key(puuid, n)):
        entry = json.loads(data)
        if promise is None:
            key = entry["key"]
            names = {name: entry[name] for name in ("principal", "filename", "content_type", "owner", "named")}
            names |= {name: entry[name] for name in ANNOUNCED if name in entry}
            promise = Promise(puuid, key=key, uri=store.uri(key), began=entry["at"], **names)
        promise = _after(promise, entry)
        n += 1
    return promise


async def append(store: Store, promise: Promise, fact: Fact, body: dict[str, Any]) -> Promise:
    """Add an entry if the log allows the fact, and return what the log adds up to then.

    Who loses an entry's name to another reads the log again and decides anew, so the caller looks at what came back.
    """
    return (await contend(store, promise, fact, body))[0]


async def contend(store: Store, promise: Promise, fact: Fact, body: dict[str, Any]) -> tuple[Promise, bool]:
    """As `append`, and whether the entry is the caller's: of two that add one fact, one acts on it."""
    while promise.allows(fact):
        if after := await attempt(store, promise, fact, body):
            return after, True
        promise = await read(store, promise.puuid) or promise
    return promise, False


async def attempt(store: Store, promise: Promise, fact: Fact, body: dict[str, Any]) -> Promise | None:
    """Add the entry that stands next in the log as the caller knows it; None when another's stands there."""
    entry = {"fact": fact, "at": time.time(), **body}
    if await store.create(_entry_key(promise.puuid, promise.entries), json.dumps(entry).encode()):
        return _after(promise, entry)
    return None


def first_entry(promise: Promise) -> dict[str, Any]:
    """What the entry 0 of any fact holds: all that is known before the first byte."""
    return {
        "principal": promise.principal,
        "key": promise.key,
        "named": promise.named,
        "filename": promise.filename,
        "content_type": promise.content_type,
        "owner": promise.owner,
        "expires": promise.expires,
        **{name: value for name in ANNOUNCED if (value := getattr(promise, name)) not in {None, ""}},
    }


def claim_entry(event: Event, schema: SchemaVersion | None) -> dict[str, Any]:
    """The event as JSON, its value in hexadecimal."""
    headers = [[name, value.decode()] for name, value in event.headers]
    body = {
        "id": event.id,
        "topic": event.topic,
        "key": event.key.decode(),
        "value": event.value.hex(),
        "headers": headers,
    }
    if event.partition_by is not None:
        body["partition_by"] = event.partition_by.hex()
    return {"event": body, "schema": schema and [schema.subject, schema.version, schema.id]}


def marker_key(principal: str, puuid: str) -> str:
    """Key of the mark that a promise has work left."""
    return f"{OPEN}{hashlib.sha256(principal.encode()).hexdigest()}/{puuid}"


def name_key(key: str) -> str:
    """Key of the mark that a place named by a client is taken."""
    return f"{STATE}/names/{hashlib.sha256(key.encode()).hexdigest()}"


def _entry_key(puuid: str, n: int) -> str:
    return f"{STATE}/promises/{puuid}/{n}.json"


def _after(promise: Promise, entry: dict[str, Any]) -> Promise:
    """The promise after one more entry."""
    fact = entry["fact"]
    promise = replace(
        promise,
        entries=promise.entries + 1,
        at=entry["at"],
        owner=entry.get("owner", promise.owner),
        expires=entry.get("expires", promise.expires),
        received=entry.get("received", promise.received),
        upload=entry.get("upload", promise.upload),
        size=entry.get("size", promise.size),
        writing=(promise.writing or not promise.named or fact in {"uploading", "stored"}) and not entry.get("kept"),
    )
    match fact:
        case "stored":
            names = (promise.puuid, promise.uri)
            stored = StoredObject(*names, entry["size"], entry["sha256"], promise.content_type, promise.filename)
            return replace(promise, stored=stored)
        case "claimed":
            e = entry["event"]
            context = tuple((name, value.encode()) for name, value in e["headers"] if name != "ce_id")
            by = bytes.fromhex(e["partition_by"]) if "partition_by" in e else None
            event = Event(e["id"], e["topic"], e["key"].encode(), bytes.fromhex(e["value"]), context, by)
            return replace(
                promise, claim=Claim(event, entry["schema"] and SchemaVersion(*entry["schema"]), entry["at"])
            )
        case "published":
            return replace(promise, published=Position(*entry["position"]))
        case "failed" | "expired":
            return replace(promise, ended=entry["at"], failed=fact == "failed", reason=entry["reason"])
        case "removing":
            return replace(promise, removing=True)
    return promise
