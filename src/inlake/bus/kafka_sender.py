"""An idempotent producer: one batch in flight for each partition, and all that waits meanwhile shares the next.

Every event gets its result in bounded time. A batch that a broker did not answer is sent again as it is, with the same
producer id and sequence number, so that a broker that has it already knows it (KIP-98); only when the time-out of its
events is over its outcome stays unknown. Everything happens in the event loop's thread; nothing blocks.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from confluent_kafka.cimpl import murmur2

from inlake.bus import kafka_wire as wire
from inlake.bus.kafka_access import Access
from inlake.bus.kafka_batch import ProducerId, record_batch
from inlake.bus.kafka_brokers import Brokers
from inlake.bus.kafka_connection import ConnectError, Connection
from inlake.bus.kafka_errors import Verdict, not_sent, outcome_unknown, refused, verdict
from inlake.bus.kafka_lane import BATCH_EVENTS, Call, Flight, Lane, Result
from inlake.bus.kafka_wire import Answer, Produced, Refused
from inlake.errors import Busy
from inlake.model import Event

REQUEST_BYTES = 16 << 20
"""Of the batches of one request; brokers take 100 MiB by default (socket.request.max.bytes)."""
WAITING_EVENTS, WAITING_BYTES = 100_000, 128 << 20
"""How much may wait; more is `Busy`. librdkafka's own limits, or near them."""
GONE = 3.0
"""Seconds until a topic that a broker does not know counts as missing: a new one takes a moment to get around."""
PAUSE = 0.1
"""Seconds until a batch is sent again that a broker could not take now."""
TICK = 0.005
"""Seconds that a timer may ring early: the event loop's clock counts in milliseconds."""
SEQUENCES = 1 << 31


class Sender:
    """Publishes to any number of partitions. For one event loop."""

    def __init__(self, access: Access, *, timeout: float, on_trouble: Callable[[], None]) -> None:
        """`timeout`: seconds until an event without confirmation counts as failed; `on_trouble`: no broker can be
        reached."""
        self._timeout = timeout
        self._brokers = Brokers(access, on_news=self._wake_all, on_trouble=on_trouble)
        self._producer: ProducerId | None = None
        self._asking: asyncio.Task[None] | None = None
        self._lanes: dict[tuple[str, int], Lane] = {}
        self._ready: dict[Lane, None] = {}
        """Lanes with something to send, in the order in which they got it."""
        self._scheduled = False
        self._calls: dict[Call, None] = {}
        """Those that wait, the oldest first."""
        self._timer: asyncio.TimerHandle | None = None
        self._events = self._bytes = 0
        """Not yet confirmed."""

    @property
    def last_error(self) -> str:
        """What was last wrong with a connection."""
        return self._brokers.last_error

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
        if self._timer is None:
            self._timer = loop.call_at(call.deadline, self._end_calls)
        try:
            await call.done
        finally:
            self._calls.pop(call, None)
            self._events, self._bytes = self._events - held, self._bytes - size
        return not call.failed

    async def close(self) -> None:
        """Wait for what is in flight, at most the time-out, then hang up."""
        while self._calls:
            await asyncio.wait([call.done for call in self._calls])
        if self._asking is not None:
            self._asking.cancel()
        if self._timer is not None:
            self._timer.cancel()
        await self._brokers.close()

    # ----------------------------------------------------------------------------------------------------- going out
    def _enqueue(self, call: Call, partitions: Mapping[str, int]) -> int:
        """Put each event into its lane, if there is room; the bytes of those that are."""
        size, room = 0, WAITING_EVENTS - self._events
        key: bytes | None = None
        topic, lane = "", None
        for index, event in enumerate(call.events):
            if call.results[index] is not None:
                continue
            if room <= 0 or self._bytes + size > WAITING_BYTES:
                call.failed = True
                call.results[index] = Busy("More events wait for Kafka than the gateway may hold: try again.")
                continue
            if lane is None or event.partition_by is not None or event.key is not key or event.topic is not topic:
                key, topic, by = event.key, event.topic, event.partition_by
                lane = self._lane(topic, murmur2(key if by is None else by, partitions[topic]))
                if by is not None:
                    key = None
                self._make_ready(lane)
            lane.waiting.append((call, index))
            call.missing += 1
            room -= 1
            size += len(event.value)
        return size

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
        if self._producer is None:
            self._ask_producer_id()
            return
        ready, self._ready = self._ready, {}
        outgoing: dict[Connection, list[Lane]] = {}
        count = size = 0
        for lane in ready:
            if count >= BATCH_EVENTS or size >= REQUEST_BYTES:  # the others have the next turn
                self._make_ready(lane)
            elif flight := self._next_flight(lane):
                connection = self._connection(lane)
                if connection is not None:
                    flight.connection = connection
                    outgoing.setdefault(connection, []).append(lane)
                    count, size = count + len(flight.entries), size + len(flight.data)
        for connection, lanes in outgoing.items():
            self._send(connection, lanes)

    def _connection(self, lane: Lane) -> Connection | None:
        """To the leader of the lane; where there is none, `_wake_all` follows."""
        connection = self._brokers.leading(lane.topic, lane.partition)
        flight, code = lane.flight, self._brokers.errors.get(lane.topic, 0)
        if connection is None and code and flight is not None:
            if verdict(code) is Verdict.REFUSED:
                self._fail(lane, flight, code)
            else:
                self._later(lane, flight, code, unknown=False)
        return connection

    def _next_flight(self, lane: Lane) -> Flight | None:
        """What the lane has to send now: what failed before, or a new batch."""
        flight = lane.flight
        if flight is not None:
            if flight.connection is not None:
                return None
            if flight.is_wanted():
                return flight if asyncio.get_running_loop().time() >= lane.retry - TICK else None
            self._give_up(lane, flight)
        producer = self._producer
        if producer is None or not (entries := lane.take()):
            return None
        if lane.producer != producer:
            lane.producer, lane.sequence = producer, 0
        events = [call.events[index] for call, index in entries]
        data = record_batch(events, producer, lane.sequence, time.time_ns() // 1_000_000)
        lane.flight = Flight(entries, data, producer, lane.sequence)
        return lane.flight

    def _send(self, connection: Connection, lanes: list[Lane]) -> None:
        batches = [(lane.topic, lane.partition, lane.flight.data) for lane in lanes if lane.flight]
        body = wire.produce_body(batches, round(self._timeout * 1000))
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
            except (IndexError, struct.error, UnicodeDecodeError):
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
            flight.connection, flight.unknown = None, True
            self._make_ready(lane)

    def _judge(self, lane: Lane, flight: Flight, answer: Produced) -> None:
        match verdict(answer.error):
            case Verdict.IN_THE_LOG:
                lane.flight = None
                lane.sequence = (lane.sequence + len(flight.entries)) % SEQUENCES
                flight.succeed(lane.topic, lane.partition, answer.offset)
            case Verdict.TOO_LARGE if len(flight.entries) > 1:
                lane.limit = max(len(flight.data) // 2, 1)
                lane.give_back(flight)
            case Verdict.NEW_PRODUCER:
                self._forget_producer(flight.producer)
                if flight.unknown:
                    self._fail(lane, flight, answer.error)
                else:
                    lane.give_back(flight)
            case Verdict.REFUSED | Verdict.TOO_LARGE:
                self._fail(lane, flight, answer.error)
            case Verdict.LATER | Verdict.UNKNOWN as kind:
                self._later(lane, flight, answer.error, unknown=kind is Verdict.UNKNOWN)

    def _fail(self, lane: Lane, flight: Flight, code: int) -> None:
        """It will not be in the log, or an attempt before has put it there: then nobody knows."""
        lane.flight = None
        if flight.unknown:
            self._forget_producer(flight.producer)
            flight.fail(lambda: outcome_unknown(lane.topic, self._timeout, code))
        else:
            flight.fail(lambda: refused(code, lane.topic))

    def _later(self, lane: Lane, flight: Flight, code: int, *, unknown: bool) -> None:
        """The same batch again in a moment."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        flight.error, flight.unknown = code, flight.unknown or unknown
        flight.first_refused = flight.first_refused or now
        if code == wire.UNKNOWN_TOPIC and now > flight.first_refused + GONE and not flight.unknown:
            self._fail(lane, flight, code)
            return
        lane.retry = now + PAUSE
        self._brokers.find_leaders()
        loop.call_later(PAUSE, self._make_ready, lane)

    # -------------------------------------------------------------------------------------------------- time is over
    def _end_calls(self) -> None:
        """End the calls whose time is over, and see to the next."""
        self._timer = None
        loop = asyncio.get_running_loop()
        over: set[Call] = set()
        for call in self._calls:
            if call.deadline > loop.time():
                self._timer = loop.call_at(call.deadline, self._end_calls)
                break
            over.add(call)
        if not over:
            return
        for lane in self._lanes.values():
            if lane.flight is not None:
                self._end_flight(lane, lane.flight, over)
        for call in over:
            for index, result in enumerate(call.results):
                if result is None:
                    call.fail(index, not_sent(self.last_error, self._timeout))

    def _end_flight(self, lane: Lane, flight: Flight, over: set[Call]) -> None:
        """Tell the calls what is known of their events in flight."""
        unknown = flight.unknown or flight.connection is not None
        for call, index in flight.entries:
            if call in over and unknown:
                call.fail(index, outcome_unknown(lane.topic, self._timeout, flight.error, self.last_error))
            elif call in over and flight.error:
                call.fail(index, refused(flight.error, lane.topic))
        if not flight.is_wanted():
            self._give_up(lane, flight)
            self._make_ready(lane)

    def _give_up(self, lane: Lane, flight: Flight) -> None:
        """Nobody waits for it any more. Whether the broker has it, or will have it, nobody knows."""
        lane.flight = None
        if flight.connection is not None:  # it does not answer: another one may
            flight.connection.abort()
        if flight.unknown or flight.connection is not None:
            self._forget_producer(flight.producer)

    # --------------------------------------------------------------------------------------------------- producer id
    def _forget_producer(self, producer: ProducerId) -> None:
        """Its next sequence number is not known any more: begin again with another."""
        if self._producer == producer:
            self._producer = None

    def _ask_producer_id(self) -> None:
        connection = self._brokers.any()
        if connection is not None and self._asking is None:
            self._asking = asyncio.ensure_future(self._get_producer_id(connection))

    async def _get_producer_id(self, connection: Connection) -> None:
        try:
            self._producer = await connection.ask(
                wire.INIT_PRODUCER_ID, wire.init_producer_id_body(), wire.read_producer_id
            )
        except Refused as error:
            if verdict(error.code) is Verdict.REFUSED:
                self._refuse_all(error.code)
            await asyncio.sleep(PAUSE)
        except ConnectError:
            await asyncio.sleep(PAUSE)
        finally:
            self._asking = None
        self._wake_all()

    def _refuse_all(self, code: int) -> None:
        """The brokers give this user no producer id: nothing can be sent."""
        for lane in self._lanes.values():
            waiting, lane.waiting = lane.waiting, deque()
            for call, index in waiting:
                call.fail(index, refused(code, lane.topic))
