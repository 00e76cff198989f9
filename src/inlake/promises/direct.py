"""Binaries that clients send to the store themselves: signed requests go out, and what came of them is checked."""

from __future__ import annotations

import asyncio
import hashlib
import time
from base64 import b64decode
from dataclasses import dataclass

from inlake import ports
from inlake.errors import (
    DigestMismatch,
    DirectUploadNotAvailable,
    InlakeError,
    NotFound,
    PromiseExpired,
    SizeMismatch,
    UploadIncomplete,
    WrongState,
)
from inlake.model import Blob, ObjectFacts, Part, SignedRequest
from inlake.ports import Store
from inlake.promises.arrival import AT_ONCE
from inlake.promises.entries import Presigned, Promised
from inlake.promises.promise import Promise
from inlake.promises.steps import Promises

MIB = 1 << 20
ONE_PUT = 64 * MIB
"""Up to this size a binary goes in one PUT, unless its client wants parts."""
PART_SIZE = 16 * MIB
SMALLEST_PART, LARGEST_PUT, MAX_PARTS = 5 * MIB, 5 << 30, 10_000
"""Amazon S3 User Guide, "Multipart upload limits"."""
PAGE = 500
"""Parts that are signed at once: about half a megabyte of URLs."""
TURN = 20
"""Parts that are signed before other requests have their turn: under a millisecond."""
PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Seconds between looks for an object whose parts another request puts together: stores forget the upload first."""
NAMED_PARTS = 1_000
"""Missing parts that an answer names."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a binary is cut."""

    size: int
    part_size: int | None = None
    """Bytes of every part but the last; None: one PUT."""
    sha256: tuple[str, ...] = ()
    """Digests of the parts, hexadecimal; empty when they are not known beforehand."""

    @property
    def count(self) -> int:
        """Parts; 0 for one PUT."""
        return 0 if self.part_size is None else -(-self.size // self.part_size)

    def part(self, number: int) -> Blob:
        """Size and checksum of a part, counted from 1."""
        assert self.part_size is not None
        size = min(self.part_size, self.size - (number - 1) * self.part_size)
        return Blob(size, self.sha256[number - 1] if self.sha256 else None)


def plan_of(promise: Promise) -> Plan:
    """The plan that was made with the promise. `WrongState` when its binary comes in another way."""
    way, size = promise.announced.way, promise.size
    if not isinstance(way, Presigned) or size is None:
        raise WrongState(f"The binary of the promise {promise} comes through the gateway ({way.name}).")
    return Plan(size, way.part_size, way.sha256)


def default_part_size(size: int) -> int:
    """The size of the parts of a binary of `size` bytes: whole MiB, with room for as much again in 10,000 parts."""
    return max(PART_SIZE, -(-size // (MAX_PARTS // 2 * MIB)) * MIB)


@dataclass(frozen=True, slots=True)
class Offer:
    """Requests that a client may send, signed until the promise expires: one PUT, or a page of parts."""

    promise: Promise
    plan: Plan
    put: SignedRequest | None
    parts: list[tuple[int, Blob, SignedRequest]]
    next: int | None
    """Number of the first part on the next page."""


class DirectUploads:
    """Uploads past the gateway. All state is in the store: any process answers the next request."""

    def __init__(self, store: Store, promises: Promises) -> None:
        self._store, self._promises = store, promises

    @property
    def _direct(self) -> ports.Direct:
        """The store as clients reach it. Raises `DirectUploadNotAvailable`."""
        if self._store.direct is None:
            raise DirectUploadNotAvailable(
                "Clients cannot send to this store: a binary comes by POST /ingress/binary or by tus at /uploads."
            )
        return self._store.direct

    async def announce(self, filename: str, content_type: str, principal: str, plan: Plan, sha256: str | None) -> Offer:
        """A promise whose binary the client will send to the store, and what it may send there first.

        Raises `DirectUploadNotAvailable`.
        """
        direct, way = self._direct, Presigned(plan.part_size, plan.sha256)
        promise = self._promises.new(Promised(filename, content_type, way, plan.size, sha256), principal)
        try:
            promise = await self._promises.reserve(promise)
            if plan.part_size is not None:
                upload = await direct.begin(
                    promise.key,
                    content_type=content_type,
                    metadata={"puuid": promise.puuid},
                    sha256=bool(plan.sha256),
                )
                promise = await self._promises.progress(promise, received=0, upload=upload)
            return await self.offer(promise)
        except BaseException:
            await asyncio.shield(self._promises.abandon(promise, late=True))
            raise

    async def offer(self, promise: Promise, first: int = 1) -> Offer:
        """Signed requests for the one PUT, or for the parts from `first` on. `WrongState`, `PromiseExpired`."""
        plan = plan_of(promise)
        _check_open(promise)
        if promise.stored is not None:
            raise WrongState(f"The binary of the promise {promise} is complete already.")
        until = promise.expires
        if promise.upload is None:
            put = await self._direct.sign_put(
                promise.key,
                Blob(plan.size, promise.announced.sha256),
                content_type=promise.announced.content_type,
                metadata={"puuid": promise.puuid},
                expires=until,
            )
            return Offer(promise, plan, put, [], None)
        end = min(first + PAGE, plan.count + 1)
        parts = []
        for number in range(first, end):
            blob = plan.part(number)
            signed = await self._direct.sign_part(promise.key, promise.upload, number, blob, expires=until)
            parts.append((number, blob, signed))
            if number % TURN == 0:
                await asyncio.sleep(0)
        return Offer(promise, plan, None, parts, end if end <= plan.count else None)

    async def renew(self, promise: Promise) -> Promise:
        """If more parts have come since it was asked last, move the expiry of the promise on."""
        received = sum(part.size for part in await self.parts_done(promise))
        if received > promise.received:
            promise = await self._promises.progress(promise, received=received)
        return promise

    async def parts_done(self, promise: Promise) -> list[Part]:
        """The parts that the store holds of an open promise; none for any other."""
        if not isinstance(promise.announced.way, Presigned) or promise.upload is None or promise.stored or promise.end:
            return []
        try:
            return [*await self._direct.parts(promise.key, promise.upload)]
        except NotFound:  # put together just now
            return []

    async def complete(self, promise: Promise) -> Promise:
        """Check what is in the store, and only then count the promise as stored; publish if a record waits for it.

        Raises `UploadIncomplete` (the promise stays open), `SizeMismatch`, `DigestMismatch` (it is given up),
        `PromiseExpired`, `WrongState`. Complete already: nothing happens.
        """
        plan = plan_of(promise)
        if promise.stored is not None and promise.state != "expired":
            return promise
        _check_open(promise)
        if time.time() > promise.expires and await self._promises.expire(promise):
            raise PromiseExpired(f"The promise {promise} has expired: make another, and send the binary again.")
        if promise.upload is not None:
            await self._assemble(promise, promise.upload, plan)
        is_small = promise.upload is None and plan.size <= AT_ONCE
        size, sha256 = await (self._read_small(promise) if is_small else self._look(promise, plan))
        await self._compare(promise, SizeMismatch, plan.size, size)
        await self._compare(promise, DigestMismatch, promise.announced.sha256, sha256)
        return await self._promises.fulfil(promise, size=size, sha256=sha256)

    async def _read_small(self, promise: Promise) -> tuple[int, str]:
        """Size and SHA-256 of an object of one PUT, which nobody can replace: reading it costs less than asking for its
        checksum. Raises `UploadIncomplete`."""
        data = await self._store.get(promise.key)
        if data is None:
            raise _nothing(promise)
        return len(data), hashlib.sha256(data).hexdigest()

    async def _look(self, promise: Promise, plan: Plan) -> tuple[int, str]:
        """Size and SHA-256 of an object that may be large. Raises `UploadIncomplete`, `SizeMismatch`."""
        facts = await self._facts(promise)
        await self._compare(promise, SizeMismatch, plan.size, facts.size)
        return facts.size, _whole_sha256(promise, facts) or await self._read_back(promise, facts)

    async def _assemble(self, promise: Promise, upload: str, plan: Plan) -> None:
        """Make the object of its parts, unless that is done already."""
        try:
            found = {part.number: part for part in await self._direct.parts(promise.key, upload)}
            missing = [n for n in range(1, plan.count + 1) if not _is(found.get(n), plan.part(n))]
            if not found and await self._find(promise):
                return  # while another request makes the object of its parts, some stores list none
            if missing:
                shown = ", ".join(map(str, missing[:10])) + (", …" if len(missing) > 10 else "")
                raise UploadIncomplete(
                    f"Of {plan.count:,} parts {len(missing):,} are missing: {shown}. Send them, then complete again.",
                    missing=missing[:NAMED_PARTS],
                    missing_count=len(missing),
                )
            await self._direct.complete(promise.key, upload, [found[n] for n in range(1, plan.count + 1)])
        except NotFound:
            return  # another request does it, or has done it

    async def _facts(self, promise: Promise) -> ObjectFacts:
        """The store's facts of the object. Raises `UploadIncomplete`."""
        if facts := await self._find(promise):
            return facts
        raise _nothing(promise)

    async def _find(self, promise: Promise) -> ObjectFacts | None:
        """The store's facts of the object, which another request may be making of its parts; None: there is none."""
        facts = await self._store.facts(promise.key)
        if facts is None and promise.upload is not None:
            for pause in PAUSES:
                await asyncio.sleep(pause)
                if facts := await self._store.facts(promise.key):
                    break
        return facts

    async def _read_back(self, promise: Promise, before: ObjectFacts) -> str:
        """SHA-256 of the bytes in the store: of an object made of parts S3 has a checksum of checksums only."""
        promise = await self._promises.progress(promise, received=before.size)  # it may take its time
        digest = hashlib.sha256()
        async for chunk in self._store.read(promise.key):
            await asyncio.to_thread(digest.update, chunk)
        if await self._store.facts(promise.key) != before:
            raise UploadIncomplete("The object was replaced while it was read: complete it again.")
        return digest.hexdigest()

    async def _compare(
        self, promise: Promise, error: type[InlakeError], announced: int | str | None, found: int | str
    ) -> None:
        """Gives the promise up if the object in the store differs from the one announced."""
        if announced not in {None, found}:
            await self._promises.cancel(promise, reason=error.code)
            what = "bytes" if error is SizeMismatch else "as its SHA-256"
            raise error(
                f"The object has {found} {what}, and {announced} was announced: make a new promise.",
                announced=announced,
                found=found,
            )


def _check_open(promise: Promise) -> None:
    if promise.end is not None:
        raise PromiseExpired(f"The promise {promise} has ended ({promise.reason}): make another.")


def _nothing(promise: Promise) -> UploadIncomplete:
    return UploadIncomplete(f"The store has no object of the promise {promise} yet: send the binary first.")


def _is(part: Part | None, announced: Blob) -> bool:
    """Whether the store holds the part that was announced; both were signed, so a store that checks has no other."""
    if part is None or part.size != announced.size:
        return False
    return None in {part.checksum_sha256, announced.sha256} or _hex(part.checksum_sha256) == announced.sha256


def _whole_sha256(promise: Promise, facts: ObjectFacts) -> str | None:
    """The store's own checksum, where it is of the whole object: it has compared it with the bytes that came."""
    return None if promise.upload is not None else _hex(facts.checksum_sha256)


def _hex(base64: str | None) -> str | None:
    """The SHA-256 in hexadecimal; None also for what is none, such as a checksum of checksums (`...-3`)."""
    if base64 is None or len(base64) != 44:
        return None
    return b64decode(base64).hex()
