"""The limit of Kafka from Python: librdkafka with the gateway's settings, in one loop that does nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter, process_time
from typing import Any, cast

from confluent_kafka import KafkaError, Message, Producer

from inlake.bus.kafka.librdkafka.producer import PRODUCER
from inlake.model import Event


def produce_loop(servers: str, events: Sequence[Event], seconds: float) -> dict[str, float]:
    """Produce the events over and over, acks=all, until all are confirmed: `rate` a second, `cpu_us` for each."""
    failed: list[KafkaError] = []
    delivered = 0

    def count(error: KafkaError | None, _: Message) -> None:
        nonlocal delivered
        delivered += 1
        if error is not None:
            failed.append(error)

    producer = Producer({**PRODUCER, "bootstrap.servers": servers})
    messages = [(e.topic, e.value, e.key, cast("Any", e.headers)) for e in events]
    began, cpu, sent = perf_counter(), process_time(), 0
    while perf_counter() - began < seconds:
        for topic, value, key, headers in messages:
            while True:
                try:
                    producer.produce(topic, value, key, headers=headers, on_delivery=count)
                    break
                except BufferError:
                    producer.poll(0.01)
        producer.poll(0)
        sent += len(messages)
    producer.flush(30)
    took, used = perf_counter() - began, process_time() - cpu
    if failed or delivered != sent:
        raise RuntimeError(f"{delivered} of {sent} events were confirmed, {len(failed)} failed: {failed[:1]}")
    return {"rate": sent / took, "cpu_us": used / sent * 1e6}
