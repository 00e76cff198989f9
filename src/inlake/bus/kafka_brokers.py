"""The brokers of a cluster: which of them leads a partition, and the one connection to each, made when it is wanted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from inlake.bus import kafka_wire as wire
from inlake.bus.kafka_access import Access
from inlake.bus.kafka_connection import ConnectError, Connection, connect

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
        self.errors: dict[str, int] = {}
        """Error codes of topics, as a broker last told them."""
        self._access = access
        self._on_news = on_news
        self._on_trouble = on_trouble
        self._nodes: dict[int, tuple[str, int]] = {}
        self._leaders: dict[Partition, int] = {}
        self._connections: dict[tuple[str, int], Connection] = {}
        self._retry: dict[tuple[str, int], tuple[float, float]] = {}
        """When an address that failed may be tried again, by the event loop's clock, and the pause after that."""
        self._topics: dict[str, float] = {}
        """Those that are published to, and when their leaders were last asked for."""
        self._tasks: dict[object, asyncio.Task[None]] = {}
        self._logged: dict[str, float] = {}
        self._asked = 0.0
        """When a broker was last asked for leaders."""
        self._alarm: asyncio.TimerHandle | None = None

    def leading(self, topic: str, partition: int) -> Connection | None:
        """The connection to the partition's leader, if it is known and ready; otherwise it is seen to."""
        asked = self._topics.setdefault(topic, 0.0)
        address = self._nodes.get(self._leaders.get((topic, partition), _NOBODY))
        if address is None or asyncio.get_running_loop().time() > asked + REFRESH:
            self.find_leaders()
        return self._open(address) if address else None

    def any(self) -> Connection | None:
        """A connection to some broker; if there is none, one is made."""
        for connection in self._connections.values():
            if connection.is_open:
                return connection
        for address in [*self._nodes.values(), *self._access.servers]:
            self._open(address)
        return None

    def find_leaders(self) -> None:
        """Ask who leads the partitions of all topics that are published to; `on_news` follows."""
        again = self._asked + PAUSE
        if asyncio.get_running_loop().time() >= again:
            self._start(LEADERS, self._find_leaders)
        elif self._alarm is None:
            self._alarm = asyncio.get_running_loop().call_at(again, self._wake)

    def _wake(self) -> None:
        self._alarm = None
        self._on_news()

    async def close(self) -> None:
        """Hang up."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in list(self._connections.values()):
            connection.abort()

    def lost(self, connection: Connection, in_use: bool) -> None:
        """It hung up, or we did; `in_use`: somebody waited for an answer."""
        if in_use:
            self.last_error = f"{connection.name}: the connection was lost"
        for address, known in list(self._connections.items()):
            if known is connection:
                del self._connections[address]

    def _open(self, address: tuple[str, int]) -> Connection | None:
        loop = asyncio.get_running_loop()
        connection = self._connections.get(address)
        if connection is not None and connection.is_open and loop.time() < connection.until:
            return connection
        if connection is not None and connection.is_idle():  # it would have to prove itself again: a new one does
            connection.abort()
        retry, _ = self._retry.get(address, (0.0, 0.0))
        if loop.time() >= retry:
            self._start(address, lambda: self._connect(address))
        return None

    def _start(self, name: object, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do the work, one of a name at a time."""
        if name not in self._tasks:
            task = self._tasks[name] = asyncio.create_task(work())
            task.add_done_callback(lambda _: self._tasks.pop(name, None))
            task.add_done_callback(_say_fault)

    async def _connect(self, address: tuple[str, int]) -> None:
        try:
            self._connections[address] = await connect(*address, self._access, SETUP, self.lost)
        except ConnectError as error:
            self._failed(address, str(error))
        except Exception:  # it must be tried again, and not at once
            logger.exception("A fault while a connection to Kafka was made")
            self._failed(address, "{}:{}: a fault of the gateway: see its log".format(*address))
        else:
            self._retry.pop(address, None)
            self.last_error = ""
        self._on_news()

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

    async def _find_leaders(self) -> None:
        connection = self.any()
        if connection is None:
            return  # `on_news` tells when there is one, and who needs a leader asks again
        topics = sorted(self._topics)
        self._asked = asyncio.get_running_loop().time()
        try:
            metadata = await connection.ask(wire.METADATA, wire.metadata_body(topics), wire.read_metadata)
        except ConnectError as error:
            self.last_error = str(error)
        else:
            self._nodes = metadata.nodes
            self._leaders = {place: leader for place, leader in metadata.leaders.items() if leader in metadata.nodes}
            self.errors = metadata.errors
            self._topics.update(dict.fromkeys(topics, self._asked))
        self._on_news()


def _say_fault(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        logger.error("A fault while Kafka's brokers were looked for", exc_info=error)
