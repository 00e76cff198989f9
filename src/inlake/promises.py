"""Binaries on their way: reserve, store, claim, publish. Also one sent with its record is a promise."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import uuid4

from inlake import owner
from inlake.errors import (
    InlakeError,
    NoResourceField,
    OutcomeUnknown,
    OutOfSpace,
    PlaceTaken,
    PromiseExpired,
    PromiseNotFound,
    PromiseUsed,
    Unavailable,
)
from inlake.model import PART, Binary, Event, Receipt, SchemaVersion, StoredObject, Submission
from inlake.places import check_foreign, named_place, object_key, promise_named
from inlake.ports import Bus, Codec, Store
from inlake.promise_log import Promise, append, claim_entry, first_entry, marker_key, name_key, read

log = logging.getLogger("inlake.promises")
KEPT = "Record and binary are kept: the event goes out as soon as it can. Sent again, they make another event."
STOOD_STILL = "The upload stood still for too long and was given up: send it again."


class Promises:
    """The steps of the data path that concern a binary. All state is in the store, none in the process."""

    def __init__(self, store: Store, bus: Bus, *, upload_timeout: float) -> None:
        """`upload_timeout`: seconds without progress after which a binary may be given up."""
        self._store = store
        self._bus = bus
        self._upload_timeout = upload_timeout
        self._root = store.uri("-").removesuffix("-")
        self._me = owner.me()

    async def locate(self, s: Submission, resource: Any, codec: Codec, sent: Promise | None = None) -> Promise | None:
        """Which promise a record is bound to; nothing is stored yet.

        A new one for `s.file` (at the place the record names, or at one of ours), the one whose file was sent before
        the record (`sent`), the one the record names, or None for a record without a binary of ours. Raises
        `NoResourceField`, `BadPlace`, `PlaceTaken`, `PromiseNotFound`, `PromiseUsed`, `PromiseExpired`,
        `ResourceNotAPromise`.
        """
        if s.file is None and sent is None:
            if resource is None:
                return None
            if puuid := promise_named(resource):
                return await self._find_open(puuid, s.principal)
            check_foreign(resource, self._root)
            return None
        if not codec.has_resource_field:
            raise NoResourceField(f"The schema {s.schema} has no top-level text field for the path of the binary.")
        if sent:
            if resource is not None:
                raise PlaceTaken(
                    "The file is stored already when its record names a place: send the part `record` first."
                )
            return sent
        assert s.file is not None
        new = self.new(s.file, s.principal)
        if resource is None:
            return new
        key = named_place(resource, self._root)
        return replace(new, key=key, uri=self._store.uri(key), named=True)

    def new(self, file: Binary, principal: str) -> Promise:
        """A new promise whose object gets a key of ours. Nothing is written yet."""
        puuid = str(uuid4())
        key = object_key(puuid, file.filename)
        return Promise(puuid, principal, key, self._store.uri(key), file.filename, file.content_type, self._me)

    async def store(self, promise: Promise, file: Binary) -> Promise:
        """Reserve, then stream the file to its object, sha256 on the way. After a failure nothing is left."""
        received = _Received()
        try:
            promise = await self._reserve(promise)
            received.expires = promise.expires
            async with _renewed(self._renew(promise, received)):
                await self._store.put(
                    promise.key,
                    received.parts(file.chunks),
                    content_type=promise.content_type,
                    metadata={"puuid": promise.puuid},
                )
            facts = {"size": received.size, "sha256": received.sha256.hexdigest()}
            promise = await append(self._store, promise, "stored", facts)
        except BaseException as error:
            unknown = isinstance(error, Unavailable | OutOfSpace | asyncio.CancelledError)
            await asyncio.shield(self.abandon(promise, late=unknown))
            raise
        if promise.stored is None:
            await self.delete_object(promise)
            raise PromiseExpired(STOOD_STILL)
        return promise

    async def claim(self, promise: Promise, event: Event, schema: SchemaVersion | None) -> Promise:
        """Bind the event to the promise, once and for ever. Raises `PromiseUsed`, `PromiseExpired`."""
        promise = await append(self._store, promise, "claimed", claim_entry(event, schema))
        if promise.claim is None:
            raise PromiseExpired(f"The promise {promise} has expired: send the binary again.")
        if promise.claim.event.id != event.id:
            raise PromiseUsed(f"The promise {promise} was claimed by another record.")
        return promise

    async def finish(self, promise: Promise, *, again: bool = False) -> Receipt:
        """Publish the event of a promise that is stored and claimed, then note where it is.

        A refusal that no repeat can change ends the promise and deletes its object; with `again` the object stays,
        since an attempt before may have published an event that names it. After any other failure the promise stays
        as it is, and `sweep` publishes the same event later.
        """
        assert promise.stored is not None
        assert promise.claim is not None
        claim, stored = promise.claim, promise.stored
        event = _with_resource(claim.event, stored)
        position = (await self._bus.publish([event]))[0]
        if isinstance(position, InlakeError):
            if position.retryable:
                raise position if again else OutcomeUnknown(f"{position.detail.rstrip('.')}. {KEPT}")
            promise = await append(self._store, promise, "failed", {"reason": position.code, "kept": again})
            if promise.ended:
                await self.end(promise)
            raise position
        try:
            promise = await append(self._store, promise, "published", {"position": list(position)})
            await self._store.delete(marker_key(promise.principal, promise.puuid))
        except InlakeError as error:  # it is published, and the client hears so; sweep publishes the same event again
            log.warning("promise %s is published, but its log is not closed: %s", promise, error.detail)
        return Receipt(event.id, event.key.decode(), *position, claim.schema, stored)

    async def abandon(self, promise: Promise, *, late: bool = False) -> None:
        """Give up a promise whose file this process has stopped writing, unless it is stored and claimed.

        `late`: what was sent to the store may still take effect after this; name and marker stay until `sweep` has
        deleted once more.
        """
        try:
            promise = await append(self._store, promise, "expired", {**first_entry(promise), "reason": "abandoned"})
            if promise.ended:
                await (self.delete_object(promise) if late else self.end(promise))
        except InlakeError as error:
            log.warning("promise %s is abandoned, but not removed; sweep does it: %s", promise, error.detail)

    async def end(self, promise: Promise) -> None:
        """Remove what an ended promise left: object, name, marker. Its log stays."""
        await self.delete_object(promise)
        if promise.named and await self._holds_place(promise):
            await self._store.delete(name_key(promise.key))
        await self._store.delete(marker_key(promise.principal, promise.puuid))

    async def delete_object(self, promise: Promise) -> None:
        """Delete the object of an ended promise, unless what stands there may be another's."""
        if promise.writing and (not promise.named or await self._holds_place(promise)):
            await self._store.delete(promise.key)

    async def _holds_place(self, promise: Promise) -> bool:
        return await self._store.get(name_key(promise.key)) == promise.puuid.encode()

    async def _find_open(self, puuid: str, principal: str) -> Promise:
        promise = await read(self._store, puuid)
        if promise is None or promise.principal != principal:
            raise PromiseNotFound(f"There is no promise {puuid[:8]}… of yours.")
        if promise.claim is not None:
            raise PromiseUsed(f"The promise {promise} was claimed by another record.")
        if promise.stored is None or promise.ended:
            raise PromiseExpired(f"The promise {promise} has expired: send the binary again.")
        return promise

    async def _reserve(self, promise: Promise) -> Promise:
        now = time.time()
        await self._store.create(marker_key(promise.principal, promise.puuid), json.dumps({"at": now}).encode())
        promise = replace(promise, expires=now + self._upload_timeout)
        promise = await append(self._store, promise, "reserved", first_entry(promise))
        if promise.named and not promise.ended:
            promise = await self._take_place(promise)
        if promise.ended:
            raise PromiseExpired("The upload was given up before it began: send it again.")
        return promise

    async def _take_place(self, promise: Promise) -> Promise:
        """Claim the place that the client named. The entry `uploading` says that what stands there is ours."""
        taken = not await self._store.create(name_key(promise.key), promise.puuid.encode())
        if not taken and await self._store.head(promise.key) is None:
            return await append(self._store, promise, "uploading", {"received": 0})
        raise PlaceTaken(f"The place {promise.key!r} is taken, or being written just now; nothing was stored.")

    async def _renew(self, promise: Promise, received: _Received) -> None:
        """While bytes arrive, move the expiry on."""
        seen = 0
        while True:
            await asyncio.sleep(self._upload_timeout / 3)
            if received.size == seen:
                continue
            seen = received.size
            facts = {"received": seen, "expires": time.time() + self._upload_timeout}
            with suppress(InlakeError):  # the store is away for a moment: the next round tries again
                promise = await append(self._store, promise, "uploading", facts)
                received.expires = promise.expires


class _Received:
    """Counts and hashes a binary while it passes, and cuts it into parts for the store."""

    def __init__(self) -> None:
        self.size = 0
        self.sha256 = hashlib.sha256()
        self.expires = 0.0
        """As the log has it, seconds since 1970."""

    async def parts(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes | bytearray]:
        """Buffers of `PART` bytes, each a fresh one: the store may keep it without a copy."""
        part = bytearray()
        async for chunk in chunks:
            self.sha256.update(chunk)
            self.size += len(chunk)
            view = memoryview(chunk)
            while len(view) > 0:
                taken = PART - len(part)
                part += view[:taken]
                view = view[taken:]
                if len(part) == PART:
                    yield part
                    part = bytearray()
        if time.time() > self.expires:  # this process slept: its place may be another's by now, and is not written to
            raise PromiseExpired(STOOD_STILL)
        if part:
            yield part


class _renewed:  # noqa: N801 - a context manager reads as a verb
    """Run a coroutine beside a block; it ends with the block."""

    def __init__(self, renewal: Any) -> None:
        self._task = asyncio.ensure_future(renewal)

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


def _with_resource(event: Event, stored: StoredObject) -> Event:
    """The event with the headers that name its object: the same bytes whenever it is made."""
    resource = [
        ("inlake_puuid", stored.puuid.encode()),
        ("inlake_resource_uri", stored.uri.encode()),
        ("inlake_resource_size", b"%d" % stored.size),
        ("inlake_resource_sha256", stored.sha256.encode()),
        ("inlake_resource_type", stored.content_type.encode()),
    ]
    return event._replace(headers=[*event.headers, *resource])
