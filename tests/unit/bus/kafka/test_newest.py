"""Events of Kafka that are asked for, as far as no server is needed."""

from __future__ import annotations

import pytest

from inlake.bus.kafka.consumers import Consumers
from inlake.bus.kafka.newest import find
from inlake.model import Position


@pytest.mark.parametrize("at", [Position("t", 1 << 31, 0), Position("t", 10**17, 0), Position("t", 0, 1 << 63)])
async def test_nothing_is_at_a_position_that_kafka_cannot_have(at: Position) -> None:
    assert await find(Consumers({"bootstrap.servers": "127.0.0.1:9"}, timeout=1), at) is None
