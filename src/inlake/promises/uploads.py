"""Binaries that come in several requests (tus): each adds bytes behind the last, in whichever process it arrives.

An upload of a known size is begun in the store with its first bytes, and that stands in its log; one that comes whole
in one request of up to `AT_ONCE` bytes is never begun, and needs no lease: its object is put, only if there is none
yet, and noted. Whoever else brings bytes at that moment finds the object there, and goes by what stands in it.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import AsyncIterator
from contextlib import suppress

from inlake.errors import (
    BadParameter,
    InlakeError,
    NotFound,
    OffsetConflict,
    OutOfSpace,
    PromiseExpired,
    PromiseNotFound,
    UploadLocked,
)
from inlake.logbook.lease import TAKEN, Lease, Leases
from inlake.memory import Recent
from inlake.model import masked
from inlake.ports import Store
from inlake.promises.arrival import AT_ONCE, Body
from inlake.promises.entries import Tus
from inlake.promises.promise import Promise, read
from inlake.promises.steps import Promises

log = logging.getLogger("inlake.uploads")
HASHES = 1_000
"""Uploads whose SHA-256 so far is remembered; of the others the object is read once when it is complete."""


SOON = 0.25
"""Seconds in which the bytes of a small upload are held back, to be put at once if all of them come. A client whose
connection stands still longer finds what it has sent."""


class Uploads:
    """Resumable uploads on promises. All state is in the store, but for hashes that spare a reading."""

    def __init__(self, store: Store, promises: Promises, leases: Leases) -> None:
        self._store, self._promises, self._leases = store, promises, leases
        self._hashes: Recent[str, _Hash] = Recent(HASHES)
        self._finishing: set[asyncio.Task[None]] = set()

    async def create(self, promise: Promise, *, at_most: int) -> Promise:
        """Reserve a new promise (`Promises.new`); one of no bytes is complete at once.

        `at_most`: bytes of an upload whose size is told later.
        """
        promise = await self._promises.reserve(promise)
        if promise.size is None:  # no process but this one need know what it may be at most
            return await self._begin(promise, at_most)
        return await self._put(promise, b"") if promise.size == 0 else promise

    async def _begin(self, promise: Promise, size: int) -> Promise:
        kind, about = promise.announced.content_type, {"puuid": promise.puuid}
        upload = await self._store.pieces.begin(promise.key, content_type=kind, metadata=about, size=size)
        try:
            promise = await self._promises.progress(promise, received=0, upload=upload)
        except OutOfSpace:  # it is certainly not noted, and the next request begins another
            await self._store.pieces.abort(promise.key)
            raise
        if promise.stored or promise.end:  # given up meanwhile, or whole by another request
            await self._store.pieces.abort(promise.key)
        return promise

    async def find(self, puuid: str, principal: str) -> Promise:
        """One's own upload, unfinished or complete. Raises `PromiseNotFound`, `PromiseExpired`."""
        promise = await self._promises.find(puuid, principal)
        if not isinstance(promise.announced.way, Tus) or (promise.upload is None and promise.size is None):
            raise PromiseNotFound(f"There is no upload {masked(puuid)} of yours.")
        return _alive(promise)

    async def announce(self, promise: Promise, size: int) -> Promise:
        """The size of an upload that was begun without; once told it stays. Raises `BadParameter`."""
        if promise.size is None:
            received = await self.received(promise)
            if received <= size:
                promise = await self._promises.progress(promise, received=received, size=size)
        if promise.size != size:
            raise BadParameter(f"Upload-Length is {size:,}, and cannot be: the upload says {promise.size or 'more'}.")
        return promise

    async def offset(self, promise: Promise) -> int:
        """Bytes held. A request that still writes is stopped first: what it had is then counted."""
        if promise.stored:
            return promise.stored.size
        freed = await self._leases.freed(promise.puuid)
        received = await self.received(promise)
        if received == promise.size:
            if freed:  # who received the last byte did not come to its end
                self._finish_later(await self._noted_whole(promise))
        elif not freed:
            raise UploadLocked(TAKEN)
        return received

    async def append(self, promise: Promise, offset: int, chunks: AsyncIterator[bytes]) -> tuple[Promise, int]:
        """Add bytes; the upload as it is then, and its length. With the last byte the promise is fulfilled.

        What comes before `chunks` raises is kept. Raises `OffsetConflict`, `UploadLocked`, `PromiseExpired`.
        """
        if promise.stored:
            _check_whole(promise, offset)
            return promise, offset
        if offset > 0 and promise.upload is None and promise.size is not None:
            await self._check_offset(promise, offset)  # before there is a lease: nobody would forget it
        if offset > 0 or promise.upload is not None or promise.size is None or promise.size > AT_ONCE:
            return await self._append(promise, offset, chunks)
        body = Body(chunks)
        try:
            await body.read(SOON)
            if body.is_whole and len(body.data) == promise.size:
                return await self._put(promise, bytes(body.data)), promise.size
            return await self._append(promise, 0, body.again())
        finally:
            body.close()

    async def _append(self, promise: Promise, offset: int, chunks: AsyncIterator[bytes]) -> tuple[Promise, int]:
        async with self._leases.held(promise.puuid) as lease:
            promise = _alive(await read(self._store, promise.puuid, promise) or promise)
            if promise.stored is None:  # who held it before has not finished it
                promise, offset = await self._write(promise, offset, chunks, lease)
        self._forget_if_over(promise)
        _check_whole(promise, offset)
        return promise, offset

    async def _write(
        self, promise: Promise, offset: int, chunks: AsyncIterator[bytes], lease: Lease
    ) -> tuple[Promise, int]:
        if offset == promise.size and offset == await self.received(promise):
            length = offset  # only its end is missing
        else:
            try:
                async with lease.giving_way():
                    promise = await self._begun(promise, offset)
                    length = await self._take(promise, offset, chunks, lease)
            except UploadLocked:
                length = await self.received(promise)
                if length != promise.size:  # all bytes were there already
                    raise
        if length == promise.size:
            promise = await self._finish(promise)
        elif _is_due(promise):  # the expiry has moved on while bytes came
            promise = await read(self._store, promise.puuid, promise) or promise
        return promise, length

    async def concatenate(self, promise: Promise, partials: list[Promise]) -> Promise:
        """An upload of the bytes of others, which are complete, in their order."""

        async def chunks() -> AsyncIterator[bytes]:
            for partial in partials:
                async for chunk in self._store.read(partial.key):
                    yield chunk

        promise = await self.create(promise, at_most=0)
        return (await self.append(promise, 0, chunks()))[0] if promise.size else promise

    async def finish(self, promise: Promise) -> bool:
        """Complete an upload whose bytes are all there; False when another does, or some are missing. For what a crash
        left: its log may say more than what the store had taken."""
        try:
            async with self._leases.held(promise.puuid, wait=0):
                promise = await self._promises.find(promise.puuid, promise.principal)
                received = await self.received(promise)
                done = promise.stored is None and received == promise.size
                if done:
                    promise = await self._finish(promise)
                elif promise.stored is None and received is not None:
                    await self._promises.progress(promise, received=received)
        except UploadLocked:
            return False
        self._forget_if_over(promise)
        return done

    async def cancel(self, promise: Promise) -> None:
        """Give an upload up, and stop who writes to it. Raises `PromiseUsed`."""
        await self._promises.cancel(promise)
        if await self._leases.freed(promise.puuid, wait=0):
            self._forget(promise)
        # else who writes to it has to find that it is wanted: sweep forgets it

    async def close(self) -> None:
        """Stop what was begun in the background; `Sweep` of another process ends it."""
        for task in self._finishing:
            task.cancel()
        if self._finishing:
            await asyncio.wait(self._finishing)
        await self._promises.cleanup.close()

    def _forget_if_over(self, promise: Promise) -> None:
        """Forget an upload unless something may happen to it, or who publishes its event forgets it."""
        if promise.stored and (promise.claim or promise.upload is None):
            self._forget(promise)

    def _forget(self, promise: Promise) -> None:
        """The lease of an upload whose event is out, or that was given up: nobody needs it."""
        self._hashes.pop(promise.puuid, None)
        self._promises.cleanup.forget_later(promise)

    async def _put(self, promise: Promise, data: bytes) -> Promise:
        """Puts the object of an upload that has come whole, and fulfils the promise."""
        sha256 = sent = hashlib.sha256(data).hexdigest()
        kind, about = promise.announced.content_type, {"puuid": promise.puuid}
        if not await self._store.put_new(promise.key, data, content_type=kind, metadata=about):
            try:
                sha256 = (await self._read_back(promise)).hexdigest()
            except NotFound:
                raise _given_up(promise) from None
        promise = await self._promises.fulfil(promise, size=len(data), sha256=sha256)
        if promise.upload is not None:  # another request has begun it meanwhile
            with suppress(InlakeError):
                await self._store.pieces.abort(promise.key)
        if sha256 != sent:
            raise OffsetConflict(f"The upload is complete, with {len(data):,} bytes.")
        return promise

    async def _begun(self, promise: Promise, offset: int) -> Promise:
        """The upload when its store knows of it. Raises `OffsetConflict`."""
        if promise.upload is not None:
            return promise
        assert promise.size is not None
        await self._check_offset(promise, offset)
        promise = _alive(await self._begin(promise, promise.size))
        _check_whole(promise, offset)
        return promise

    async def _check_offset(self, promise: Promise, offset: int) -> None:
        """Raises `OffsetConflict` unless so many bytes are there."""
        if (received := await self.received(promise)) != offset:
            raise OffsetConflict(f"The upload stands at {received:,} bytes, not at {offset:,}.")

    async def _take(self, promise: Promise, offset: int, chunks: AsyncIterator[bytes], lease: Lease) -> int:
        assert promise.upload is not None
        known = self._hashes.pop(promise.puuid, None)
        hashed = _Hash() if offset == 0 else known if known and known.length == offset else None
        arriving = self._watched(promise, offset, chunks, hashed, lease)
        try:
            length = await self._store.pieces.append(promise.key, promise.upload, offset, arriving, size=promise.size)
        except NotFound:
            promise = _alive(await read(self._store, promise.puuid, promise) or promise)
            _check_whole(promise, offset)  # another request has brought it whole
            raise _given_up(promise) from None
        except (Exception, asyncio.CancelledError):
            if hashed is not None:  # a hash of bytes that were not kept must not be gone on with
                with suppress(Exception):
                    self._remember(promise, hashed, await self.received(promise))
            raise
        self._remember(promise, hashed, length)
        return length

    def _remember(self, promise: Promise, hashed: _Hash | None, length: int) -> None:
        """Keep the hash of the bytes held, for the next request to this process."""
        if hashed is not None and hashed.length == length:
            self._hashes.keep(promise.puuid, hashed)

    async def received(self, promise: Promise) -> int:
        """Bytes that the store holds. Raises `PromiseExpired`."""
        if promise.stored is not None:
            return promise.stored.size
        if promise.upload is None:
            return await self._store.head(promise.key) or 0
        received = await self._store.pieces.received(promise.key, promise.upload)
        if received is None:  # put together, and not noted; or given up a moment ago
            received = await self._store.head(promise.key)
        if received is None:
            raise _given_up(promise)
        return received

    async def _finish(self, promise: Promise) -> Promise:
        """Makes the object of an upload whose bytes are all there, learns its SHA-256 and fulfils the promise."""
        if promise.end is not None:
            raise _given_up(promise)
        if promise.size == 0:
            return await self._put(promise, b"")
        assert promise.size is not None
        hashed, made = self._hashes.pop(promise.puuid, None), False
        try:
            if promise.upload is not None:
                promise, made = await asyncio.gather(  # noted, so that Sweep ends it if this process dies from here on
                    self._noted_whole(promise), self._store.pieces.complete(promise.key, promise.upload)
                )
            if hashed is None or hashed.length != promise.size or not made:
                hashed = await self._read_back(promise)
        except NotFound:
            raise _given_up(promise) from None
        return await self._promises.fulfil(promise, size=hashed.length, sha256=hashed.hexdigest())

    async def _noted_whole(self, promise: Promise) -> Promise:
        """Notes that all bytes have come: once, since each note moves the expiry on."""
        if promise.size is None or promise.received == promise.size:
            return promise
        return await self._promises.progress(promise, received=promise.size)

    async def _read_back(self, promise: Promise) -> _Hash:
        hashed = _Hash()
        async for chunk in self._store.read(promise.key):
            hashed.add(chunk)
        return hashed

    def _finish_later(self, promise: Promise) -> None:
        async def finish() -> None:
            try:
                await self.finish(promise)
            except InlakeError as error:
                log.warning("upload %s is not finished yet: %s", promise, error.detail)

        task = asyncio.create_task(finish())
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    async def _watched(
        self,
        promise: Promise,
        offset: int,
        chunks: AsyncIterator[bytes],
        hashed: _Hash | None,
        lease: Lease,
    ) -> AsyncIterator[bytes]:
        """The chunks, hashed; while they come the expiry moves on, and another request may take over."""
        held = offset
        async for chunk in chunks:
            if hashed is not None:
                hashed.add(chunk)
            offset += len(chunk)
            if offset == promise.size:
                lease.go_through()
            yield chunk
            if _is_due(promise):
                promise = await self._promises.progress(promise, received=held)  # of the rest nobody knows yet
                if promise.end is not None:
                    raise _given_up(promise)


def _is_due(promise: Promise) -> bool:
    """Whether a third of its time is over: then its log says that it goes on."""
    return time.time() > promise.at + (promise.expires - promise.at) / 3


def _check_whole(promise: Promise, offset: int) -> None:
    """Raises `OffsetConflict` unless `offset` is the end of an upload that is complete."""
    if promise.stored is not None and offset != promise.stored.size:
        raise OffsetConflict(f"The upload is complete, with {promise.stored.size:,} bytes.")


class _Hash:
    """SHA-256 of the first `length` bytes."""

    def __init__(self) -> None:
        self.length = 0
        self._sha256 = hashlib.sha256()
        self.hexdigest = self._sha256.hexdigest

    def add(self, chunk: bytes) -> None:
        self._sha256.update(chunk)
        self.length += len(chunk)


def _alive(promise: Promise) -> Promise:
    if promise.end is not None or (promise.stored is None and time.time() > promise.expires):
        raise _given_up(promise)
    return promise


def _given_up(promise: Promise) -> PromiseExpired:
    return PromiseExpired(f"The upload {promise} was given up: begin another one.")
