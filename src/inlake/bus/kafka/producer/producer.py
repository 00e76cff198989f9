"""An idempotent producer: one batch in flight for each partition, and all that waits meanwhile shares the next.

Every event gets its result in bounded time. A batch that a broker did not answer is sent again as it is, with the same
producer id and sequence number, so that a broker that has it already knows it (KIP-98); only when the time-out of its
events is over its outcome stays unknown. Everything happens in the event loop's thread; nothing blocks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

from confluent_kafka.cimpl import murmur2

from inlake.bus.kafka.errors import Verdict, not_sent, outcome_unknown, refused, verdict
from inlake.bus.kafka.producer import wire
from inlake.bus.kafka.producer.batch import record_batch
from inlake.bus.kafka.producer.brokers import TICK, Brokers
from inlake.bus.kafka.producer.connection import Connection
from inlake.bus.kafka.producer.identity import Identity
from inlake.bus.kafka.producer.partition import BATCH_EVENTS, Call, Flight, Lane, Parcel, Result
from inlake.bus.kafka.producer.wire import Answer, Produced
from inlake.bus.kafka.properties import Access
from inlake.errors import Busy
from inlake.model import Event

logger = logging.getLogger("inlake.bus")

REQUEST_BYTES = 1 << 20
"""Of the batches of one request, but for the last: about what Java's client sends (max.request.size). A broker hangs up
on what is larger than its socket.request.max.bytes, each time."""
WAITING_EVENTS, WAITING_BYTES = 100_000, 128 << 20
"""How much may wait; more is `Busy`. librdkafka's own limits, or near them."""
GONE = 3.0
"""Seconds until a topic that a broker does not know counts as missing: a new one takes a moment to get around."""
PAUSE = 0.1
"""Seconds until a batch is sent again that a broker could not take now, or did not answer."""
FOLLOW, SILENCE, WATCH = 0.3, 0.4, 0.1
"""Shares of the time-out: for the followers to have a batch, after which the broker says so; until a broker that says
nothing is taken for dead, so that there is time for another attempt; between two looks at that."""


class Sender:
    """Publishes to any number of partitions. For one event loop."""

    def __init__(self, access: Access, *, timeout: float, on_trouble: Callable[[], None]) -> None:
        """`timeout`: seconds until an event without confirmation counts as failed; `on_trouble`: no broker can be
        reached."""
        self._timeout = timeout
        self._brokers = Brokers(access, on_news=self._wake_all, on_trouble=on_trouble)
        self._identity = Identity(self._brokers, on_news=self._wake_all, on_refused=self._refuse_all)
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._ready: dict[Lane, None] = {}
        """Lanes with something to send, in the order in which they got it."""
        self._scheduled = False
        self._calls: dict[Call, None] = {}
        """Those that wait, the oldest first."""
        self._timer: asyncio.TimerHandle | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._events = self._bytes = 0
        """Not yet confirmed."""

    @property
    def last_error(self) -> str:
        """What was last wrong with a connection."""
        return self._brokers.last_error

    def forget_error(self) -> None:
        """Kafka has answered. It stands until a connection works, which is known here."""

    def wake(self) -> None:
        """Connect, if nothing is connected: publishing will need it, and what is wrong is known sooner."""
        self._brokers.any()

    async def publish(self, events: Sequence[Event], results: list[Result], partitions: Mapping[str, int]) -> bool:
        """Send the events that have no result yet, and wait until each has one. True when all was confirmed.

        `partitions`: how many each topic has.
        """
        loop = asyncio.get_running_loop()
        call = Call(events, results, loop.create_future())
        size = self._enqueue(call, partitions)
        if not call.missing:
            return not call.failed
        held = call.missing
        self._events, self._bytes = self._events + held, self._bytes + size
        call.deadline = loop.time() + self._timeout
        self._calls[call] = None
        self._timer = self._timer or loop.call_at(call.deadline, self._end_calls)
        self._watching = self._watching or loop.call_later(self._timeout * WATCH, self._watch)
        try:
            await call.done
        except asyncio.CancelledError:
            call.abandon()
            raise
        finally:
            self._calls.pop(call, None)
            self._events, self._bytes = self._events - held, self._bytes - size
        return not call.failed

    async def close(self) -> None:
        """Wait for what is in flight, at most the time-out, then hang up."""
        while self._calls:
            await asyncio.wait([call.done for call in self._calls])
        self._identity.close()
        for timer in filter(None, (self._timer, self._watching)):
            timer.cancel()
        await self._brokers.close()

    # ----------------------------------------------------------------------------------------------------- going out
    def _enqueue(self, call: Call, partitions: Mapping[str, int]) -> int:
        """Put the events that have no result yet into their lanes, if there is room; the bytes of those that are."""
        held = 0
        for parcel in _parcels(call):
            if not parcel.is_open():  # its topic is refused
                continue
            room = WAITING_EVENTS - self._events - call.missing if self._bytes + held < WAITING_BYTES else 0
            if parcel.count > room:
                parcel, rest = parcel.cut(parcel.start + max(room, 0))  # noqa: PLW2901
                rest.refuse(lambda: Busy("More events wait for Kafka than the gateway may hold: try again."))
            if parcel.count:
                event = call.events[parcel.start]
                by = event.key if event.partition_by is None else event.partition_by
                lane = self._lane(event.topic, murmur2(by, partitions[event.topic]))
                lane.waiting.append(parcel)
                call.missing += parcel.count
                held += parcel.bytes
                self._make_ready(lane)
        return held

    def _lane(self, topic: str, partition: int) -> Lane:
        lane = self._lanes.get((topic, partition))
        if lane is None:
            lane = self._lanes[topic, partition] = Lane(topic, partition)
        return lane

    def _make_ready(self, lane: Lane) -> None:
        """Look at the lane at the end of this turn of the event loop: what comes until then shares its batch."""
        self._ready[lane] = None
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._send_ready)

    def _wake_all(self) -> None:
        for lane in self._lanes.values():
            if lane.waiting or lane.flight:
                self._make_ready(lane)

    def _send_ready(self) -> None:
        """Send a batch of each lane that can have one, a request to each broker."""
        self._scheduled = False
        if self._identity.current is None:
            self._identity.ask()
        ready, self._ready = self._ready, {}
        outgoing: dict[Connection, list[Lane]] = {}
        count = size = 0
        for lane in ready:
            if count >= BATCH_EVENTS or size >= REQUEST_BYTES:  # the others have the next turn
                self._make_ready(lane)
            elif (flight := self._prepare(lane)) and flight.connection:
                outgoing.setdefault(flight.connection, []).append(lane)
                count, size = count + flight.count, size + sum(map(len, flight.batch))
        for connection, lanes in outgoing.items():
            self._send(connection, lanes)

    def _prepare(self, lane: Lane) -> Flight | None:
        """What goes out now, with the connection that it goes out on. A fault costs no other lane its turn."""
        try:
            flight = self._next_flight(lane)
            if flight is not None and (connection := self._connection(lane, flight)):
                flight.connection = connection
                return flight
        except Exception:
            logger.exception("A fault while a batch for Kafka was made")
            self._rest(lane)
        return None

    def _next_flight(self, lane: Lane) -> Flight | None:
        """What the lane has to send now: what failed before, or a new batch."""
        flight = lane.flight
        if (flight and flight.connection) or asyncio.get_running_loop().time() < lane.retry - TICK:
            return None
        if flight is not None:
            if flight.is_wanted():
                return flight
            self._give_up(lane, flight)
        producer = self._identity.current
        if producer is None or not (parcels := lane.take()):
            return None
        if lane.producer != producer:
            lane.producer, lane.sequence = producer, 0
        events = [event for parcel in parcels for event in parcel.events()]
        batch = record_batch(events, producer, lane.sequence, time.time_ns() // 1_000_000)
        lane.flight = Flight(parcels, batch, producer, lane.sequence)
        return lane.flight

    def _connection(self, lane: Lane, flight: Flight) -> Connection | None:
        """To the leader of the lane; where there is none, `_wake_all` follows."""
        connection = self._brokers.leading(lane.topic, lane.partition)
        if connection is None and (code := self._brokers.error(lane.topic, lane.partition)):
            if verdict(code) is Verdict.REFUSED:
                self._fail(lane, flight, code)
            else:
                self._later(lane, flight, code, unknown=False)
        return connection

    def _send(self, connection: Connection, lanes: list[Lane]) -> None:
        batches = [(lane.topic, lane.partition, lane.flight.batch) for lane in lanes if lane.flight]
        body = wire.produce_body(batches, round(self._timeout * FOLLOW * 1000))
        flights = {(lane.topic, lane.partition): (lane, lane.flight) for lane in lanes if lane.flight}
        connection.send(wire.PRODUCE, body, partial(self._answered, connection, flights))

    # ----------------------------------------------------------------------------------------------------- coming back
    def _answered(
        self, connection: Connection, flights: dict[tuple[str, int], tuple[Lane, Flight]], data: bytes | None
    ) -> None:
        produced: Iterable[Produced] = ()
        if data is not None:
            try:
                produced = wire.read_produced(Answer(data), connection.versions[wire.PRODUCE])
            except ValueError:
                connection.abort()
        for answer in produced:
            lane, flight = flights.pop((answer.topic, answer.partition), (None, None))
            if lane is None or flight is None:
                continue
            flight.connection = None
            if lane.flight is flight:  # else it was given up
                self._judge(lane, flight, answer)
            if lane.waiting:
                self._make_ready(lane)
        for lane, flight in flights.values():  # no word about these
            flight.connection = None
            if lane.flight is flight:
                self._later(lane, flight, lane.error, unknown=True)

    def _judge(self, lane: Lane, flight: Flight, answer: Produced) -> None:
        kind = verdict(answer.error)
        if kind is Verdict.REPEATED:  # of an attempt before; if there was none, the broker takes it for another batch
            kind = Verdict.IN_THE_LOG if flight.unknown else Verdict.NEW_PRODUCER
        match kind:
            case Verdict.IN_THE_LOG:
                lane.succeeded(flight.count)
                flight.succeed(lane.topic, lane.partition, answer.offset)
            case Verdict.TOO_LARGE if flight.count > 1 and not flight.unknown:
                lane.halve(flight)
            case Verdict.NEW_PRODUCER if not flight.unknown:
                self._identity.forget(flight.producer)
                lane.error = answer.error
                lane.give_back(flight)
                self._rest(lane)
            case Verdict.LATER | Verdict.UNKNOWN:
                self._later(lane, flight, answer.error, unknown=kind is Verdict.UNKNOWN)
            case _:
                self._fail(lane, flight, answer.error)

    def _fail(self, lane: Lane, flight: Flight, code: int) -> None:
        """It will not be in the log, or an attempt before has put it there: then nobody knows."""
        lane.flight, lane.error, lane.refused_since = None, 0, 0.0
        if flight.unknown:
            self._identity.forget(flight.producer)
            flight.fail(lambda: outcome_unknown(lane.topic, self._timeout, code))
        else:
            flight.fail(lambda: refused(code, lane.topic))
        if lane.waiting:
            self._make_ready(lane)

    def _later(self, lane: Lane, flight: Flight, code: int, *, unknown: bool) -> None:
        """The same batch again in a moment."""
        now = asyncio.get_running_loop().time()
        flight.unknown = flight.unknown or unknown
        if lane.error != code or not lane.refused_since:
            lane.error, lane.refused_since = code, now
        if code == wire.UNKNOWN_TOPIC and now > lane.refused_since + GONE and not flight.unknown:
            self._fail(lane, flight, code)
            lane.drop(lambda: refused(code, lane.topic))
        else:
            self._rest(lane)
            self._brokers.find_leaders()

    def _rest(self, lane: Lane) -> None:
        """Nothing of this lane goes out for a moment."""
        loop = asyncio.get_running_loop()
        lane.retry = loop.time() + PAUSE
        loop.call_later(PAUSE, self._make_ready, lane)

    # -------------------------------------------------------------------------------------------------- time is over
    def _end_calls(self) -> None:
        """End the calls whose time is over, and see to the next."""
        self._timer = None
        loop = asyncio.get_running_loop()
        over: set[Call] = set()
        for call in self._calls:
            if call.deadline > loop.time() + TICK:
                self._timer = loop.call_at(call.deadline, self._end_calls)
                break
            over.add(call)
        for lane in self._lanes.values() if over else ():
            try:
                self._end_in(lane, over)
            except Exception:
                logger.exception("A fault while calls to Kafka were ended")
        for call in over:
            for index, result in enumerate(call.results):
                if result is None:  # a fault lost it, and every call has an end
                    Parcel(call, index, index + 1, 0).fail(
                        partial(outcome_unknown, call.events[index].topic, self._timeout, 0)
                    )

    def _end_in(self, lane: Lane, over: set[Call]) -> None:
        """Tell the calls what is known of their events in this lane."""
        flight, reason = lane.flight, self.last_error
        if flight is not None and flight.may_be_in_the_log():
            if flight.connection is not None:
                reason = f"{flight.connection.name} has not answered yet"
            self._end_flight(lane, flight, over, reason)
        elif flight is not None and any(parcel.call in over for parcel in flight.parcels):
            lane.give_back(flight)  # what is left of it goes into another batch: events that failed must not be in that
        code = lane.error
        lane.drop(lambda: refused(code, lane.topic) if code else not_sent(reason, self._timeout), over)
        if lane.waiting:
            self._make_ready(lane)
        elif lane.flight is None:
            lane.error = 0

    def _end_flight(self, lane: Lane, flight: Flight, over: set[Call], reason: str) -> None:
        """Nobody knows whether its events are, or will be, in the log."""
        for parcel in flight.parcels:
            if parcel.call in over:
                parcel.fail(lambda: outcome_unknown(lane.topic, self._timeout, lane.error, reason))
        if not flight.is_wanted():
            self._give_up(lane, flight)

    def _give_up(self, lane: Lane, flight: Flight) -> None:
        """Nobody waits for it any more."""
        lane.flight = None
        if flight.may_be_in_the_log():
            self._identity.forget(flight.producer)

    # ----------------------------------------------------------------------------------------------------- watching
    def _watch(self) -> None:
        """Look whether brokers are silent, as long as somebody waits."""
        self._watching = None
        self._brokers.hang_up_on_silence(self._timeout * SILENCE)
        if self._calls:
            self._watching = asyncio.get_running_loop().call_later(self._timeout * WATCH, self._watch)

    def _refuse_all(self, code: int) -> None:
        """The brokers give this user no producer id: nothing can be sent."""
        for lane in self._lanes.values():
            lane.drop(partial(refused, code, lane.topic))


def _parcels(call: Call) -> Iterator[Parcel]:
    """Neighbours with one topic and one key, or whatever the partition is chosen by."""
    start = size = 0
    first: Event | None = None
    for index, event in enumerate(call.events):
        if first is None:
            first = event
        elif event.key != first.key or event.topic != first.topic or event.partition_by != first.partition_by:
            yield Parcel(call, start, index, size)
            first, start, size = event, index, 0
        size += len(event.value)
    if first is not None:
        yield Parcel(call, start, len(call.events), size)
