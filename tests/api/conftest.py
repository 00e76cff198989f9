"""The whole application over ASGI with embedded adapters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.gateways import Gateway, embedded


@pytest_asyncio.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with embedded(tmp_path, window_ms=50, body_idle_seconds=1) as gateway:
        yield gateway
