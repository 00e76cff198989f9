"""Binaries on their way: reserve, store, claim, publish. Also one sent with its record is a promise."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import uuid4

from inlake.errors import (
    InlakeError,
    OutcomeUnknown,
    OutOfSpace,
    PlaceTaken,
    PromiseExpired,
    PromiseNotFound,
    PromiseUsed,
    Unavailable,
)
from inlake.logbook import process
from inlake.memory import Recent
from inlake.model import Binary, Event, Place, Receipt, SchemaVersion, Submission, masked
from inlake.ports import Bus, Codec, Store
from inlake.promises.arrival import Arrival, check_same, in_background
from inlake.promises.cleanup import Cleanup
from inlake.promises.entries import (
    Claimed,
    ClaimedEvent,
    Entry,
    Expired,
    Failed,
    InRequest,
    Promised,
    Published,
    Stored,
    Tus,
    Uploading,
)
from inlake.promises.places import check_foreign, check_resource_field, named_place, object_key, promise_named
from inlake.promises.promise import Known, Promise, add, add_next, event_of, marker_key, name_key, read

log = logging.getLogger("inlake.promises")
KEPT = (
    "Record and binary are kept: the event goes out as soon as it can, and GET /promises/{puuid} tells when. "
    "Sent again without an Idempotency-Key, the same file makes another event."
)


class Promises:
    """The steps of the data path that concern a binary. All state is in the store."""

    def __init__(
        self,
        store: Store,
        bus: Bus,
        *,
        upload_timeout: float,
        promise_seconds: float = 86_400,
        me: str | None = None,
    ) -> None:
        """`upload_timeout`: seconds without progress after which a request's binary may be given up;
        `promise_seconds`: the same for a promise that waits for its client, not bound to a request;
        `me`: who works on promises here (default: `process.me`)."""
        self._store = store
        self._bus = bus
        self._upload_timeout = upload_timeout
        self._promise_seconds = promise_seconds
        self._root = store.uri("-").removesuffix("-")
        self._me = me or process.me()
        self._known = Known(store)
        self._published = Recent[str, Place]()
        """Where events are whose promises do not say so yet."""
        self.cleanup = Cleanup(store, in_time=upload_timeout, me=self._me)

    # ------------------------------------------------------------------------------------------- which promise it is
    async def locate(self, s: Submission, resource: Any, codec: Codec, sent: Promise | None = None) -> Promise | None:
        """The promise that a record is bound to; nothing is stored yet.

        A new one for `s.file` (at the place the record names, or at one of ours), the one whose file was sent before
        the record (`sent`), the one the record names, or None for a record without a binary of ours. Raises
        `NoResourceField`, `BadPlace`, `PlaceTaken`, `PromiseNotFound`, `PromiseUsed`, `PromiseExpired`,
        `ResourceNotAPromise`.
        """
        if s.file is None and sent is None:
            if resource is None:
                return None
            if puuid := promise_named(resource):
                return await self._find_open(puuid, s.label.principal, s.event_id)
            check_foreign(resource, self._root)
            return None
        check_resource_field(codec, s.label.schema)
        if sent:
            if resource is not None:
                raise PlaceTaken(
                    "The file is stored already when its record names a place: send the part `record` first."
                )
            return sent
        assert s.file is not None
        new = await self.of_file(s.file, s.label.principal)
        if resource is None or new.stored:
            return new
        key = named_place(resource, self._root)
        return replace(new, key=key, uri=self._store.uri(key))

    def new(self, announced: Promised, principal: str, *, puuid: str | None = None) -> Promise:
        """A new promise whose object gets a key of ours. Nothing is written yet.

        One that comes in a request belongs to this process; any other waits for its client.
        """
        puuid = puuid or str(uuid4())
        key = object_key(puuid, announced.filename)
        owner = self._me if isinstance(announced.way, InRequest) else ""
        return Promise(puuid, principal, key, self._store.uri(key), announced, owner)

    async def of_file(self, file: Binary, principal: str) -> Promise:
        """The promise of a file that comes in a request: a new one, or the one that an attempt before stored it for."""
        before = await read(self._store, file.puuid) if file.puuid else None
        return before or self.new(Promised(file.filename, file.content_type), principal, puuid=file.puuid)

    async def resume(self, puuid: str) -> str:
        """The promise under which a repeat of a request that did not end goes on with its file.

        It is the one of before if the file is stored, and belongs to this process then. Else it is a new one, and that
        of before is given up: its writer may be alive, and only slow.
        """
        promise = await read(self._store, puuid)
        while promise is not None and promise.stored and promise.claim is None and promise.end is None:
            if await self._go_on_with(promise):
                return puuid
            promise = await read(self._store, puuid)
        if promise is not None and promise.stored is None and promise.end is None:
            dead = process.is_certainly_dead(promise.owner)
            promise, added = await self._add(promise, Expired(reason="no progress", owner=self._me))
            if added:
                await (self.cleanup.remove(promise) if dead else self.cleanup.delete_object(promise))
        return puuid if promise is not None and promise.stored and promise.end is None else str(uuid4())

    async def _go_on_with(self, promise: Promise) -> Promise | None:
        """Notes that a stored promise which no record has claimed belongs to this process, and moves its expiry on;
        None when another entry stands there."""
        assert promise.stored is not None
        size, sha256, expires = promise.stored.size, promise.stored.sha256, time.time() + self._timeout(promise)
        return await add_next(self._store, promise, Stored(size=size, sha256=sha256, owner=self._me, expires=expires))

    async def _hold(self, promise: Promise | None) -> None:
        """Keeps a stored promise from expiring, until another entry says what becomes of it."""
        while promise is not None:
            await asyncio.sleep(self._upload_timeout / 3)
            with suppress(InlakeError):  # the store is away for a moment: the next round tries again
                promise = await self._go_on_with(promise)

    async def find(self, puuid: str, principal: str) -> Promise:
        """One's own promise in any state. Raises `PromiseNotFound`, for another's too."""
        promise = await self._known.read(puuid) if promise_named(puuid) == puuid else None
        if promise is None or promise.principal != principal:
            raise PromiseNotFound(f"There is no promise {masked(puuid)} of yours.")
        return promise

    async def _find_open(self, puuid: str, principal: str, event_id: str | None) -> Promise:
        """One that can be claimed; or was by this very event, in an attempt before with the same Idempotency-Key."""
        promise = await self.find(puuid, principal)
        if promise.state == "expired" or (promise.claim is None and time.time() > promise.expires):
            raise _expired(promise)
        if promise.claim is not None:
            if promise.claim.event.id == event_id and promise.end is None:
                return promise
            raise _used(promise)
        if promise.owner:  # still bound to the request that brings it, whose client does not know of it yet
            raise PromiseNotFound(f"There is no promise {masked(puuid)} of yours.")
        return promise

    # ----------------------------------------------------------------------------------------------- the binary's half
    async def reserve(self, promise: Promise, *, seconds: float | None = None) -> Promise:
        """Write marker and entry 0, before anything else is; it expires after `seconds` without progress.

        Raises `PlaceTaken`, `PromiseExpired`.
        """
        now = time.time()
        await self._store.create(marker_key(promise.principal, promise.puuid), json.dumps({"at": now}).encode())
        promise = replace(promise, expires=now + (self._timeout(promise) if seconds is None else seconds))
        try:
            promise, _ = await self._add(promise, promise.reserved())
        except OutOfSpace:
            await self._store.delete(marker_key(promise.principal, promise.puuid))
            raise
        if promise.is_named and not promise.end:
            promise = await self._take_place(promise)
        if promise.end:
            raise _expired(promise)
        return promise

    async def _add(self, promise: Promise, entry: Entry, *, if_next: bool = False) -> tuple[Promise, bool]:
        promise, added = await add(self._store, promise, entry, if_next=if_next)
        self._known.keep(promise)
        return promise, added

    def _timeout(self, promise: Promise) -> float:
        return self._upload_timeout if isinstance(promise.announced.way, InRequest) else self._promise_seconds

    async def _take_place(self, promise: Promise) -> Promise:
        """Claim the place that the client named. The entry `uploading` says that what stands there is ours."""
        taken = not await self._store.create(name_key(promise.key), promise.puuid.encode())
        if not taken and await self._store.head(promise.key) is None:
            return (await self._add(promise, Uploading(received=0)))[0]
        raise PlaceTaken(f"The place {promise.key!r} is taken, or being written just now; nothing was stored.")

    async def progress(
        self, promise: Promise, *, received: int, upload: str | None = None, size: int | None = None
    ) -> Promise:
        """Note the bytes held so far, and move the expiry on; look at `end` of what comes back.

        `upload`: the store's id of an upload in pieces, once it is begun; `size`: of the whole, where it is told late.
        """
        expires = time.time() + self._timeout(promise)
        entry = Uploading(received=received, expires=expires, upload=upload, size=size)
        return (await self._add(promise, entry))[0]

    async def store(self, promise: Promise, file: Binary, *, kept: bool = False) -> Promise:
        """Reserve, then stream the file to its object, sha256 on the way. After a failure nothing is left.

        `kept`: its record comes in a request of its own, so that it waits for its client from then on. Raises
        `DigestMismatch`, `PlaceTaken`, `PromiseExpired`, and what the file and the store raise.
        """
        if promise.stored is not None:
            async with in_background(self._hold(promise)):
                await check_same(file, promise.stored.sha256)
            return promise
        arrival = Arrival(file)
        try:
            promise = await self.reserve(promise)
            arrival.expires = promise.expires
            async with in_background(self._renew(promise, arrival)):
                await self._store.put(
                    promise.key,
                    arrival.parts(),
                    content_type=promise.announced.content_type,
                    metadata={"puuid": promise.puuid},
                )
            if kept:
                return await self.fulfil(promise, size=arrival.size, sha256=arrival.sha256)
            promise, _ = await self._add(promise, Stored(size=arrival.size, sha256=arrival.sha256))
            if promise.stored is None:
                raise _expired(promise)
            return promise
        except BaseException as error:
            unknown = isinstance(error, Unavailable | OutOfSpace | asyncio.CancelledError)
            await asyncio.shield(self.abandon(promise, late=unknown))
            raise

    async def _renew(self, promise: Promise, arrival: Arrival) -> None:
        """Moves the expiry on while bytes arrive."""
        seen = 0
        while True:
            await asyncio.sleep(self._upload_timeout / 3)
            if arrival.size == seen:
                continue
            seen = arrival.size
            with suppress(InlakeError):  # the store is away for a moment: the next round tries again
                promise = await self.progress(promise, received=seen)
                arrival.expires = promise.expires

    async def fulfil(self, promise: Promise, *, size: int, sha256: str) -> Promise:
        """The object is complete in the store: note it, and publish the event of a record that waits for it.

        A bus that does not take the event leaves it to `Sweep`; look at `end` of what comes back, where it refuses it
        for good. Raises `PromiseExpired` when the promise was given up meanwhile; then the object is deleted.
        """
        owner = self._me if promise.claim else ""
        entry = Stored(size=size, sha256=sha256, owner=owner, expires=time.time() + self._promise_seconds)
        promise, added = await self._add(promise, entry)
        if promise.stored is None:
            await self.cleanup.delete_object(promise)
            raise _expired(promise)
        if added and promise.claim:
            try:
                await self.finish(promise)
            except InlakeError as error:
                log.warning("promise %s: its event is not out: %s", promise, error.detail)
            with suppress(InlakeError):  # the store is away: it is told as it was
                promise = await read(self._store, promise.puuid, promise) or promise
        return promise

    # ----------------------------------------------------------------------------------------------- the record's half
    async def claim(self, promise: Promise, event: Event, schema: SchemaVersion | None) -> Promise:
        """Bind the event to the promise, once and for ever. Raises `PromiseUsed`, `PromiseExpired`.

        What comes back is `stored`, and the caller publishes; or it is not yet, and who stores it does.
        """
        entry = Claimed(
            event=ClaimedEvent.of(event),
            schema=(schema.subject, schema.version, schema.id) if schema else None,
            owner=self._me,
            expires=time.time() + self._promise_seconds,
        )
        promise, added = await self._add(promise, entry)
        if promise.claim is None:
            raise _expired(promise)
        if promise.claim.event.id != event.id or promise.end is not None:
            raise _used(promise)
        return promise if added else replace(promise, again=True)

    async def finish(self, promise: Promise, *, again: bool = False) -> Receipt:
        """Publish the event of a promise that is stored and claimed, then note where it is, as `conclude` says."""
        if promise.receipt is not None:
            return promise.receipt
        position: Place | InlakeError | None = self._published.recall(promise.puuid)
        if position is None:
            (position,) = await self._bus.publish([event_of(promise)])
        return await self.conclude(promise, position, again=again)

    async def conclude(self, promise: Promise, position: Place | InlakeError, *, again: bool = False) -> Receipt:
        """Note what the bus said of the event of a promise; raises its error.

        A refusal that no repeat can change ends the promise and deletes its object; with `again` the object stays,
        since an attempt before may have published an event that names it. After any other failure the promise stays
        as it is, and `Sweep` publishes the same event later.
        """
        assert promise.stored is not None
        assert promise.claim is not None
        if isinstance(position, InlakeError):
            if position.retryable and again:
                raise position
            if position.retryable:
                raise OutcomeUnknown(f"{position.detail.rstrip('.')}. {KEPT}", puuid=promise.puuid)
            entry = Failed(reason=position.code, kept=again or promise.again, owner=self._me)
            promise, added = await self._add(promise, entry)
            if added:
                await self.cleanup.remove_failed(promise)
            raise position
        self._published.keep(promise.puuid, position)
        try:
            at = (position.topic, position.partition, position.offset)
            promise, _ = await self._add(promise, Published(position=at))
            self._published.pop(promise.puuid, None)  # a sweep beside this may have noted it
            if isinstance(promise.announced.way, Tus) and promise.upload:  # one that was begun has had a lease
                self.cleanup.forget_later(promise)
            else:
                await self._store.delete(marker_key(promise.principal, promise.puuid))
        except InlakeError as error:  # it is published, and the client hears so; sweep closes it
            log.warning("promise %s is published, but its log is not closed: %s", promise, error.detail)
        assert promise.claim is not None
        return Receipt.of(event_of(promise), position, promise.claim.schema, promise.stored)

    # --------------------------------------------------------------------------------------------------------- the end
    async def cancel(self, promise: Promise, *, reason: str = "cancelled") -> Promise:
        """Give up a promise that its client wants no more, or whose binary is wrong; one that has ended stays as it is.

        Raises `PromiseUsed` when it is stored and claimed: its event is out, or on its way.
        """
        promise, added = await self._add(promise, Expired(reason=reason, owner=self._me))
        if promise.end is None:
            raise _used(promise)
        if added:
            with suppress(InlakeError):  # sweep deletes what is left, and what a slow writer adds
                await self.cleanup.delete_object(promise)
        return promise

    async def abandon(self, promise: Promise, *, late: bool = False) -> None:
        """Give up a promise whose file this process has stopped writing, unless it is stored and its log goes on.

        `late`: what was sent to the store may still take effect after this; name and marker stay until `Sweep` has
        deleted once more.
        """
        try:
            known = promise if promise.entries else await read(self._store, promise.puuid)
            if known is None:
                return  # there is nothing but its mark
            # of what is stored only a claim goes on, or another attempt of the request
            entry, is_stored = Expired(reason="abandoned", owner=self._me), known.stored is not None
            promise, added = await self._add(known, entry, if_next=is_stored)
            if promise.end:
                await (self.cleanup.remove(promise) if added and not late else self.cleanup.delete_object(promise))
        except InlakeError as error:
            log.warning("promise %s is abandoned, but not removed; sweep does it: %s", promise, error.detail)

    async def expire(self, promise: Promise) -> bool:
        """Give up a promise that nobody has gone on with in time; False when somebody has since it was read."""
        expired = await add_next(self._store, promise, Expired(reason="no progress", owner=self._me))
        if expired is None:
            return False
        self._known.keep(expired)
        await self.cleanup.delete_object(expired)
        return True


def _expired(promise: Promise) -> PromiseExpired:
    return PromiseExpired(
        f"The promise {promise} has expired ({promise.reason or 'no progress'}): send the binary again."
    )


def _used(promise: Promise) -> PromiseUsed:
    """The error for the promise's own principal; the receipt is in it once there is one."""
    told = {"puuid": promise.puuid, "state": promise.state, "receipt": promise.receipt}
    return PromiseUsed(f"The promise {promise} was claimed by another record.", **told)
