"""The brokers of a cluster: which of them leads a partition, and the one connection to each, made when it is wanted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from inlake.bus.kafka.producer import wire
from inlake.bus.kafka.producer.connection import ConnectError, Connection, connect
from inlake.bus.kafka.producer.wire import Leader, Metadata
from inlake.bus.kafka.properties import Access

logger = logging.getLogger("inlake.bus")

QUIET = 30.0
"""Seconds until the same trouble is logged again."""
SETUP = 10.0
"""Seconds until a connection must be ready for use."""
REFRESH = 60.0
"""Seconds until what is known of a topic's leaders is asked for again."""
PAUSE = 0.1
"""Seconds between two questions about leaders: an election takes longer."""
ANSWER = 2.0
"""Seconds until a question about leaders is put to another broker."""
SILENT = 1.0
"""Seconds without an answer after which another broker is asked who leads: this one may hang."""
STALE = 5.0
"""Seconds for which an answer with an older leader epoch is not believed: a topic made anew begins at epoch 0."""
SLOWEST = 100_000
"""Bytes a second at which a request goes out on the slowest link that is not taken for dead."""
MOST_SILENCE = 0.9
"""Share of the time-out after which a connection without an answer is given up, however much is on its way."""
Partition = tuple[str, int]
Address = tuple[str, int]
TICK = 0.005
"""Seconds that a timer may ring early: the event loop's clock counts in milliseconds."""
LEADERS = "leaders"
NOBODY = Leader(-1, -1, 0)


class Brokers:
    """Answers at once with what it knows; what it does not know it finds out, and says so by `on_news`."""

    def __init__(self, access: Access, *, on_news: Callable[[], None], on_trouble: Callable[[], None]) -> None:
        """`on_news`: a connection is ready, a leader may be known, or it is time to try again; `on_trouble`: no broker
        can be reached."""
        self.last_error = ""
        """The last error of a connection; empty when the last attempt went well."""
        self._errors: dict[str | Partition, int] = {}
        """Error codes of topics and of partitions without a leader, until they are asked for again."""
        self._access = access
        self._on_news = on_news
        self._on_trouble = on_trouble
        self._nodes: dict[int, Address] = {}
        self._leaders: dict[Partition, Leader] = {}
        self._confirmed: dict[Partition, float] = {}
        """When a broker last told of a partition's leader, or of a later one."""
        self._connections: dict[Address, Connection] = {}
        self._replaced: set[Connection] = set()
        """Replaced connections that still owe an answer."""
        self._retry: dict[Address, tuple[float, float]] = {}
        """When an address that failed may be tried again, by the event loop's clock, and the pause after that."""
        self._first: dict[Address, int] = {}
        """By name, the index of the address that is tried first: the one that answered the last time."""
        self._questions: dict[str, float] = {}
        """When a broker was last asked a question, by its name: the next is for another."""
        self._topics: dict[str, float] = {}
        """Topics that are published to, and when their leaders were last asked for."""
        self._tasks: dict[object, asyncio.Task[None]] = {}
        self._logged: dict[str, float] = {}
        self._asked = 0.0
        """The time when a broker last told of leaders."""
        self._alarm: asyncio.TimerHandle | None = None
        self._closed = False

    def leading(self, topic: str, partition: int) -> Connection | None:
        """The connection to the partition's leader, if it is known and ready; otherwise it is seen to."""
        if topic not in self._topics:
            self._topics[topic] = self._asked = 0.0  # what was told before says nothing of it: ask at once
        asked = self._topics[topic]
        address = self._nodes.get(self._leaders.get((topic, partition), NOBODY).broker)
        connection = self._open(address) if address else None
        if connection is None or asyncio.get_running_loop().time() > asked + REFRESH:
            self.find_leaders()  # another may lead by now
        return connection

    def error(self, topic: str, partition: int) -> int:
        """Why `leading` has none: the code that a broker told of the topic or of the partition; 0 is not known yet."""
        if code := self._errors.get(topic) or self._errors.get((topic, partition)):
            return code
        gone = topic in self._errors and (topic, partition) not in self._leaders
        return wire.UNKNOWN_TOPIC if gone else 0

    def any(self) -> Connection | None:
        """A connection to ask on: of a broker that answers, owes nothing, and was not asked last. Makes one if there is
        none."""
        connections = {connection: at for at, connection in self._connections.items() if connection.is_open}
        best = min(connections, key=self._least_loaded, default=None)
        if best is None or best.silence() > SILENT:
            for address in [*self._nodes.values(), *self._access.servers]:
                self._open(address)
        elif self._is_due(best):
            self._open(connections[best])
        return best

    def _least_loaded(self, connection: Connection) -> tuple[bool, bool, bool, float]:
        """A broker hangs up at a question on a connection that must prove itself again, as one that led nothing for a
        while must: it comes last."""
        asked = self._questions.get(connection.name, 0.0)
        return self._is_due(connection), connection.silence() > SILENT, not connection.is_idle(), asked

    def _is_due(self, connection: Connection) -> bool:
        """Whether it must prove itself again."""
        return asyncio.get_running_loop().time() >= connection.until

    def avoid(self, connection: Connection) -> None:
        """Puts the next question to another broker: this one has just said that it does not lead."""
        self._questions[connection.name] = asyncio.get_running_loop().time()

    def watch(self, seconds: float, timeout: float) -> None:
        """Hangs up on brokers that owe an answer for so long, some more when much is on its way, at most a share of
        `timeout`: a connection may be dead without a word, as behind a firewall. Of one that is silent for a moment the
        others are asked whether it still leads."""
        for connection in [*self._connections.values(), *self._replaced]:
            silence = connection.silence()
            if silence > min(seconds + connection.owed() / SLOWEST, MOST_SILENCE * timeout):
                self.last_error = f"{connection.name}: no answer within {silence:.3g} s"
                connection.abort()
            elif silence > SILENT:
                self.find_leaders()

    def find_leaders(self) -> None:
        """Asks who leads the partitions of all topics that are published to; `on_news` follows."""
        again = self._asked + PAUSE
        if asyncio.get_running_loop().time() >= again:
            self._errors.clear()  # what is told next counts
            self._start(LEADERS, self._find_leaders)
        elif self._alarm is None:
            self._alarm = asyncio.get_running_loop().call_at(again + TICK, self._wake)

    async def ask(self, topics: list[str]) -> Metadata:
        """A broker's answer about these topics. Raises `ConnectError`."""
        connection = self.any()
        if connection is None:
            raise ConnectError(self.last_error or "no broker is connected yet")
        self.avoid(connection)
        version = connection.versions[wire.METADATA]
        metadata = await connection.ask(
            wire.METADATA, wire.metadata_body(topics), lambda answer: wire.read_metadata(answer, version), ANSWER
        )
        self._nodes = metadata.nodes or self._nodes
        return metadata

    def _wake(self) -> None:
        self._alarm = None
        self._on_news()

    async def close(self) -> None:
        """Hangs up."""
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in [*self._connections.values(), *self._replaced]:
            connection.abort()

    def _lost(self, connection: Connection, reason: str) -> None:
        """Forgets a connection that the broker has ended, or the gateway: then there is no reason."""
        self._replaced.discard(connection)
        for address, known in list(self._connections.items()):
            if known is connection:
                del self._connections[address]
                self.last_error = reason or self.last_error
                if reason and not connection.is_proven():  # the next one would fare no better
                    self._failed(address, reason)

    def _open(self, address: Address) -> Connection | None:
        now = asyncio.get_running_loop().time()
        connection = self._connections.get(address)
        usable = connection is not None and connection.is_open
        if connection is not None and usable and now < connection.until:
            return connection
        retry, _ = self._retry.get(address, (0.0, 0.0))
        if now >= retry:
            self._start(address, lambda: self._connect(address))
        return connection if usable else None  # one that must prove itself again soon will do until it is replaced

    def _start(self, name: object, work: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        """Does the work, one of a name at a time."""
        if name not in self._tasks and not self._closed:
            self._tasks[name] = asyncio.create_task(self._run(name, work))

    async def _run(self, name: object, work: Callable[[], Coroutine[Any, Any, bool]]) -> None:
        """`work` says whether there is news. Whoever hears it may want the same work again at once."""
        news = True
        try:
            news = await work()
        except Exception:
            logger.exception("A fault while Kafka's brokers were looked for")
            await asyncio.sleep(PAUSE)
        finally:
            del self._tasks[name]
        if news:
            self._on_news()

    async def _connect(self, address: Address) -> bool:
        before = self._connections.get(address)
        try:
            self._connections[address], self._first[address] = await connect(
                address, self._access, SETUP, self._lost, first=self._first.get(address, 0)
            )
        except ConnectError as error:
            self._first[address] = self._first.get(address, 0) + 1
            self._failed(address, str(error))
        except Exception:  # it must be tried again, and not at once
            logger.exception("A fault while a connection to Kafka was made")
            self._failed(address, "{}:{}: a fault of the gateway: see its log".format(*address))
        else:
            if before is not None and before.is_open:
                self._replaced.add(before)
                before.retire()
            self._retry.pop(address, None)
            self.last_error = ""
            self.find_leaders()  # a broker that wants to know who we are says so at the first question
        return True

    def _failed(self, address: Address, reason: str) -> None:
        loop, (first, most) = asyncio.get_running_loop(), self._access.backoff
        self.last_error = reason
        _, pause = self._retry.get(address, (0.0, first))
        self._retry[address] = loop.time() + pause, min(2 * pause, most)
        loop.call_later(pause + TICK, self._on_news)
        if loop.time() >= self._logged.get(reason, 0.0):
            self._logged[reason] = loop.time() + QUIET
            logger.warning("Kafka: %s", reason)
        self.find_leaders()  # another may lead by now
        if not any(connection.is_open for connection in self._connections.values()):
            self._on_trouble()

    async def _find_leaders(self) -> bool:
        if self.any() is None:
            return False  # there is news when there is one, and who needs a leader asks again
        topics = sorted(self._topics)
        try:
            metadata = await self.ask(topics)
        except ConnectError as error:
            self.last_error = self.last_error or str(error)
        else:
            self._errors = metadata.errors
            self._take_leaders(metadata)
            self._topics.update(dict.fromkeys(topics, asyncio.get_running_loop().time()))
            self._hang_up_on_replaced()
        self._asked = asyncio.get_running_loop().time()
        return True

    def _take_leaders(self, metadata: Metadata) -> None:
        """Takes what a broker tells, but for a leader with an older epoch than one that was told of before: the broker
        is behind. If nobody tells of the later one for a time, the topic is another of the same name."""
        now, leaders = asyncio.get_running_loop().time(), dict[Partition, Leader]()
        for partition, told in metadata.leaders.items():
            known = self._leaders.get(partition, NOBODY)
            if told.epoch < known.epoch and now < self._confirmed.get(partition, 0.0) + STALE:
                leaders[partition] = known
                self._errors.pop(partition, None)
                continue
            self._confirmed[partition] = now
            if told.broker in metadata.nodes:
                leaders[partition] = told
        self._leaders = leaders

    def _hang_up_on_replaced(self) -> None:
        """Ends the connections of silent brokers that lead nothing any more: what they owe goes to the next leader."""
        leading = {self._nodes.get(leader.broker) for leader in self._leaders.values()}
        for address, connection in list(self._connections.items()):
            if connection.silence() > SILENT and address not in leading:
                self.last_error = f"{connection.name}: silent, and another broker leads now"
                connection.abort()
