"""Rejects in a topic: any process of a gateway writes them there, and reads what all wrote.

A topic answers no question, so who asks reads it into a table of its own, which follows the topic from then on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from uuid import uuid4

import msgspec

from inlake.errors import InlakeError, TopicMissing
from inlake.model import Event, Message
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
_reject = msgspec.json.Decoder(Reject).decode
_mark = msgspec.json.Decoder(Mark).decode


class TopicRejects:
    """Adapter of `RejectLog` for a topic of the bus."""

    def __init__(self, bus: Bus, topic: str, *, seconds: float, most_bytes: int) -> None:
        """`seconds`, `most_bytes`: as `Table` has them, for what a process knows of the topic."""
        self._bus = bus
        self._topic = topic
        self._table = Table(None, seconds=seconds, most_bytes=most_bytes)
        self._following: asyncio.Task[None] | None = None
        self._is_known = asyncio.Lock()
        self._taken: dict[int, int] = {}
        """Offset of the last message that the table has, by partition."""

    async def add(self, rejects: Sequence[Reject]) -> Sequence[Reject]:
        """See `RejectLog.add`."""
        results = await self._bus.publish([self._event("refused", r.id, msgspec.json.encode(r)) for r in rejects])
        kept = [reject for reject, at in zip(rejects, results, strict=True) if not isinstance(at, InlakeError)]
        if self._following is not None:
            await asyncio.to_thread(self._table.add, kept)
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
        await asyncio.to_thread(self._table.mend, mark)

    async def find(self, reject_id: str) -> Reject | None:
        """See `RejectLog.find`."""
        await self._know()
        return await asyncio.to_thread(self._table.find, reject_id)

    async def page(self, wanted: Wanted, limit: int, after: Cursor | None) -> Sequence[Reject]:
        """See `RejectLog.page`."""
        await self._know()
        return await asyncio.to_thread(self._table.page, wanted, limit, after)

    async def schemas(self) -> Sequence[str]:
        """See `RejectLog.schemas`."""
        await self._know()
        return await asyncio.to_thread(self._table.schemas)

    async def causes(self, wanted: Wanted) -> Sequence[Cause]:
        """See `RejectLog.causes`."""
        await self._know()
        return await asyncio.to_thread(self._table.causes, wanted)

    async def close(self) -> None:
        """Stop following; the bus closes itself."""
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait([self._following])
        await asyncio.to_thread(self._table.close)

    def _event(self, kind: str, reject_id: str, value: bytes) -> Event:
        context = ((KIND, kind.encode()), *CONTEXT)
        return Event(str(uuid4()), self._topic, reject_id.encode(), value, context)

    async def _know(self) -> None:
        """The table has what the topic held at the first question, and what came to it since, some moments late."""
        async with self._is_known:
            if self._following is None:
                await self._read(follow=False)
                self._following = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        while True:
            try:
                await self._read(follow=True)
            except InlakeError as error:
                log.warning("the topic of rejects cannot be read: %s", error.detail)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _read(self, *, follow: bool) -> None:
        """Reads what the table does not have yet, from the start of the topic. A missing topic is empty."""
        batch: list[Message] = []
        with suppress(TopicMissing):
            async for message in self._bus.read([self._topic], follow=follow):
                if message.position.offset <= self._taken.get(message.position.partition, -1):
                    continue
                batch.append(message)
                if follow or len(batch) >= BATCH:
                    await asyncio.to_thread(self._take, batch)
                    batch = []
        await asyncio.to_thread(self._take, batch)

    def _take(self, messages: Sequence[Message]) -> None:
        rejects: list[Reject] = []
        marks: list[Mark] = []
        for message in messages:
            kind = dict(message.headers).get(KIND)
            try:
                if kind == b"refused":
                    rejects.append(_reject(message.value or b""))
                elif kind == b"mended":
                    marks.append(_mark(message.value or b""))
            except ValueError:  # not JSON, not UTF-8, or another shape
                log.warning("a message of the topic %s is no reject", self._topic)
        self._table.add(rejects)
        for message in messages:
            self._taken[message.position.partition] = message.position.offset
        for mark in marks:  # behind the rejects: both of one have one key, and come in their order
            self._table.mend(mark)
