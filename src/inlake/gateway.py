"""THE DATA PATH: a submission is validated, its binary stored, one event published, and only then answered."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import quote

from inlake.codecs import Compiled, Finder
from inlake.errors import InlakeError
from inlake.model import Binary, Event, Position, Receipt, SchemaVersion, Submission
from inlake.partition import partition_bytes
from inlake.ports import Bus
from inlake.promise_log import Promise
from inlake.promises import Promises


class Turn:
    """Work in one go for a millisecond, then let other requests have theirs."""

    SECONDS = 0.001

    def __init__(self) -> None:
        self._end = time.perf_counter() + self.SECONDS

    async def over(self) -> None:
        """Yield to the event loop if the turn is over."""
        if time.perf_counter() > self._end:
            await asyncio.sleep(0)
            self._end = time.perf_counter() + self.SECONDS


class Gateway:
    """The path from a submission to its receipt. Knows neither HTTP nor Kafka nor S3."""

    def __init__(self, codecs: Finder, promises: Promises, bus: Bus) -> None:
        self.codecs = codecs
        self.promises = promises
        self.bus = bus

    async def ingest(self, s: Submission, sent: Promise | None = None) -> Receipt:
        """Validate, store, publish and confirm one submission.

        `sent`: the promise of a file that came before its record, in the same request. What a
        failure leaves `Sweep` removes, until the promise is claimed; from then on the event is on its way.
        """
        compiled = await self.codecs.find(s.schema, s.version, s.message)
        draft = compiled.codec.read(s.record, tagged=s.tagged)  # JSON to a value
        promise = await self.promises.locate(s, draft.resource, compiled.codec, sent)  # its URI is known, no more
        payload = compiled.codec.encode(draft, promise.uri if promise else None)  # filled, then all errors or none
        event = make_event(s, compiled, payload)  # id, time, key, headers: final from here on
        if promise is None:
            return await self._publish(event, compiled)
        if s.file:
            promise = await self.promises.store(promise, s.file)  # not a byte of the file is taken before here
        promise = await self.promises.claim(promise, event, compiled.schema)  # created once, keeps the event; else 409
        return await self.promises.finish(promise)  # publishes, then notes it

    async def ingest_file_first(
        self, file: Binary, principal: str, rest: Callable[[], Awaitable[Submission]]
    ) -> Receipt:
        """A file before its record: a promise, then its claim; a refused record deletes it. `rest` reads the record."""
        promise = await self.promises.store(self.promises.new(file, principal), file)
        try:
            return await self.ingest(await rest(), promise)
        except BaseException:
            await asyncio.shield(self.promises.abandon(promise))  # nothing happens if it is claimed
            raise

    async def validate(self, s: Submission) -> SchemaVersion | None:
        """The first steps of the path: the schema that the record fits. Nothing is looked up in the store."""
        compiled = await self.codecs.find(s.schema, s.version, s.message)
        compiled.codec.encode(compiled.codec.read(s.record, tagged=s.tagged))
        return compiled.schema

    async def validate_window(
        self, window: Sequence[Submission | InlakeError]
    ) -> list[SchemaVersion | InlakeError | None]:
        """`validate` for many; each result stands at its record's index."""
        results: list[SchemaVersion | InlakeError | None] = []
        turn = Turn()
        for s in window:
            try:
                results.append(s if isinstance(s, InlakeError) else await self.validate(s))
            except InlakeError as error:
                results.append(error)
            await turn.over()
        return results

    async def ingest_window(self, window: Sequence[Submission | InlakeError]) -> list[Receipt | InlakeError]:
        """The same steps for many records, which go to the bus in one call; each result stands at its record's index.

        An error in `window` (a line that is no record) is its own result. The order of the window is kept.
        """
        results: dict[int, Receipt | InlakeError] = {}
        waiting: dict[int, tuple[Event, Compiled]] = {}
        found: dict[tuple[str, int | None, str | None], Compiled] = {}
        turn = Turn()
        for i, s in enumerate(window):
            try:
                if isinstance(s, InlakeError):
                    raise s
                name = (s.schema, s.version, s.message)
                compiled = found.get(name) or found.setdefault(name, await self.codecs.find(*name))
                draft = compiled.codec.read(s.record, tagged=s.tagged)
                promise = None
                if draft.resource is not None:
                    promise = await self.promises.locate(s, draft.resource, compiled.codec)
                payload = compiled.codec.encode(draft, promise.uri if promise else None)
                event = make_event(s, compiled, payload)
                if promise is None:
                    waiting[i] = event, compiled
                else:
                    await self._publish_all(waiting, results)  # what stands before it goes out before it
                    promise = await self.promises.claim(promise, event, compiled.schema)
                    results[i] = await self.promises.finish(promise)
            except InlakeError as error:
                results[i] = error
            await turn.over()
        await self._publish_all(waiting, results)
        return [results[i] for i in range(len(window))]

    async def _publish_all(
        self, waiting: dict[int, tuple[Event, Compiled]], results: dict[int, Receipt | InlakeError]
    ) -> None:
        """Publish what waits, and put each result at its record's index."""
        if not waiting:
            return
        positions = await self.bus.publish([event for event, _ in waiting.values()])
        for (i, (event, compiled)), position in zip(waiting.items(), positions, strict=True):
            results[i] = position if isinstance(position, InlakeError) else _receipt(event, compiled, position)
        waiting.clear()

    async def _publish(self, event: Event, compiled: Compiled) -> Receipt:
        (position,) = await self.bus.publish([event])
        if isinstance(position, InlakeError):
            raise position
        return _receipt(event, compiled, position)


def make_event(s: Submission, compiled: Compiled, payload: bytes) -> Event:
    """The event of a record, accepted now: Confluent wire format, CloudEvents 1.0 headers in binary mode."""
    event_id = _uuid7()
    headers = [
        *compiled.headers,
        ("ce_id", event_id.encode()),
        ("ce_time", _time(time.time_ns() // 1_000_000)),
        ("inlake_principal", _quoted(s.principal)),
    ]
    if s.traceparent:
        headers.append(("traceparent", s.traceparent.encode()))
    rule = compiled.partition_by
    chosen_by = None if rule == "key" else partition_bytes(rule, s.record, event_id)
    return Event(event_id, compiled.topic, s.key, compiled.prefix + payload, headers, chosen_by)


def _uuid7() -> str:
    """A UUID, version 7 (RFC 9562, 5.7): 48 bits of time, then random; made without an object for it.

    Ids that grow keep the unique index of the embedded bus small on disk: random ones wrote 6 to 9 times the bytes.
    """
    h = f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"
    return f"{h[:8]}-{h[8:12]}-7{h[13:16]}-{'89ab'[int(h[16], 16) & 3]}{h[17:20]}-{h[20:]}"


@lru_cache(2)
def _time(ms: int) -> bytes:
    """Milliseconds since 1970 as RFC 3339; a thousand records share one."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()


@lru_cache(1000)
def _quoted(principal: str) -> bytes:
    return quote(principal, safe="").encode()


def _receipt(event: Event, compiled: Compiled, position: Position) -> Receipt:
    return Receipt(event.id, event.key.decode(), *position, compiled.schema)
