"""THE DATA PATH: a submission is validated, its binary stored, one event published, and only then answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, cast

from inlake.codecs import Compiled, Finder
from inlake.errors import InlakeError
from inlake.event import Stamp, make_event
from inlake.model import Binary, Event, Label, Pending, Position, Receipt, SchemaVersion, Submission
from inlake.ports import Bus
from inlake.promises.entries import Promise
from inlake.promises.places import promise_named
from inlake.promises.steps import Promises, event_of


class Turn:
    """Work in one go for half a millisecond, then let other requests have theirs: several streams add up."""

    SECONDS = 0.0005

    def __init__(self) -> None:
        self._end = time.perf_counter() + self.SECONDS

    def is_over(self) -> bool:
        return time.perf_counter() > self._end

    async def give_way(self) -> None:
        """Let the event loop turn to the others; then a new turn begins."""
        await asyncio.sleep(0)
        self._end = time.perf_counter() + self.SECONDS


AT_ONCE = 16
"""Promises of one window that are worked on at the same time."""
Waiting = tuple[int, Event, Compiled, Promise | None]
"""Index in the window of an event that can go out, with its claimed promise if it has a binary of ours."""
Result = Receipt | Pending | InlakeError
Naming = tuple[int, Submission, Compiled, Any]
"""Index, record, codec and draft of a line that names a promise."""


class Gateway:
    """The path from a submission to its receipt. Knows neither HTTP nor Kafka nor S3."""

    def __init__(self, codecs: Finder, promises: Promises, bus: Bus) -> None:
        self.codecs = codecs
        self.promises = promises
        self.bus = bus
        self._stamp = Stamp()

    async def ingest(self, s: Submission, sent: Promise | None = None) -> Receipt | Pending:
        """Validate, store, publish and confirm one submission; `Pending` when its binary is not complete yet.

        `sent`: the promise of a file that came before its record, in the same request. What a
        failure leaves `Sweep` removes, until the promise is claimed; from then on the event is on its way.
        """
        compiled = await self.codecs.find(s.label.schema, s.label.version, s.label.message)
        draft = compiled.codec.read(s.record, tagged=s.label.tagged)  # JSON to a value
        promise = await self.promises.locate(s, draft.resource, compiled.codec, sent)  # its URI is known, no more
        payload = compiled.codec.encode(draft, promise.uri if promise else None)  # filled, then all errors or none
        event = make_event(s, compiled, payload, self._stamp.now())  # id, time, key, headers: final from here on
        if promise is None:
            return await self._publish(event, compiled)
        if s.file:
            promise = await self.promises.store(promise, s.file)  # not a byte of the file is taken before here
        promise = await self.promises.claim(promise, event, compiled.schema)  # created once, keeps the event; else 409
        if promise.stored is None:
            return _pending(promise)  # who stores it publishes
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

    async def judge_window(
        self, window: Sequence[Submission | InlakeError]
    ) -> Coroutine[Any, Any, list[SchemaVersion | InlakeError | None]]:
        """`validate` for many, in the form of `accept_window`; each result stands at its record's index."""
        results: list[SchemaVersion | InlakeError | None] = []
        turn = Turn()
        for s in window:
            try:
                results.append(s if isinstance(s, InlakeError) else await self.validate(s))
            except InlakeError as error:
                results.append(error.kept())
            if turn.is_over():
                await turn.give_way()
        return asyncio.sleep(0, results)  # nothing is left to do

    async def accept_window(self, window: Sequence[Submission | InlakeError]) -> Coroutine[Any, Any, list[Result]]:
        """The steps of `ingest` for many records, up to the bus; what is left to be awaited publishes them in one call.

        Each result stands at its record's index; an error in `window` (a line that is no record) is its own. So the
        next window can be encoded while this one is on its way; whose rest begins first is published first.
        """
        results: list[Result | None] = [None] * len(window)
        waiting: list[Waiting] = []
        naming: dict[str, list[Naming]] = {}
        found: dict[tuple[str, int | None, str | None], Compiled] = {}
        label: Label | None = None
        turn, stamp = Turn(), self._stamp.now()
        for i, s in enumerate(window):
            try:
                if isinstance(s, InlakeError):
                    raise s
                if s.label is not label:  # mostly all have one
                    name = (s.label.schema, s.label.version, s.label.message)
                    compiled = found.get(name) or found.setdefault(name, await self.codecs.find(*name))
                    label = s.label
                payload = None if label.tagged else compiled.codec.encode_plain(s.record)
                if payload is None:  # it names a binary, or one step after the other tells what is wrong
                    draft = compiled.codec.read(s.record, tagged=s.label.tagged)
                    if puuid := promise_named(draft.resource):
                        naming.setdefault(puuid, []).append((i, s, compiled, draft))
                        continue
                    await self.promises.locate(s, draft.resource, compiled.codec)  # a URI of others, or an error
                    payload = compiled.codec.encode(draft)
                waiting.append((i, make_event(s, compiled, payload, stamp), compiled, None))
            except InlakeError as error:
                results[i] = error.kept()
            if turn.is_over():
                await turn.give_way()
                stamp.now()
        if naming:
            await _at_once(self._claim_in_turn(lines, waiting, results) for lines in naming.values())
            waiting.sort()  # by their indexes
        return self._publish_all(waiting, results)

    async def _claim_in_turn(self, lines: list[Naming], waiting: list[Waiting], results: list[Result | None]) -> None:
        """Claim the promise that all these lines name: the first that can has it."""
        for i, s, compiled, draft in lines:
            try:
                promise = await self.promises.locate(s, draft.resource, compiled.codec)
                assert promise is not None
                event = make_event(s, compiled, compiled.codec.encode(draft, promise.uri), self._stamp.now())
                promise = await self.promises.claim(promise, event, compiled.schema)
                if promise.stored is None:
                    results[i] = _pending(promise)
                elif promise.receipt is not None:  # published by an attempt before, with the same Idempotency-Key
                    results[i] = promise.receipt
                else:
                    waiting.append((i, event_of(promise), compiled, promise))
            except InlakeError as error:
                results[i] = error.kept()

    async def _publish_all(self, waiting: list[Waiting], results: list[Result | None]) -> list[Result]:
        """Publish what waits in the order of the window, and put each result at its record's index."""
        positions = await self.bus.publish([event for _, event, _, _ in waiting]) if waiting else []
        claimed: dict[int, tuple[Promise, Position | InlakeError]] = {}
        for (i, event, compiled, promise), at in zip(waiting, positions, strict=True):
            if promise is not None:
                claimed[i] = promise, at
            elif isinstance(at, InlakeError):
                results[i] = at
            else:
                results[i] = make_receipt(event, compiled, at)

        async def conclude(i: int) -> None:
            try:
                results[i] = await self.promises.conclude(*claimed[i])
            except InlakeError as error:
                results[i] = error.kept()

        if claimed:
            await _at_once(map(conclude, claimed))
        return cast("list[Result]", results)  # each has one now

    async def _publish(self, event: Event, compiled: Compiled) -> Receipt:
        (position,) = await self.bus.publish([event])
        if isinstance(position, InlakeError):
            raise position
        return make_receipt(event, compiled, position)


async def _at_once(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of it, `AT_ONCE` at a time."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(piece: Coroutine[Any, Any, None]) -> None:
        async with room:
            await piece

    async with asyncio.TaskGroup() as group:
        for piece in work:
            group.create_task(one(piece))


def _pending(promise: Promise) -> Pending:
    assert promise.claim is not None
    event = promise.claim.event
    return Pending(event.id, event.key.decode(), promise.puuid, promise.state, promise.claim.schema, promise.expires_at)


def make_receipt(event: Event, compiled: Compiled, at: Position) -> Receipt:
    """Of an event without a binary of ours."""
    return Receipt(event.id, event.key.decode(), at.topic, at.partition, at.offset, compiled.schema)
