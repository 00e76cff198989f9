"""Records that go the data path together: all are encoded, then all go to the bus in one call.

A stream publishes its lines in groups. Those of a stream that is only checked, a body that is published all or
nothing, and a shipment take the same steps and differ in one of them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterable, Sequence
from operator import itemgetter
from time import perf_counter
from typing import Any

from inlake.codecs import Compiled
from inlake.errors import (
    AtomicBodyTooLarge,
    BadPlace,
    BodyRejected,
    InlakeError,
    InternalError,
    PromiseNotAtomic,
    ShipmentTooLarge,
)
from inlake.event import make_event
from inlake.gateway import Gateway, pending
from inlake.model import Event, Label, Pending, Place, Receipt, SchemaVersion, StoredObject, Submission
from inlake.promises.places import check_resource_field, promise_named
from inlake.promises.promise import Promise, event_of

AT_ONCE = 16
"""Promises of one group that are worked on at the same time."""
NOT_ATOMIC = "A record that names a promise cannot be published all or nothing: send it without mode=atomic."
NO_FAULT = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)
"""Exceptions that end a request or the process. All else is a fault, also what is no `Exception`: Rust panics so."""
Result = Receipt | Pending | SchemaVersion | InlakeError | None
"""The outcome of a record; None where it was checked against nothing."""
Encoded = tuple[int, Event, Compiled, Promise | None]
"""Index in the group of an event that can go out, with its claimed promise if it has a binary of ours."""
Naming = tuple[int, Submission, Compiled, Any]
"""Index, record, codec and draft of a record whose resource field is filled."""


class TimeSlice:
    """Half a millisecond of work in one go, so that several streams together do not hold up other requests."""

    SECONDS = 0.0005

    def __init__(self) -> None:
        self.end = perf_counter() + self.SECONDS
        """The end of the half millisecond, by `perf_counter`."""

    async def yield_if_long(self) -> bool:
        """Let the event loop do other work if the time is over; then a new slice begins."""
        if perf_counter() < self.end:
            return False
        await asyncio.sleep(0)
        self.end = perf_counter() + self.SECONDS
        return True


class Group:
    """The steps of `Gateway.ingest` for many records; each has its result at its own index.

    While one group is published the next one can be encoded: whose `publish` is called first is published first.
    """

    time_slice = TimeSlice
    """How much is encoded in one go."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.room = sys.maxsize
        """Bytes that the payloads may have: defaults make one of 900 kB out of a line of two."""
        self.results: list[Result] = []
        self.encoded: list[Encoded] = []
        self.rejected: list[int] = []
        """Indexes of the records that were refused for their content, after `encode`."""
        self.size = 0
        """Bytes of the payloads, after `encode`; without those whose resource field was filled."""
        self._compiled: dict[tuple[str, int | None, str | None], Compiled] = {}

    async def encode(self, submissions: Sequence[Submission | InlakeError]) -> int:
        """Validate the records and make their events; an error among them (a line is no record) is a result.

        Returns how many there was room for: fewer than all, where what became of these has filled it.
        """
        self.results = [None] * len(submissions)
        room = self.room
        naming: list[Naming] = []
        label: Label | None = None
        encoded, time_slice, stamp = self.encoded, self.time_slice(), self.gateway.stamp.now()
        for i, s in enumerate(submissions):
            try:
                if isinstance(s, InlakeError):
                    raise s
                if s.label is not label:  # mostly all have one
                    compiled, label = await self._compiled_for(s.label), s.label
                payload = None if label.tagged else compiled.codec.encode_plain(s.record)
                if payload is None:  # its resource field is filled, or one step after the other tells what is wrong
                    draft = compiled.codec.read(s.record, tagged=label.tagged)
                    if draft.resource is not None:
                        naming.append((i, s, compiled, draft))
                        continue
                    payload = compiled.codec.encode(draft)
                encoded.append((i, make_event(s, compiled, payload, stamp), compiled, None))
                room -= len(payload)
                if room < 0:
                    del self.results[i + 1 :]
                    break
            except BaseException as raised:  # noqa: BLE001 - a bad line never sinks the others
                self._tell(i, raised)
            # looked at here, too: a call for each record would be a twentieth of what it takes
            if perf_counter() > time_slice.end and await time_slice.yield_if_long():
                stamp.now()
        if naming:
            await self._bind(naming)
            self.encoded.sort()  # by their indexes
        self.size = self.room - room
        return len(self.results)

    async def publish(self) -> list[Result]:
        """Publish the events in the order of the group, in one call; the result of each record at its index."""
        positions = await self.gateway.bus.publish([event for _, event, _, _ in self.encoded]) if self.encoded else []
        claimed: list[tuple[int, Promise, Place | InlakeError]] = []
        for (i, event, compiled, promise), at in zip(self.encoded, positions, strict=True):
            if promise is not None:
                claimed.append((i, promise, at))
            elif isinstance(at, InlakeError):
                self.results[i] = at
            else:
                self.results[i] = Receipt.of(event, at, compiled.schema)
        if claimed:
            await _at_once(self._conclude(*one) for one in claimed)
        return self.results

    async def _compiled_for(self, label: Label) -> Compiled:
        """The codec that the label names: the same for all records of the group."""
        name = (label.schema, label.version, label.message)
        return self._compiled.get(name) or self._compiled.setdefault(name, await self.gateway.codecs.find(*name))

    async def _bind(self, naming: list[Naming]) -> None:
        """Claim the promises that records name, those of different promises side by side."""
        by_name: dict[str | None, list[Naming]] = {}
        for one in naming:
            by_name.setdefault(promise_named(one[3].resource), []).append(one)
        await _at_once(map(self._bind_in_turn, by_name.values()))

    async def _bind_in_turn(self, naming: list[Naming]) -> None:
        """Claim the promise that all these records name: the first that can has it. Another URI is left as it is."""
        promises, time_slice = self.gateway.promises, TimeSlice()
        for i, s, compiled, draft in naming:
            try:
                promise = await promises.locate(s, draft.resource, compiled.codec)
                payload = compiled.codec.encode(draft, promise.uri if promise else None)
                event = make_event(s, compiled, payload, self.gateway.stamp.now())
                if promise is not None:
                    promise = await promises.claim(promise, event, compiled.schema)
                if promise is None:
                    self.encoded.append((i, event, compiled, None))
                elif promise.stored is None:
                    self.results[i] = pending(promise)
                elif promise.receipt is not None:  # published by an attempt before, with the same Idempotency-Key
                    self.results[i] = promise.receipt
                else:
                    self.encoded.append((i, event_of(promise), compiled, promise))
            except BaseException as raised:  # noqa: BLE001 - a bad line never sinks the others
                self._tell(i, raised)
            await time_slice.yield_if_long()

    def _tell(self, i: int, raised: BaseException) -> None:
        """Makes what a record raised its result; what is no fault of a record goes on."""
        if isinstance(raised, NO_FAULT):
            raise raised
        if isinstance(raised, InlakeError):
            self._refuse(i, raised)
        else:
            self._fail(i, raised)

    def _refuse(self, i: int, error: InlakeError) -> None:
        self.results[i] = error.without_frames()
        if error.is_of_content:
            self.rejected.append(i)

    def _fail(self, i: int, fault: BaseException) -> None:
        self.results[i] = InternalError.of_record(fault)

    async def _conclude(self, i: int, promise: Promise, at: Place | InlakeError) -> None:
        try:
            self.results[i] = await self.gateway.promises.conclude(promise, at)
        except InlakeError as error:
            self.results[i] = error.without_frames()


class CheckedGroup(Group):
    """Records that are validated and not published: the result is the schema that a record fits."""

    async def publish(self) -> list[Result]:
        """The results; nothing is left to do."""
        for i, _, compiled, _ in self.encoded:
            self.results[i] = compiled.schema
        return self.results

    async def _bind(self, naming: list[Naming]) -> None:
        """Nothing is looked up in the store."""
        time_slice = TimeSlice()
        for i, _, compiled, draft in naming:
            try:
                compiled.codec.encode(draft)
                self.results[i] = compiled.schema
            except BaseException as raised:  # noqa: BLE001 - a bad line never sinks the others
                self._tell(i, raised)
            await time_slice.yield_if_long()


class AtomicGroup(Group):
    """Records of which either each is published or none is; errors name the `line` that is to blame.

    Raises what the registry raises, `PromiseNotAtomic`, `BodyRejected`, what `Bus.publish_all_or_none` raises, and
    RuntimeError for what nobody expected.
    """

    def __init__(self, gateway: Gateway, numbers: Sequence[int], *, named: int) -> None:
        """`numbers`: of the records' lines; `named`: of how many refused lines the error tells."""
        super().__init__(gateway)
        self._numbers = numbers
        self._named = named
        self._refused: list[tuple[int, InlakeError]] = []
        self._rejected = 0

    async def encode(self, submissions: Sequence[Submission | InlakeError]) -> int:
        """Encodes as other groups do, and refuses all when one record does not fit, or all have no room.

        Raises `AtomicBodyTooLarge`.
        """
        taken = await super().encode(submissions)
        if self._rejected:
            raise BodyRejected(sorted(self._refused, key=itemgetter(0)), self._rejected)
        if taken < len(submissions):
            raise AtomicBodyTooLarge(f"The defaults of the schema make more than {self.room:,} bytes of the records.")
        return taken

    async def publish(self) -> list[Result]:
        """Publish all in one call, or none."""
        try:
            positions = await self.gateway.bus.publish_all_or_none([event for _, event, _, _ in self.encoded])
        except InlakeError as error:
            index = error.members.pop("event", None)
            if index is not None:
                error.members["line"] = self._numbers[index]
            raise
        time_slice = TimeSlice()
        for (i, event, compiled, _), at in zip(self.encoded, positions, strict=True):
            self.results[i] = Receipt.of(event, at, compiled.schema)
            await time_slice.yield_if_long()
        return self.results

    async def _bind(self, naming: list[Naming]) -> None:
        for i, _, _, draft in naming:
            if promise_named(draft.resource):
                self._refuse(i, PromiseNotAtomic(NOT_ATOMIC))
        await self._bind_in_turn(naming)

    def _refuse(self, i: int, error: InlakeError) -> None:
        """Keeps the reasons that are told: those of all records might not fit into memory."""
        if error.retryable or isinstance(error, PromiseNotAtomic):  # it is not the record that is wrong
            error.members["line"] = self._numbers[i]
            raise error
        self._rejected += 1
        if len(self._refused) < self._named:
            self._refused.append((self._numbers[i], error.without_frames()))

    def _fail(self, i: int, fault: BaseException) -> None:
        """The fault of one is the fault of all."""
        raise RuntimeError(f"Line {self._numbers[i]} failed.") from fault


class ShippedGroup(Group):
    """Records of a shipment: each is encoded with the URI of its object, and published when that is there."""

    def __init__(self, gateway: Gateway, objects: Sequence[StoredObject | None]) -> None:
        """`objects`: at the indexes of their records, as they will be; None where there is no record."""
        super().__init__(gateway)
        self._objects = objects

    async def encode(self, submissions: Sequence[Submission | InlakeError]) -> int:
        """Validate the records, filled, and make their events. Raises `ShipmentTooLarge`."""
        self.results = [None] * len(submissions)
        room = self.room
        time_slice, stamp = TimeSlice(), self.gateway.stamp.now()
        for i, (s, stored) in enumerate(zip(submissions, self._objects, strict=True)):
            try:
                if isinstance(s, InlakeError):
                    raise s
                assert stored is not None
                compiled = await self._compiled_for(s.label)
                draft = compiled.codec.read(s.record, tagged=s.label.tagged)
                check_resource_field(compiled.codec, s.label.schema)
                if draft.resource is not None:
                    raise BadPlace("The objects of a shipment are named by the gateway: leave the resource path out.")
                payload = compiled.codec.encode(draft, stored.uri)
                self.encoded.append((i, make_event(s, compiled, payload, stamp), compiled, None))
                room -= len(payload)
            except BaseException as raised:  # noqa: BLE001 - a bad line never sinks the others
                self._tell(i, raised)
            if room < 0:
                raise ShipmentTooLarge(f"The defaults of the schema make more than {self.room:,} bytes of the records.")
            if await time_slice.yield_if_long():
                stamp.now()
        self.size = self.room - room
        return len(self.results)


async def _at_once(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Runs all of the work, `AT_ONCE` at a time."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(piece: Coroutine[Any, Any, None]) -> None:
        async with room:
            await piece

    async with asyncio.TaskGroup() as tasks:
        for piece in work:
            tasks.create_task(one(piece))
