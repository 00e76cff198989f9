"""The producer id by which brokers know a repeat (KIP-98): asked for when there is none, forgotten when it fails."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from confluent_kafka import KafkaError

from inlake.bus.kafka.errors import Verdict, verdict
from inlake.bus.kafka.producer import wire
from inlake.bus.kafka.producer.batch import ProducerId
from inlake.bus.kafka.producer.brokers import ANSWER, PAUSE, Brokers
from inlake.bus.kafka.producer.connection import ConnectError, Connection
from inlake.bus.kafka.producer.wire import Refused

logger = logging.getLogger("inlake.bus")


class ProducerIds:
    """Producer ids: at most one at a time; batches that are under way keep theirs."""

    def __init__(self, brokers: Brokers, *, on_news: Callable[[], None], on_refused: Callable[[int], None]) -> None:
        """`on_news`: there is one, or it is time to ask again; `on_refused`: this user gets none, for this code."""
        self.current: ProducerId | None = None
        self._brokers = brokers
        self._on_news = on_news
        self._on_refused = on_refused
        self._asking: asyncio.Task[None] | None = None

    def ask(self) -> None:
        """Gets a producer id; where no broker is connected, the brokers' news follow."""
        connection = self._brokers.any()
        if connection is not None and self._asking is None:
            self._asking = asyncio.ensure_future(self._ask(connection))

    def forget(self, number: int) -> None:
        """Begins again with another: a new epoch of this one did not help, or there is none left."""
        if self.current is not None and self.current.id == number:
            self.current = None

    def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()

    async def _ask(self, connection: Connection) -> None:
        try:
            self.current = await self._answer(connection)
            if self.current is None:
                await asyncio.sleep(PAUSE)
        finally:
            self._asking = None
        self._on_news()

    async def _answer(self, connection: Connection) -> ProducerId | None:
        try:
            self._brokers.avoid(connection)
            body = wire.init_producer_id_body()
            producer = await connection.ask(wire.INIT_PRODUCER_ID, body, wire.read_producer_id, ANSWER)
        except Refused as error:
            self._brokers.last_error = f"{connection.name} gives no producer id: {KafkaError(error.code).str()}"
            if verdict(error.code) is Verdict.REFUSED:
                self._on_refused(error.code)
            return None
        except ConnectError:  # which the brokers hear of
            return None
        except Exception:
            logger.exception("A fault while Kafka was asked for a producer id")
            return None
        self._brokers.last_error = ""
        return producer
