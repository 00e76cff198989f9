"""THE DATA PATH: a submission is validated, its binary stored, one event published, and only then answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from inlake.codecs import Finder
from inlake.errors import InlakeError
from inlake.event import Stamp, make_event
from inlake.model import Binary, Pending, Receipt, SchemaVersion, Submission
from inlake.ports import Bus
from inlake.promises.promise import Promise
from inlake.promises.steps import Promises


class Gateway:
    """The path from a submission to its receipt. Knows neither HTTP nor Kafka nor S3."""

    def __init__(self, codecs: Finder, promises: Promises, bus: Bus) -> None:
        self.codecs = codecs
        self.promises = promises
        self.bus = bus
        self.stamp = Stamp()

    async def ingest(self, s: Submission, sent: Promise | None = None) -> Receipt | Pending:
        """Validate, store, publish and confirm one submission; `Pending` when its binary is not complete yet.

        `sent`: the promise of a file that came before its record, in the same request. After a failure `Sweep` removes
        what is left, unless the promise is claimed: from then on the event is on its way.
        """
        compiled = await self.codecs.find(s.label.schema, s.label.version, s.label.message)
        draft = compiled.codec.read(s.record, tagged=s.label.tagged)  # JSON to a value
        promise = None  # of a record without a binary, for which nothing is looked up
        if draft.resource is not None or s.file or sent:
            promise = await self.promises.locate(s, draft.resource, compiled.codec, sent)  # its URI is known, no more
        payload = compiled.codec.encode(draft, promise.uri if promise else None)  # the URI in it; all errors or none
        event = make_event(s, compiled, payload, self.stamp.now())  # id, time, key: final from here on
        if promise is None:
            (position,) = await self.bus.publish([event])
            if isinstance(position, InlakeError):
                raise position
            return Receipt.of(event, position, compiled.schema)
        if s.file:
            promise = await self.promises.store(promise, s.file)  # not a byte of the file is taken before here
        promise = await self.promises.claim(promise, event, compiled.schema)  # created once, keeps the event; else 409
        if promise.stored is None:
            return pending(promise)  # published by the request that stores it
        return await self.promises.finish(promise)  # publishes, then notes it

    async def ingest_file_first(
        self, file: Binary, principal: str, rest: Callable[[], Awaitable[Submission]]
    ) -> Receipt | Pending:
        """A file before its record: a promise, then its claim; a refused record deletes it. `rest` reads the record."""
        promise = await self.promises.store(await self.promises.of_file(file, principal), file)
        try:
            return await self.ingest(await rest(), promise)
        except BaseException:
            await asyncio.shield(self.promises.abandon(promise))  # nothing happens if it is claimed
            raise

    async def validate(self, s: Submission) -> SchemaVersion | None:
        """The first steps of the path: the schema that the record fits. Nothing is looked up in the store."""
        compiled = await self.codecs.find(s.label.schema, s.label.version, s.label.message)
        compiled.codec.encode(compiled.codec.read(s.record, tagged=s.label.tagged))
        return compiled.schema


def pending(promise: Promise) -> Pending:
    """The answer to the client of a claimed promise while its binary is not complete."""
    assert promise.claim is not None
    event = promise.claim.event
    return Pending(event.id, event.key.decode(), promise.puuid, promise.state, promise.claim.schema, promise.expires_at)
