"""What publishers to Kafka were told, beside what an independent reader finds in the log."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from aiokafka import AIOKafkaConsumer

from inlake.bus.kafka.bus import KafkaBus
from inlake.errors import InlakeError, OutcomeUnknown
from inlake.model import Event, Position
from tests.live_servers import KAFKA_BOOTSTRAP


@dataclass
class Said:
    """Answers to publishers, in the order in which they asked."""

    told: list[tuple[Event, Position | InlakeError]] = field(default_factory=list)

    async def publish(self, bus: KafkaBus, *events: Event) -> list[Position | InlakeError]:
        results = await bus.publish(events)
        self.told += zip(events, results, strict=True)
        return results

    async def check(self, servers: str = KAFKA_BOOTSTRAP, *, committed: bool = False) -> Counter[str]:
        """Everything said is true, and no event is in the log more often than confirmed or of unknown outcome. Gives how
        often those events are there that are there. `committed`: those of transactions that were given up are not."""
        log = await _read({event.topic for event, _ in self.told}, servers, committed=committed)
        times = Counter(log.values())
        confirmed, unknown = Counter[str](), Counter[str]()
        last: dict[tuple[str, bytes], int] = {}
        for event, result in self.told:
            if isinstance(result, Position):
                confirmed[event.id] += 1
                assert result.offset >= 0
                assert log[result.topic, result.partition, result.offset] == event.id
                assert result.offset > last.get((event.topic, event.key), -1), "order per key"
                last[event.topic, event.key] = result.offset
            unknown[event.id] += isinstance(result, OutcomeUnknown)
        for event, _ in self.told:
            assert confirmed[event.id] <= times[event.id] <= confirmed[event.id] + unknown[event.id]
        return Counter({event.id: times[event.id] for event, _ in self.told if times[event.id]})


async def _read(topics: set[str], servers: str, *, committed: bool) -> dict[tuple[str, int, int], str]:
    """`ce_id` by topic, partition and offset."""
    isolation = "read_committed" if committed else "read_uncommitted"
    consumer = AIOKafkaConsumer(
        *topics, bootstrap_servers=servers, auto_offset_reset="earliest", isolation_level=isolation
    )
    await consumer.start()
    try:
        ends = await consumer.end_offsets(consumer.assignment())
        found: dict[tuple[str, int, int], str] = {}
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for messages in (await consumer.getmany(timeout_ms=500)).values():
                found |= {(m.topic, m.partition, m.offset): dict(m.headers)["ce_id"].decode() for m in messages}
        return found
    finally:
        await consumer.stop()
