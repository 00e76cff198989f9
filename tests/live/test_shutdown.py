"""SIGTERM under load: what is in flight is answered or cut, never lied about, and the process ends in time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.command import Served, free_port, log_of, start, wait_until_alive
from tests.load import MIB, Accepted, Load
from tests.witness import Deployment, check, embedded, on_servers, wait_until_settled

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
SHUTDOWN = 3
MARGIN = 4.0
"""Seconds to flush the bus and to let go."""
SETTINGS = {
    "INLAKE_SHUTDOWN_SECONDS": str(SHUTDOWN),
    "INLAKE_UPLOAD_TIMEOUT": "4",
    "INLAKE_SWEEP_SECONDS": "1",
    "INLAKE_BUS_TIMEOUT": "3",
}
Deploy = Callable[..., AbstractContextManager[Deployment]]


def gateway(d: Deployment) -> Served:
    port = free_port()
    served = start(d.folder, **d.variables, INLAKE_PORT=str(port), INLAKE_URL=f"http://127.0.0.1:{port}")
    wait_until_alive(served)
    return served


async def endless_stream(url: str, accepted: list[Accepted]) -> list[Any]:
    """A client that sends record after record and reads its receipts meanwhile: the lines that are none."""

    async def lines() -> AsyncIterator[bytes]:
        n = 0
        while True:
            n += 1
            yield b'{"n":%d}\n' % n
            await asyncio.sleep(0.002)

    others = []
    async with aiohttp.ClientSession() as session:
        kind = {"content-type": "application/x-ndjson"}
        async with session.post(f"{url}/ingress/record-json?schema=note", data=lines(), headers=kind) as answer:
            async for line in answer.content:
                receipt = json.loads(line)
                if receipt.get("status") == 201:
                    place = (receipt["topic"], receipt["partition"], receipt["offset"])
                    accepted.append(Accepted(receipt["line"], receipt["id"], place, None))
                else:
                    others.append(receipt)
    return others


async def endless_upload(url: str) -> int:
    """A client that sends a binary without end: the status that it gets."""
    head = '--b\r\nContent-Disposition: form-data; name="{}"{}\r\n\r\n'

    async def body() -> AsyncIterator[bytes]:
        yield head.format("record", "").encode() + b'{"n": 1}\r\n'
        yield head.format("file", '; filename="a"').encode()
        while True:
            yield bytes(MIB)
            await asyncio.sleep(0.1)

    async with aiohttp.ClientSession() as session:
        kind = {"content-type": "multipart/form-data; boundary=b"}
        address = f"{url}/ingress/record-json-and-binary?schema=note"
        async with session.post(address, data=body(), headers=kind) as answer:
            return answer.status


async def cut_or(answer: Awaitable[Any]) -> Any:
    """None when the connection was cut."""
    with contextlib.suppress(aiohttp.ClientError, ConnectionError):
        return await answer


@pytest.mark.parametrize("deploy", [embedded, pytest.param(on_servers, marks=pytest.mark.live)])
async def test_a_stop_under_load_loses_nothing_answered_and_ends_in_time(tmp_path: Path, deploy: Deploy) -> None:
    with deploy(tmp_path, **SETTINGS) as d:
        served = gateway(d)
        streamed: list[Accepted] = []
        with Load(served.url, clients=4, largest=4 * MIB) as load:
            stream = asyncio.create_task(cut_or(endless_stream(served.url, streamed)))
            upload = asyncio.create_task(cut_or(endless_upload(served.url)))
            await asyncio.sleep(2)
            began = time.monotonic()
            served.process.terminate()
            code = await asyncio.to_thread(served.process.wait, 60)
            took = time.monotonic() - began
            rest, status = await stream, await upload
        print(
            f"ended after {took:.1f} s, {len(streamed)} receipts in the stream, then {rest}; upload {status}", end=" "
        )
        print(dict(load.statuses()))
        assert code == 0, log_of(served)
        assert took < SHUTDOWN + MARGIN
        assert status is None or status == 503
        assert streamed
        assert load.statuses().keys() <= {0, 201, 207, 503}, load.statuses()
        assert "Traceback" not in log_of(served)
        accepted = load.accepted + streamed
        await asyncio.to_thread(check, accepted, d.witness, settled=False)
        after = gateway(d)
        try:
            await asyncio.to_thread(wait_until_settled, d.witness, 30)
        finally:
            after.process.terminate()
            assert after.process.wait(60) == 0
        print(await asyncio.to_thread(check, accepted, d.witness, settled=True))
