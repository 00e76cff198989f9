"""The console where there is much of all, on Kafka, a registry and S3: each page within half a second, the first ones
after a start too.

All of it runs with INLAKE_TEST_CONSOLE only: 10 takes ten times of all, as tests/api/test_console_limits.py says.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

from inlake.bus.kafka.bus import KafkaBus
from inlake.bus.kafka.topics import NewTopics
from inlake.rejects.kafka.log import TopicRejects
from inlake.rejects.reject import Wanted
from tests import live_servers as live
from tests.api.test_console_limits import TIMES, fill, slow_pages
from tests.command import serving
from tests.contract.test_rejects import DAY, reject
from tests.gateways import NOTE, embedded

pytestmark = [pytest.mark.live, pytest.mark.slow]
STARTS, SECONDS = (3, 0.5) if TIMES > 1 else (1, 1.5)
"""A start of which another program takes the processor is not counted: the best of so many is. Without
INLAKE_TEST_CONSOLE there is one, which may be such."""


def slow_after_a_start(folder: Path, **variables: str) -> dict[str, float]:
    """The pages that take too long as the first ones that a process shows; prints what each takes."""
    took: dict[str, float] = {}
    for first in ("/console/rejects", "/", "/console/events"):
        for _ in range(STARTS):
            with serving(folder, **variables) as served, httpx2.Client(base_url=served.url, trust_env=False) as client:
                for path in (first, "/console/rejects", "/", "/console/schemas"):
                    began = time.perf_counter()
                    assert client.get(path).status_code == 200, path
                    name = f"{path} first" if path == first else f"{path} after {first}"
                    took[name] = min(took.get(name, 9.0), time.perf_counter() - began)
    for name, seconds in took.items():
        print(f"{name}: {seconds * 1000:.0f} ms")
    return {name: seconds for name, seconds in took.items() if seconds >= SECONDS}


async def test_the_first_pages_after_a_start_do_not_wait_for_ten_thousand_rejects(tmp_path: Path) -> None:
    own = f"t{uuid4().hex[:12]}"
    servers, topic = live.deployment(own), f"rejects-{own}"
    bus = KafkaBus(live.KAFKA_BOOTSTRAP, new_topics=NewTopics(6, 1))
    rejects = TopicRejects(bus, topic, seconds=DAY, most_bytes=1 << 30)
    for start in range(0, 10_000, 1_000):
        await rejects.add([reject(start + n, principal="anonymous") for n in range(1_000)])
    began = time.perf_counter()
    assert len(await rejects.causes(Wanted())) == 1
    print(f"all read by one who asked before: {(time.perf_counter() - began) * 1000:.0f} ms")
    await rejects.close()
    await bus.close()
    assert slow_after_a_start(tmp_path, **servers, INLAKE_REJECTS=topic) == {}


@pytest.mark.skipif(
    "INLAKE_TEST_CONSOLE" not in os.environ,
    reason="takes minutes: INLAKE_TEST_CONSOLE=10 runs it; the embedded one runs",
)
async def test_each_page_is_there_within_half_a_second_on_real_servers(tmp_path: Path) -> None:
    own = f"t{uuid4().hex[:12]}"
    servers = live.deployment(own)
    registry = servers.pop("INLAKE_REGISTRY")
    async with embedded(tmp_path, registry=registry, rejects=f"rejects-{own}", **servers) as gateway:
        await gateway.register(f"{own}.note", NOTE)
        await fill(gateway)
        assert await slow_pages(gateway) == {}
        assert slow_after_a_start(tmp_path, **servers, INLAKE_REGISTRY=registry, INLAKE_REJECTS=f"rejects-{own}") == {}
        store = gateway.deployment.store
        async for key in store.list(""):
            await store.delete(key)
