"""Who publishes to Kafka: the producer that is named, or the one that a property asks for. Nothing listens here."""

from __future__ import annotations

import logging
from typing import Literal

import pytest

from inlake.bus.kafka.bus import KafkaBus
from inlake.bus.kafka.librdkafka.publish import Librdkafka
from inlake.bus.kafka.producer import Producer

NOBODY = "127.0.0.1:1"


@pytest.mark.parametrize(
    ("name", "properties", "publishes", "said"),
    [
        ("own", {}, Producer, []),
        ("own", {"client.id": "museum"}, Producer, []),
        ("own", {"linger.ms": "1"}, Producer, ["makes no use of linger.ms"]),
        ("own", {"request.timeout.ms": "5000", "retries": "9"}, Librdkafka, ["because of request.timeout.ms, retries"]),
        ("librdkafka", {}, Librdkafka, []),
        ("librdkafka", {"linger.ms": "1"}, Librdkafka, []),
    ],
)
async def test_a_producer_is_chosen_by_name_or_by_a_property_that_the_log_names(
    name: Literal["own", "librdkafka"],
    properties: dict[str, str],
    publishes: type,
    said: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "inlake.bus"):
        bus = KafkaBus(NOBODY, properties=properties, producer=name, timeout=0.1)
        lines = [
            record.getMessage()
            for record in caplog.records
            if "librdkafka" in record.getMessage() or "makes no" in record.getMessage()
        ]
    assert isinstance(bus._producer, publishes)
    assert len(lines) == len(said)
    assert all(sentence in line for sentence, line in zip(said, lines, strict=True))
    await bus.close()


async def test_a_property_that_nobody_knows_stops_the_start() -> None:
    with pytest.raises(ValueError, match=r"no\.such\.property"):
        KafkaBus(NOBODY, properties={"no.such.property": "1"})
