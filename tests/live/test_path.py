"""One record from socket to Kafka, with Kafka."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest

from tests.api.test_path import Trace, behind_doors, is_behind, walk
from tests.gateways import embedded
from tests.live_servers import KAFKA_BOOTSTRAP, require

pytestmark = pytest.mark.live


async def test_a_request_enters_the_eight_files_in_their_order(tmp_path: Path) -> None:
    require("Kafka", KAFKA_BOOTSTRAP)
    record, path = b'{"title": "Snow Storm", "year": 1842}', "/ingress/record-json?schema=note"
    settings = {
        "bus": f"kafka://{KAFKA_BOOTSTRAP}",
        "kafka_create_topics": True,
        "topic": f"test-{uuid4().hex}.{{schema}}",
    }
    async with embedded(tmp_path, **settings) as gateway:
        assert (await gateway.post(path, record)).status == 201
        with Trace() as trace:
            assert (await gateway.post(path, record)).status == 201
    assert [module for module in trace.entered if module in walk()] == walk()
    assert [module for module in trace.entered if module not in walk() and not is_behind(module, behind_doors())] == []
