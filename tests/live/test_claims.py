"""Many clients claim one promise at the same instant, at two gateways: one has it, one event, and the others hear so."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.command import Served, free_port, start, wait_until_alive
from tests.witness import Deployment, embedded, on_servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ROUNDS = int(os.environ.get("INLAKE_TEST_CLAIMS", "3"))
CLIENTS = 16
Deploy = Callable[..., AbstractContextManager[Deployment]]


@contextlib.contextmanager
def two_gateways(d: Deployment) -> Iterator[list[str]]:
    """The addresses of two processes on one deployment."""
    running: list[Served] = []
    try:
        for _ in range(2):
            port = free_port()
            url = f"http://127.0.0.1:{port}"
            running.append(start(d.folder, **d.variables, INLAKE_PORT=str(port), INLAKE_URL=url))
        for served in running:
            wait_until_alive(served)
        yield [served.url for served in running]
    finally:
        for served in running:
            served.process.terminate()
        assert [served.process.wait(60) for served in running] == [0, 0]


async def race(session: aiohttp.ClientSession, urls: list[str], n: int) -> list[tuple[int, dict[str, Any]]]:
    """Store a binary at one gateway, then claim it with all clients at once, each with a connection of its own."""
    async with session.post(f"{urls[n % 2]}/ingress/binary", data=b"%d" % n) as answer:
        promise = await answer.json()
    together = asyncio.Barrier(CLIENTS)

    async def claim(client: int) -> tuple[int, dict[str, Any]]:
        record = json.dumps({"n": client, "__resource_path__": promise["puuid"]})
        address = f"{urls[client % 2]}/ingress/record-json?schema=note"
        async with session.get(f"{urls[client % 2]}/health/live"):
            pass  # the connection is open
        await together.wait()
        async with session.post(address, data=record, headers={"content-type": "application/json"}) as answer:
            return answer.status, await answer.json()

    return await asyncio.gather(*map(claim, range(CLIENTS)))


async def races(urls: list[str]) -> list[str]:
    """The event id of each round's winner."""
    winners = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        for n in range(ROUNDS):
            answers = await race(session, urls, n)
            assert Counter(status for status, _ in answers) == {201: 1, 409: CLIENTS - 1}, answers
            (receipt,) = [body for status, body in answers if status == 201]
            for status, body in answers:
                assert status == 201 or (body["code"], body["receipt"]) in [
                    ("promise_used", None),  # it is claimed, and on its way
                    ("promise_used", receipt),
                ]
            winners.append(receipt["id"])
    return winners


@pytest.mark.parametrize("deploy", [embedded, pytest.param(on_servers, marks=pytest.mark.live)])
def test_of_sixteen_claims_at_the_same_instant_one_wins_and_one_event_goes_out(tmp_path: Path, deploy: Deploy) -> None:
    with deploy(tmp_path, INLAKE_LOG_LEVEL="warning") as d:
        with two_gateways(d) as urls:
            winners = asyncio.run(races(urls))
        events = d.witness.events()
        assert sorted(event.header("ce_id") for event in events) == sorted(winners)
        assert not [key for key in d.witness.all_keys() if key.startswith(".inlake/open/")]
