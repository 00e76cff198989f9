"""The console where there is much of all, on Kafka, a registry and S3: each page within half a second.

It runs with INLAKE_TEST_CONSOLE only: 10 takes ten times of all, as tests/api/test_console_limits.py says.
"""

from __future__ import annotations

import os
from pathlib import Path
from uuid import uuid4

import pytest

from tests import live_servers as live
from tests.api.test_console_limits import fill, slow_pages
from tests.gateways import NOTE, embedded

pytestmark = [
    pytest.mark.live,
    pytest.mark.slow,
    pytest.mark.skipif(
        "INLAKE_TEST_CONSOLE" not in os.environ,
        reason="takes minutes: INLAKE_TEST_CONSOLE=10 runs it; the embedded one runs",
    ),
]


async def test_each_page_is_there_within_half_a_second_on_real_servers(tmp_path: Path) -> None:
    own = f"t{uuid4().hex[:12]}"
    servers = live.deployment(own)
    registry = servers.pop("INLAKE_REGISTRY")
    async with embedded(tmp_path, registry=registry, rejects=f"rejects-{own}", **servers) as gateway:
        await gateway.register(f"{own}.note", NOTE)
        await fill(gateway)
        assert await slow_pages(gateway) == {}
        store = gateway.deployment.store
        async for key in store.list(""):
            await store.delete(key)
