"""The brokers of a cluster: which of them leads a partition, and the one connection to each, made when it is wanted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from inlake.bus.kafka.producer import wire
from inlake.bus.kafka.producer.connection import ConnectError, Connection, connect
from inlake.bus.kafka.properties import Access

logger = logging.getLogger("inlake.bus")

QUIET = 30.0
"""Seconds until the same trouble is logged again."""
SETUP = 10.0
"""Seconds until a connection must be ready for use."""
REFRESH = 300.0
"""Seconds until what is known of a topic's leaders is asked for again."""
PAUSE = 0.1
"""Seconds between two questions about leaders: an election takes longer."""
Partition = tuple[str, int]
TICK = 0.005
"""Seconds that a timer may ring early: the event loop's clock counts in milliseconds."""
LEADERS = "leaders"
_NOBODY = -1


class Brokers:
    """Answers at once with what it knows; what it does not know it finds out, and says so by `on_news`."""

    def __init__(self, access: Access, *, on_news: Callable[[], None], on_trouble: Callable[[], None]) -> None:
        """`on_news`: a connection is ready, a leader may be known, or it is time to try again; `on_trouble`: no broker
        can be reached."""
        self.last_error = ""
        """What was last wrong with a connection; empty when the last attempt went well."""
        self._errors: dict[str | Partition, int] = {}
        """Error codes of topics and of partitions without a leader, until they are asked for again."""
        self._access = access
        self._on_news = on_news
        self._on_trouble = on_trouble
        self._nodes: dict[int, tuple[str, int]] = {}
        self._leaders: dict[Partition, int] = {}
        self._connections: dict[tuple[str, int], Connection] = {}
        self._replaced: set[Connection] = set()
        """Those that still owe an answer."""
        self._retry: dict[tuple[str, int], tuple[float, float]] = {}
        """When an address that failed may be tried again, by the event loop's clock, and the pause after that."""
        self._topics: dict[str, float] = {}
        """Those that are published to, and when their leaders were last asked for."""
        self._tasks: dict[object, asyncio.Task[None]] = {}
        self._logged: dict[str, float] = {}
        self._asked = 0.0
        """When a broker last told of leaders."""
        self._alarm: asyncio.TimerHandle | None = None
        self._closed = False

    def leading(self, topic: str, partition: int) -> Connection | None:
        """The connection to the partition's leader, if it is known and ready; otherwise it is seen to."""
        if topic not in self._topics:
            self._topics[topic] = self._asked = 0.0  # what was told before says nothing of it: ask at once
        asked = self._topics[topic]
        address = self._nodes.get(self._leaders.get((topic, partition), _NOBODY))
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
        """A connection to some broker, if possible one that owes no answer; if there is none, one is made."""
        connections = [connection for connection in self._connections.values() if connection.is_open]
        if connections:
            return next((connection for connection in connections if connection.is_idle()), connections[0])
        for address in [*self._nodes.values(), *self._access.servers]:
            self._open(address)
        return None

    def hang_up_on_silence(self, seconds: float) -> None:
        """Of brokers that owe an answer for so long: a connection may be dead without a word, as behind a firewall."""
        for connection in [*self._connections.values(), *self._replaced]:
            if connection.silence() > seconds:
                self.last_error = f"{connection.name}: no answer within {seconds:g} s"
                connection.abort()

    def find_leaders(self) -> None:
        """Ask who leads the partitions of all topics that are published to; `on_news` follows."""
        again = self._asked + PAUSE
        if asyncio.get_running_loop().time() >= again:
            self._errors.clear()  # what is told next counts
            self._start(LEADERS, self._find_leaders)
        elif self._alarm is None:
            self._alarm = asyncio.get_running_loop().call_at(again + TICK, self._wake)

    def _wake(self) -> None:
        self._alarm = None
        self._on_news()

    async def close(self) -> None:
        """Hang up."""
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
        """It hung up, or we did: then there is no reason."""
        self._replaced.discard(connection)
        for address, known in list(self._connections.items()):
            if known is connection:
                del self._connections[address]
                self.last_error = reason or self.last_error
                if reason and not connection.is_proven():  # the next one would fare no better
                    self._failed(address, reason)

    def _open(self, address: tuple[str, int]) -> Connection | None:
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
        """Do the work, one of a name at a time."""
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

    async def _connect(self, address: tuple[str, int]) -> bool:
        before = self._connections.get(address)
        try:
            self._connections[address] = await connect(*address, self._access, SETUP, self._lost)
        except ConnectError as error:
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

    def _failed(self, address: tuple[str, int], reason: str) -> None:
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
        connection = self.any()
        if connection is None:
            return False  # there is news when there is one, and who needs a leader asks again
        topics = sorted(self._topics)
        try:
            metadata = await connection.ask(wire.METADATA, wire.metadata_body(topics), wire.read_metadata)
        except ConnectError as error:
            self.last_error = self.last_error or str(error)
        else:
            self._nodes, self._errors = metadata.nodes, metadata.errors
            self._leaders = {place: leader for place, leader in metadata.leaders.items() if leader in metadata.nodes}
            self._topics.update(dict.fromkeys(topics, asyncio.get_running_loop().time()))
        self._asked = asyncio.get_running_loop().time()
        return True
