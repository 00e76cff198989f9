"""Reading from Kafka, as far as no server is needed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from confluent_kafka import Message as KafkaMessage

from inlake.bus.kafka.reader import to_message


@pytest.mark.parametrize(
    ("told", "year"),
    [(-1, 1970), (0, 1970), (1_795_000_000_000, 2026), (1_795_000_000_000_000, 9999), (2**63 - 1, 9999)],
)
def test_a_time_that_no_clock_shows_is_the_nearest_that_one_can(told: int, year: int) -> None:
    got = KafkaMessage(topic="t", partition=0, offset=0, key=b"k", value=b"v", headers=[], timestamp=(1, told))
    time = datetime.fromtimestamp(to_message(got).timestamp_ms / 1000, UTC)
    assert time.year == year
    assert time.astimezone(timezone(timedelta(hours=14))).year == year
