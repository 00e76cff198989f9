"""Rejects in a topic: any process of a gateway writes them there, and reads what all wrote.

A topic answers no question, so each process reads it into a table of its own, which follows the topic from then on.
It begins with that when it starts, so that the first question waits no longer than others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from uuid import uuid4

import msgspec

from inlake.errors import BusUnavailable, InlakeError, TopicMissing
from inlake.model import Event, Message, Position
from inlake.ports import Bus
from inlake.rejects.reject import Cause, Cursor, Mark, Reject, Wanted
from inlake.rejects.sqlite.table import Table

log = logging.getLogger("inlake.rejects")
CONTEXT = (("content-type", b"application/json"),)
KIND = "inlake_reject"
"""The header that says what a message of the topic is: `refused`, or `mended`."""
BATCH = 500
"""Messages that go into the table in one step."""
AGAIN_SECONDS = 5.0
"""Pause after the bus could not be read."""
WAIT_SECONDS = 10.0
"""How long a question waits for the first reading of the topic."""
_reject = msgspec.json.Decoder(Reject).decode
_mark = msgspec.json.Decoder(Mark).decode


class TopicRejects:
    """Adapter of `RejectLog` for a topic of the bus."""

    def __init__(self, bus: Bus, topic: str, *, seconds: float, most_bytes: int) -> None:
        """`seconds`, `most_bytes`: as `Table` has them, for what a process knows of the topic."""
        self._bus = bus
        self._topic = topic
        self._table = Table(None, seconds=seconds, most_bytes=most_bytes)
        self._reading: asyncio.Task[None] | None = None
        self._is_known = False
        """The table has all that the topic held when its first reading began."""
        self._failure: InlakeError | None = None
        """Why the topic could not be read the last time; None when it could."""
        self._settled = asyncio.Event()
        """The first reading has come to its end, or failed."""
        self._taken: dict[int, Position] = {}
        """The last message that the table has, by partition."""
        self._messages = 0

    @property
    def dropped(self) -> int:
        """See `RejectLog.dropped`: the topic keeps what the table has no room for."""
        return 0

    def begin(self) -> None:
        """See `RejectLog.begin`."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._follow())

    async def add(self, rejects: Sequence[Reject]) -> Sequence[Reject]:
        """See `RejectLog.add`."""
        results = await self._bus.publish([self._event("refused", r.id, msgspec.json.encode(r)) for r in rejects])
        kept = [reject for reject, at in zip(rejects, results, strict=True) if not isinstance(at, InlakeError)]
        if self._reading is not None:
            await self._table.run(self._table.add, kept)
        failed = [at for at in results if isinstance(at, InlakeError)]
        if failed and not kept:
            raise failed[0]
        return kept

    async def mend(self, mark: Mark) -> None:
        """See `RejectLog.mend`."""
        await self._know()
        (at,) = await self._bus.publish([self._event("mended", mark.id, msgspec.json.encode(mark))])
        if isinstance(at, InlakeError):
            raise at
        await self._table.run(self._table.mend, mark)

    async def find(self, reject_id: str) -> Reject | None:
        """See `RejectLog.find`."""
        await self._know()
        return await self._table.run(self._table.find, reject_id)

    async def page(self, wanted: Wanted, limit: int, after: Cursor | None) -> Sequence[Reject]:
        """See `RejectLog.page`."""
        await self._know()
        return await self._table.run(self._table.page, wanted, limit, after)

    async def causes(self, wanted: Wanted) -> Sequence[Cause]:
        """See `RejectLog.causes`."""
        await self._know()
        return await self._table.run(self._table.causes, wanted)

    async def close(self) -> None:
        """Stop following; the bus closes itself."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        await self._table.end()

    def _event(self, kind: str, reject_id: str, value: bytes) -> Event:
        context = ((KIND, kind.encode()), *CONTEXT)
        return Event(str(uuid4()), self._topic, reject_id.encode(), value, context)

    async def _know(self) -> None:
        """The table has what the topic held when this process began to read it, and what came to it since, some moments
        late. `BusUnavailable` while it does not."""
        self.begin()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._settled.wait(), WAIT_SECONDS)
        if self._is_known:
            return
        if self._failure is not None:
            raise copy(self._failure)  # the one that is kept would keep the frames of all who raise it
        raise BusUnavailable(
            f"The topic {self._topic} of rejects is still being read, {self._messages:,} messages so far: try again."
        )

    async def _follow(self) -> None:
        """Reads the topic to its end, then what comes to it."""
        while True:
            try:
                if not self._is_known:
                    await self._read(follow=False)
                    await self._table.run(self._table.index)
                    self._is_known = True
                    self._settled.set()
                await self._read(follow=True)
            except InlakeError as error:
                self._fail(error)
            except Exception:
                log.exception("the topic of rejects cannot be read")
                self._fail(BusUnavailable(f"The topic {self._topic} of rejects cannot be read: the log says why."))
            await asyncio.sleep(AGAIN_SECONDS)

    def _fail(self, error: InlakeError) -> None:
        if self._failure is None:  # once each time: a bus that is away stays so
            log.warning("the topic of rejects cannot be read: %s", error.detail)
        self._failure = error
        self._settled.set()

    async def _read(self, *, follow: bool) -> None:
        """Reads what the table does not have yet. A missing topic is empty."""
        coming: asyncio.Queue[Message] = asyncio.Queue(2 * BATCH)
        try:
            async with asyncio.TaskGroup() as both:
                taking = both.create_task(self._take_from(coming))
                is_missing = False
                try:
                    async for message in self._bus.read([self._topic], follow=follow, after=[*self._taken.values()]):
                        await coming.put(message)
                except TopicMissing:
                    is_missing = True
                await coming.join()
                taking.cancel()
                if is_missing:
                    self._taken.clear()  # what comes under its name is another topic, whose offsets begin anew
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _take_from(self, coming: asyncio.Queue[Message]) -> None:
        """Puts messages into the table as they come, those together that came while the ones before were put there."""
        while True:
            batch = [await coming.get()]
            while len(batch) < BATCH and not coming.empty():
                batch.append(coming.get_nowait())
            await self._table.run(self._take, batch)
            self._failure = None
            self._messages += len(batch)
            for message in batch:
                self._taken[message.position.partition] = message.position
                coming.task_done()

    def _take(self, messages: Sequence[Message]) -> None:
        rejects: list[Reject] = []
        documents: list[bytes] = []
        marks: list[Mark] = []
        for message in messages:
            kind, value = dict(message.headers).get(KIND), message.value or b""
            try:
                if kind == b"refused":
                    rejects.append(_reject(value))
                    documents.append(value)
                elif kind == b"mended":
                    marks.append(_mark(value))
            except ValueError:  # not JSON, not UTF-8, or another shape
                log.warning("a message of the topic %s is no reject", self._topic)
        self._table.add(rejects, documents)
        for mark in marks:
            self._table.mend(mark)
