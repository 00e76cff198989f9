"""A model of a Kafka cluster in virtual time: three brokers, their logs, and a network that loses what it likes.

The event loop is the network: `create_connection` gives a transport to a broker of the model, and the clock jumps to the
next thing that happens. So thousands of runs with failovers take the time of one against real brokers. What a broker does
with producer ids is written after Kafka's own ProducerAppendInfo and ProducerStateManager, not after the producer.
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

PRODUCE, METADATA, API_VERSIONS, INIT_PRODUCER_ID = 0, 3, 18, 22
NOT_LEADER, TIMED_OUT, TOO_LARGE, NOT_ENOUGH, NOT_ENOUGH_AFTER = 6, 7, 10, 19, 20
UNKNOWN_TOPIC, OUT_OF_ORDER, INVALID_EPOCH, STORAGE_ERROR = 3, 45, 47, 56
TICK = 1e-6
"""Seconds between two things on one connection: timers of one moment may ring in any order."""
REMEMBERED = 5
"""Batches of a producer id that a broker knows again."""


class VirtualTime(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps, and whose network is a cluster of the model."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.cluster: Cluster | None = None
        super().__init__()
        cast("Any", self)._selector.select = self._jump

    def time(self) -> float:
        return self.now

    def _jump(self, seconds: float | None) -> list[Any]:
        assert seconds is not None, "nothing will ever happen"
        self.now += max(seconds, 0.0)
        return []

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> Any:
        return [(2, 1, 6, "", (host, port))]

    async def create_connection(self, factory: Any, host: Any = None, *_: Any, **__: Any) -> Any:  # type: ignore[override]
        assert self.cluster is not None
        return await self.cluster.connect(factory, host)


@dataclass
class Batch:
    """A record batch in a log."""

    producer: int
    epoch: int
    sequence: int
    count: int
    data: bytes
    offset: int

    @property
    def last(self) -> int:
        return (self.sequence + self.count - 1) & 0x7FFFFFFF


@dataclass
class Partition:
    """The leader's log; what is after `committed` may be lost with the leader."""

    leader: int
    epoch: int = 0
    log: list[Batch] = field(default_factory=list)
    committed: int = 0

    def append(self, data: bytes) -> tuple[int, Batch | None]:
        """An error, or the batch: a new one, or the one that it repeats (ProducerStateManager)."""
        producer, epoch, sequence, count = struct.unpack_from(">qhii", data, 43)
        mine = [batch for batch in self.log if batch.producer == producer]
        last = (sequence + count - 1) & 0x7FFFFFFF
        if mine:
            known = [batch for batch in mine if batch.epoch == mine[-1].epoch][-REMEMBERED:]
            for batch in known:
                if (batch.epoch, batch.sequence, batch.last) == (epoch, sequence, last):
                    return 0, batch
            if epoch < mine[-1].epoch:
                return INVALID_EPOCH, None
            if epoch > mine[-1].epoch and sequence != 0:
                return OUT_OF_ORDER, None
            if epoch == mine[-1].epoch and sequence != (mine[-1].last + 1) & 0x7FFFFFFF:
                return OUT_OF_ORDER, None
        offset = self.log[-1].offset + self.log[-1].count if self.log else 0
        self.log.append(Batch(producer, epoch, sequence, count, data, offset))
        return 0, self.log[-1]


class Transport(asyncio.Transport):
    """A client's end of a connection to a broker of the model."""

    def __init__(self, cluster: Cluster, broker: Broker, protocol: asyncio.Protocol) -> None:
        super().__init__({"socket": _Socket()})
        self._cluster, self._broker, self.protocol = cluster, broker, protocol
        self.closed = False
        self.requests: deque[bytes] = deque()
        self.busy = False
        """The broker reads no further request of a connection before it has answered the one before."""
        self.there = self.back = 0.0
        """When the last request arrives, and the last answer: a connection keeps their order."""

    def write(self, data: Any) -> None:
        if not self.closed:
            self._cluster.carry(self, self._broker, bytes(data))

    def writelines(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        if not self.closed:
            self.closed = True
            self._cluster.loop.call_soon(self.protocol.connection_lost, None)

    def answer(self, data: bytes) -> None:
        if not self.closed:
            self.protocol.data_received(len(data).to_bytes(4, "big") + data)


class _Socket:
    def setsockopt(self, *_: object) -> None: ...

    def fileno(self) -> int:
        raise ValueError


@dataclass
class Broker:
    """One broker: what it is asked waits while it hangs."""

    id: int
    hanging: bool = False
    stale_until: float = 0.0
    stale: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Leaders and their epochs as it tells them until then."""
    held: list[Callable[[], None]] = field(default_factory=list)

    def do(self, work: Callable[[], None]) -> None:
        if self.hanging:
            self.held.append(work)
        else:
            work()


class Cluster:
    """Three brokers, one topic `t`, and faults by chance."""

    def __init__(self, loop: VirtualTime, chance: random.Random, partitions: int = 2) -> None:
        self.loop = loop
        self.chance = chance
        self.faults = 0.0
        """How often a request or an answer goes wrong."""
        self.largest = 1 << 20
        """max.message.bytes."""
        self.throttle = 0
        """Milliseconds for which a quota holds producers back after an answer."""
        self.latency = chance.choice([0.003, 0.02, 0.06])
        """Seconds that a request or its answer may take."""
        self.brokers = {n: Broker(n) for n in (1, 2, 3)}
        self.partitions = {n: Partition(1 + n % 3) for n in range(partitions)}
        self.refuses_next = 0
        """The error that the next batch is refused with, once."""
        self.told: dict[str, int] = {}
        """How often each error was answered."""
        self._ids = 0

    async def connect(self, factory: Any, host: str) -> Any:
        await asyncio.sleep(self.chance.uniform(0.0005, 0.005))
        if self.chance.random() < self.faults:
            raise ConnectionRefusedError(111, "refused")
        protocol = factory()
        transport = Transport(self, self.brokers[int(host[1:])], protocol)
        protocol.connection_made(transport)
        return transport, protocol

    # --------------------------------------------------------------------------------------------------- the network
    def carry(self, transport: Transport, broker: Broker, data: bytes) -> None:
        """A request to the broker: on time, late, or lost with its connection."""
        if self.chance.random() < self.faults / 2:
            self.loop.call_later(self.chance.uniform(0, 0.5), transport.abort)
            return
        transport.there = max(transport.there + TICK, self.loop.time() + self.chance.uniform(0.0005, self.latency))
        self.loop.call_at(transport.there, self._arrived, transport, broker, data)

    def _arrived(self, transport: Transport, broker: Broker, data: bytes) -> None:
        transport.requests.append(data)  # also when the client is gone: the broker has it in its socket
        broker.do(lambda: self._next(transport, broker))

    def _next(self, transport: Transport, broker: Broker) -> None:
        if transport.busy or not transport.requests:
            return
        transport.busy = True
        self._handle(transport, broker, transport.requests.popleft())

    def _reply(self, transport: Transport, broker: Broker, data: bytes) -> None:
        """The answer, on time, late, or lost with its connection; then the broker reads the next request."""
        if self.chance.random() < self.faults / 2:
            transport.abort()
        late = self.chance.random() < self.faults
        seconds = self.chance.uniform(0.5, 3.0) if late else self.chance.uniform(0.0005, self.latency)
        transport.back = max(transport.back + TICK, self.loop.time() + seconds)
        self.loop.call_at(transport.back, transport.answer, data)
        transport.busy = False
        self.loop.call_soon(broker.do, lambda: self._next(transport, broker))

    # ---------------------------------------------------------------------------------------------------- the brokers
    def _handle(self, transport: Transport, broker: Broker, request: bytes) -> None:
        key, number = struct.unpack_from(">h", request, 4)[0], request[8:12]
        at = 14 + struct.unpack_from(">h", request, 12)[0]
        if key == API_VERSIONS:
            offered = [(PRODUCE, 3, 7), (METADATA, 4, 7), (API_VERSIONS, 0, 0), (INIT_PRODUCER_ID, 0, 1)]
            body = struct.pack(">hi", 0, len(offered)) + b"".join(struct.pack(">hhh", *one) for one in offered)
            self._reply(transport, broker, number + body)
        elif key == METADATA:
            self._reply(transport, broker, number + self._metadata(broker))
        elif key == INIT_PRODUCER_ID:
            self._ids += 1
            self._reply(transport, broker, number + struct.pack(">ihqh", 0, 0, self._ids, 0))
        else:
            self._produce(transport, broker, number, request[at:])

    def _metadata(self, broker: Broker) -> bytes:
        leaders = {n: (partition.leader, partition.epoch) for n, partition in self.partitions.items()}
        if self.loop.time() < broker.stale_until:
            leaders = broker.stale
        body = struct.pack(">ii", 0, len(self.brokers))
        for n in self.brokers:
            body += struct.pack(">ih", n, 2) + b"b%d" % n + struct.pack(">ih", 9092, -1)
        body += struct.pack(">hiihh", -1, 1, 1, 0, 1) + b"t" + struct.pack(">bi", 0, len(leaders))
        for n, (leader, epoch) in leaders.items():
            body += struct.pack(">hiiii", 0, n, leader, epoch, 3) + struct.pack(">iii", 1, 2, 3)
            body += struct.pack(">iiiii", 3, 1, 2, 3, 0)
        return body

    def _produce(self, transport: Transport, broker: Broker, number: bytes, body: bytes) -> None:
        assert struct.unpack_from(">hh", body) == (-1, -1)
        (topics,) = struct.unpack_from(">i", body, 8)
        assert (topics, body[12:15]) == (1, b"\0\1t")
        (count,), at = struct.unpack_from(">i", body, 15), 19
        results: dict[int, tuple[int, int]] = {}
        waiting: list[tuple[int, Batch]] = []
        for _ in range(count):
            n, size = struct.unpack_from(">ii", body, at)
            data, at = body[at + 8 : at + 8 + size], at + 8 + size
            code, batch = self._append(broker, n, data)
            if batch is None:
                results[n] = code, -1
            else:
                waiting.append((n, batch))

        def respond() -> None:
            throttle = 300 if self.chance.random() < self.faults / 4 else self.throttle
            parts = [struct.pack(">ihqqq", n, code, offset, -1, 0) for n, (code, offset) in results.items()]
            for code, _ in results.values():
                self.told[str(code)] = self.told.get(str(code), 0) + 1
            data = struct.pack(">ih", 1, 1) + b"t" + struct.pack(">i", len(parts)) + b"".join(parts)
            self._reply(transport, broker, number + data + struct.pack(">i", throttle))

        def replicated() -> None:
            for n, batch in waiting:
                results[n] = self._commit(broker, n, batch)
            broker.do(respond)

        if waiting:
            self.loop.call_later(self.chance.uniform(0.0005, 0.004), replicated)
        else:
            respond()

    def _append(self, broker: Broker, n: int, data: bytes) -> tuple[int, Batch | None]:
        partition = self.partitions[n]
        if partition.leader != broker.id:
            return NOT_LEADER, None
        if len(data) > self.largest:
            return TOO_LARGE, None
        if self.refuses_next:
            refused, self.refuses_next = self.refuses_next, 0
            return refused, None
        if self.chance.random() < self.faults / 2:
            return self.chance.choice([NOT_ENOUGH, UNKNOWN_TOPIC, 2]), None
        return partition.append(data)

    def _commit(self, broker: Broker, n: int, batch: Batch) -> tuple[int, int]:
        """What the leader says when the followers have had their time."""
        partition = self.partitions[n]
        if partition.leader != broker.id or not any(one is batch for one in partition.log):
            return NOT_LEADER, -1  # it may have it, the next leader too
        if self.chance.random() < self.faults / 2:
            return self.chance.choice([TIMED_OUT, NOT_ENOUGH_AFTER, STORAGE_ERROR, -1, NOT_LEADER]), -1
        index = next(i for i, one in enumerate(partition.log) if one is batch)
        partition.committed = max(partition.committed, index + 1)
        return 0, batch.offset

    # ------------------------------------------------------------------------------------------------------ what happens
    def fail_over(self, n: int) -> None:
        """Another broker leads; of what was not confirmed it has some."""
        partition = self.partitions[n]
        partition.leader = self.chance.choice([b for b in self.brokers if b != partition.leader])
        partition.epoch += 1
        del partition.log[self.chance.randint(partition.committed, len(partition.log)) :]
        partition.committed = len(partition.log)

    def freeze_metadata(self, seconds: float) -> None:
        """A broker tells of the leaders of now for so long."""
        broker = self.chance.choice(list(self.brokers.values()))
        broker.stale = {n: (partition.leader, partition.epoch) for n, partition in self.partitions.items()}
        broker.stale_until = self.loop.time() + seconds

    async def hang(self, broker: Broker, seconds: float) -> None:
        """A broker stands still, and then does what it was asked, one connection's before or after another's."""
        broker.hanging = True
        await asyncio.sleep(seconds)
        self.wake(broker)

    def wake(self, broker: Broker) -> None:
        broker.hanging = False
        held, broker.held = broker.held, []
        self.chance.shuffle(held)
        for work in held:
            work()

    def heal(self) -> None:
        self.faults, self.largest = 0.0, 1 << 20
        for broker in self.brokers.values():
            broker.stale_until = 0.0
            self.wake(broker)
