"""Events behind one that librdkafka does not take."""

from __future__ import annotations

from inlake.bus.kafka.librdkafka.publish import Librdkafka
from inlake.errors import Busy, InlakeError
from inlake.model import Event


def event(topic: str, size: int) -> Event:
    return Event("a", topic, b"key", b"x" * size, ())


async def test_what_is_behind_an_event_for_which_there_is_no_room_fails_with_it() -> None:
    properties = {"bootstrap.servers": "127.0.0.1:9", "queue.buffering.max.kbytes": 4}
    producer = Librdkafka(properties, timeout=1, on_trouble=lambda: None, largest=lambda: {"a": 10**6, "b": 10**6})
    sent = [event("a", 2_000), event("a", 3_000), event("a", 10), event("b", 10), event("b", 3_000), event("a", 10)]
    results = await producer.publish(sent, {"a": 1, "b": 1})
    assert all(isinstance(result, InlakeError) for result in results), "no broker is there"
    assert [isinstance(result, Busy) for result in results] == [False, True, True, False, True, True]
    await producer.close()
