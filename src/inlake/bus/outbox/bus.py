"""A bus that may be away: what it does not take waits on the disk, and goes out in order when it is back.

While events of a topic wait, new ones of that topic go behind them, so a consumer sees them in the order in which they
were accepted. An event whose outcome at the bus is unknown waits too: it may then be published twice, with one `ce_id`.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from inlake.bus.outbox.drainer import Drainer
from inlake.bus.outbox.table import SCHEMA, Appender, Look, Table, lock_file
from inlake.bus.sqlite.writer import Writer
from inlake.errors import BusUnavailable, Busy, InlakeError, OutcomeUnknown, ShuttingDown
from inlake.metrics import Counter as Number
from inlake.metrics import Metrics
from inlake.model import Event, InOutbox, Message, Moment, Place, Position
from inlake.ports import Bus

AWAY = frozenset({BusUnavailable, OutcomeUnknown})
"""Errors of a bus that may take the event later."""
PENDING_BYTES = 128 << 20
"""Bytes that may wait for the disk; more is `Busy`."""
LOOK_SECONDS = 0.005
"""Pause between looks whether calls that are held back can go on."""
HOLD_SECONDS = 1.0
"""How long a call is held back at most, for the last of those that wait to be published before it."""
WATCHES = 4
"""How often, within the time that the bus has, is looked who waits too long."""
CHECK_SECONDS = 3.0
"""How long `check` waits for the bus."""
LOCK_SECONDS = 10.0
"""How long a process waits while another one writes."""


class Call:
    """Events of one publish call that are of one topic, and what becomes of them."""

    __slots__ = ("began", "done", "events", "is_kept", "results", "task", "topic")

    def __init__(
        self, topic: str, events: Sequence[Event], done: asyncio.Future[Sequence[Place | InlakeError]]
    ) -> None:
        self.topic = topic
        self.events = events
        self.done = done
        self.began = time.monotonic()
        self.task: asyncio.Task[Sequence[Place | InlakeError]] | None = None
        """The bus at work on it."""
        self.results: Sequence[Place | InlakeError] | None = None
        """The answer of the bus."""
        self.is_kept = False
        """Whether events of it go to the disk."""

    def settle(self, results: Sequence[Place | InlakeError]) -> None:
        """Wakes the publisher, if it is not gone."""
        if not self.done.done():
            self.done.set_result(results)


class OutboxBus:
    """Adapter of `Bus` around another one. One event loop; any number of processes may use the same file."""

    def __init__(self, bus: Bus, path: Path, *, most_bytes: int, seconds: float) -> None:
        """`path`: the file; `most_bytes`: how much may wait; `seconds`: that the bus has for an event before it goes to
        the disk. Raises ValueError for a file that is damaged."""
        self._bus = bus
        self._seconds = seconds
        self._most_bytes = most_bytes
        self._table = Table(path)
        self._table.check()
        self._look = Look(path)
        self._writer = Writer(path, timeout=LOCK_SECONDS, schema=SCHEMA, append=Appender(path, most_bytes))
        self._drainer = Drainer(bus, self._table, lock_file(path))
        self._at_bus: dict[str, dict[Call, None]] = {}
        """Calls that the bus works on, by topic, in their order."""
        self._held: dict[str, deque[Call]] = {}
        """Calls that are held back, by topic, in their order."""
        self._to_disk = Counter[str]()
        """Calls of a topic on their way to the disk."""
        self._watching: asyncio.TimerHandle | None = None
        self._looking: asyncio.TimerHandle | None = None
        self._kept = Number()
        self._closed = False

    def count_in(self, metrics: Metrics) -> None:
        """Show from now on in these metrics what waits, and what came and went."""
        self._kept = metrics.counter("inlake_outbox_kept_total", "Events that the bus did not take and the disk did.")
        self._drainer.count_in(metrics)

    async def drain(self) -> None:
        """Publish what waits, without end; one process of a gateway does it at a time."""
        await self._drainer.run_for_ever()

    # ---------------------------------------------------------------------------------------------------- publishing
    async def publish(self, events: Sequence[Event]) -> Sequence[Place | InlakeError]:
        """See `Bus.publish`. An event that waits on the disk is `InOutbox`."""
        topics = dict.fromkeys([event.topic for event in events])
        if self._closed:
            return [ShuttingDown("The gateway is stopping: send the record again.") for _ in events]
        if len(topics) == 1:
            return await self._wait(self._begin(events[0].topic, events))
        calls = {topic: self._begin(topic, [e for e in events if e.topic == topic]) for topic in topics}
        try:
            found = {topic: iter(await self._wait(call)) for topic, call in calls.items()}
        except asyncio.CancelledError:
            for call in calls.values():
                self._abandon(call)
            raise
        return [next(found[event.topic]) for event in events]

    async def publish_all_or_none(self, events: Sequence[Event]) -> Sequence[Place]:
        """See `Bus.publish_all_or_none`: `BusUnavailable` while events of a topic wait, which must go before these."""
        for topic in {event.topic for event in events}:
            if topic in self._held or self._to_disk[topic] or self._look.closing(topic) is not None:
                raise BusUnavailable(
                    f"Events of topic {topic!r} wait for the bus, and all or nothing is published only behind them: "
                    "try again, or send the records without mode=atomic."
                )
        return await self._bus.publish_all_or_none(events)

    def _begin(self, topic: str, events: Sequence[Event]) -> Call:
        call = Call(topic, events, asyncio.get_running_loop().create_future())
        if topic in self._held:
            self._held[topic].append(call)
        else:
            self._send(call, self._way(topic))
        return call

    async def _wait(self, call: Call) -> Sequence[Place | InlakeError]:
        try:
            return await call.done
        except asyncio.CancelledError:
            self._abandon(call)
            raise

    def _abandon(self, call: Call) -> None:
        """Leaves out what is not on its way yet: the publisher is gone."""
        call.done.cancel()
        if call.task is not None:
            call.task.cancel()
        elif call in (held := self._held.get(call.topic, deque())):
            held.remove(call)

    def _way(self, topic: str) -> Literal["bus", "disk", "hold"]:
        """Where a call of the topic is to go now, so that it comes behind those before it."""
        closing = self._look.closing(topic)
        if closing is None and not self._to_disk[topic]:
            return "bus"
        if topic in self._at_bus or closing == 1:
            return "hold"
        return "disk"

    def _send(self, call: Call, way: Literal["bus", "disk", "hold"]) -> None:
        loop = asyncio.get_running_loop()
        if way == "bus":
            call.began = time.monotonic()
            call.task = loop.create_task(self._bus.publish(call.events))
            call.task.add_done_callback(partial(self._landed, call))
            self._at_bus.setdefault(call.topic, {})[call] = None
            self._watching = self._watching or loop.call_later(self._seconds / WATCHES, self._watch)
        elif way == "disk":
            self._keep(call)
        else:
            self._held.setdefault(call.topic, deque()).append(call)
            self._looking = self._looking or loop.call_later(LOOK_SECONDS, self._release)

    def _release(self) -> None:
        """Lets calls go on that were held back, in their order, if they can."""
        self._looking = None
        for topic, calls in list(self._held.items()):
            way = self._way(topic)
            waited = time.monotonic() - calls[0].began if calls else HOLD_SECONDS
            if way == "hold" and topic not in self._at_bus and waited >= HOLD_SECONDS:
                way = "disk"
            if way != "hold":
                del self._held[topic]
                for call in calls:
                    self._send(call, way)
        if self._held:
            self._looking = asyncio.get_running_loop().call_later(LOOK_SECONDS, self._release)

    # ------------------------------------------------------------------------------------------------ what comes back
    def _landed(self, call: Call, task: asyncio.Task[Sequence[Place | InlakeError]]) -> None:
        """The bus is done with a call."""
        if call.is_kept:
            return
        if not task.cancelled() and task.exception() is None and not AWAY.isdisjoint(map(type, task.result())):
            call.results = task.result()
            self._give_up(call.topic)
            return
        calls = self._at_bus[call.topic]
        del calls[call]
        if not calls:
            del self._at_bus[call.topic]
        if task.cancelled() or call.done.done():
            call.done.cancel()
        elif error := task.exception():
            call.done.set_exception(error)
        else:
            call.done.set_result(task.result())

    def _watch(self) -> None:
        """Looks whether the bus has taken too long, as long as it works on something."""
        self._watching = None
        late = time.monotonic() - self._seconds
        for topic, calls in list(self._at_bus.items()):
            if next(iter(calls)).began <= late:
                self._give_up(topic)
        if self._at_bus:
            self._watching = asyncio.get_running_loop().call_later(self._seconds / WATCHES, self._watch)

    def _give_up(self, topic: str) -> None:
        """Has all that the bus works on in a topic go to the disk, in its order.

        All in one go: were only the first to go there, the bus could take the others before it.
        """
        for call in self._at_bus.pop(topic):
            task = call.task
            assert task is not None
            if not task.cancel() and not task.cancelled() and task.exception() is None:
                call.results = task.result()  # it has just ended
            self._keep(call)

    # -------------------------------------------------------------------------------------------------------- the disk
    def _keep(self, call: Call) -> None:
        """Hands the events to the disk that the bus did not take."""
        call.is_kept = True
        indexes = [i for i, result in enumerate(call.results or ()) if type(result) in AWAY]
        events = [call.events[i] for i in indexes] if call.results is not None else call.events
        size = sum([len(event.value) for event in events])
        if self._writer.pending_events and self._writer.pending_bytes + size > PENDING_BYTES:
            self._stored(call, [Busy("More events wait for the disk than the gateway may hold.")] * len(events))
            return
        self._to_disk[call.topic] += 1
        self._writer.submit(events, size).add_done_callback(partial(self._written, call))

    def _written(self, call: Call, done: asyncio.Future[list[InOutbox | InlakeError]]) -> None:
        self._to_disk[call.topic] -= 1
        if not self._to_disk[call.topic]:
            del self._to_disk[call.topic]
        self._stored(call, done.result())

    def _stored(self, call: Call, stored: Sequence[InOutbox | InlakeError]) -> None:
        """Tells the publisher; what the disk did not take either has the error of the bus."""
        told = list(call.results) if call.results is not None else [None] * len(call.events)
        taken = iter(stored)
        results = [next(taken) if result is None or type(result) in AWAY else result for result in told]
        self._kept.value += sum([type(result) is InOutbox for result in results])
        call.settle([
            _refused(before, result, sent=call.task is not None) if isinstance(result, InlakeError) else result
            for before, result in zip(told, results, strict=True)
        ])  # fmt: skip

    # -------------------------------------------------------------------------------------------- what the bus answers
    def read(
        self,
        topics: Sequence[str] | None = None,
        *,
        start: Literal["earliest", "latest"] = "earliest",
        follow: bool = False,
        after: Iterable[Position] = (),
    ) -> AsyncIterator[Message]:
        """See `Bus.read`."""
        return self._bus.read(topics, start=start, follow=follow, after=after)

    async def recent(
        self, limit: int, topics: Sequence[str] | None = None, *, before: Moment | None = None
    ) -> list[Message]:
        """See `Bus.recent`."""
        return await self._bus.recent(limit, topics, before=before)

    async def find(self, at: Position) -> Message | None:
        """See `Bus.find`."""
        return await self._bus.find(at)

    async def check(self) -> list[str]:
        """See `Bus.check`: a bus that is away is a warning, as long as there is room for what comes."""
        state = await asyncio.to_thread(self._table.state)
        size, warnings = state.bytes, []
        if state.waiting:
            warnings = [f"{_count(state.events, 'waits', 'wait')} in the outbox for the bus ({size:,} bytes)."]
        if state.refused:
            warnings.append(f"{_count(state.refused, 'is', 'are')} in the outbox that the bus refuses for good.")
        asked = asyncio.ensure_future(self._bus.check())
        asked.add_done_callback(lambda done: done.cancelled() or done.exception())  # it may come after all
        if not (await asyncio.wait([asked], timeout=CHECK_SECONDS))[0]:
            away = f"The bus did not answer within {CHECK_SECONDS:g} s."
        elif isinstance(error := asked.exception(), BusUnavailable):
            away = error.detail
        else:
            return [*asked.result(), *warnings]
        if size > 0.95 * self._most_bytes:
            raise BusUnavailable(f"{away} The outbox is full, too ({size:,} bytes, INLAKE_OUTBOX_BYTES).")
        return [f"{away} Events wait in the outbox meanwhile.", *warnings]

    async def close(self) -> None:
        """Let the bus and then the disk have what is on its way; publishing afterwards is `ShuttingDown`."""
        self._closed = True
        for topic, calls in self._held.items():
            if topic in self._at_bus:
                self._give_up(topic)
            for call in calls:
                self._keep(call)
        self._held.clear()
        await self._bus.close()
        await asyncio.to_thread(self._writer.close)
        for timer in filter(None, (self._watching, self._looking)):
            timer.cancel()
        self._drainer.close()
        self._table.close()
        self._look.close()


def _count(events: int, one: str, many: str) -> str:
    return f"1 event {one}" if events == 1 else f"{events:,} events {many}"


def _refused(before: Place | InlakeError | None, error: InlakeError, *, sent: bool) -> InlakeError:
    """The error of an event that neither bus nor disk took. `sent`: the bus may have it."""
    if before is error:
        return error
    reason = before.detail if isinstance(before, InlakeError) else "The bus is away"
    detail = f"{reason.rstrip('.')}, and the outbox did not take the event: {error.detail}"
    if (sent and before is None) or isinstance(before, OutcomeUnknown) or isinstance(error, OutcomeUnknown):
        return OutcomeUnknown(detail)
    return BusUnavailable(detail)
