"""What a record costs inside the process, stage by stage, and what librdkafka alone makes of the same events.

`python -m benchmarks.inside SHAPE LANGUAGE SECONDS` on a deployment, pinned by who starts it; prints JSON.

The real functions are called, from the inside out: the codec; the groups with a bus that costs nothing; the route with
the same bus. What one costs more than the one inside it is a stage. CPU counts, of all threads; not time.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import os
import statistics
import sys
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter, process_time
from typing import Any, cast

import uvloop

from benchmarks.produce import produce_loop
from benchmarks.records import blocks, schema_name
from inlake.gateway import Gateway
from inlake.group import Group
from inlake.model import Event, Label, Position, Submission
from inlake.ports import Bus
from inlake.settings import load
from inlake.web.app import create_app
from inlake.web.request.exchange import ASGIMessage, Receive, Scope, Send
from inlake.web.routes.lines import Lines
from inlake.web.routes.stream import GROUP_LINES
from inlake.wiring import Deployment, connect

WINDOW = 1_000
"""Records in a request: one window, as it is by default."""
IN_FLIGHT = 32
"""Single records on their way to the bus."""
CHUNK = 64 << 10
"""Bytes that the HTTP server hands over at once."""


class Confirming:
    """A bus that confirms at once and keeps the last events: what is left is the path without a bus."""

    def __init__(self) -> None:
        self.events: Sequence[Event] = []
        self._positions = [Position("t", 0, offset) for offset in range(WINDOW)]

    async def publish(self, events: Sequence[Event]) -> Any:
        """See `Bus.publish`."""
        self.events = events
        return self._positions[: len(events)]


class Harness:
    """One deployment, one schema, one window of records; CPU in microseconds for a record."""

    def __init__(self, deployment: Deployment, shape: str, language: str, seconds: float) -> None:
        """`seconds`: for all of it, about."""
        self._seconds = seconds / 8
        self._name = schema_name(shape, language)
        self._body = blocks(shape, WINDOW)[0]
        self._records = self._body.splitlines()
        label = Label(self._name)
        self._submissions = [Submission(label, record) for record in self._records]
        self._codecs, self._bus, self._free = deployment.gateway.codecs, deployment.bus, Confirming()
        self._gateway = Gateway(self._codecs, deployment.gateway.promises, cast("Bus", self._free))
        self._app = create_app(dataclasses.replace(deployment, gateway=self._gateway))
        self.events: list[Event] = []
        """Those of the window, once its stages are measured."""

    async def window(self) -> dict[str, float]:
        """The stages of a request of one window."""
        encode_plain = (await self._codecs.find(self._name)).codec.encode_plain

        async def encode() -> None:
            for record in self._records:
                encode_plain(record)

        groups = [self._submissions[at : at + GROUP_LINES] for at in range(0, WINDOW, GROUP_LINES)]

        async def ingest() -> None:
            for part in groups:
                await self._taken(part)

        chunks = [self._body[at : at + CHUNK] for at in range(0, len(self._body), CHUNK)]

        async def split() -> None:
            lines = Lines(1 << 20)
            for chunk in chunks:
                lines.feed(chunk)

        lines, codec = await self._cost(split), await self._cost(encode)
        taken = await self._cost(ingest)
        for part in groups:
            await self._taken(part)
            self.events += self._free.events
        parts = [self.events[at : at + GROUP_LINES] for at in range(0, WINDOW, GROUP_LINES)]
        route = await self._cost(lambda: ask(self._app, self._name, b"application/x-ndjson", chunks))
        published = await self._cost(lambda: asyncio.gather(*map(self._bus.publish, parts)))
        receipts = route - taken - lines
        return {"lines": lines, "codec": codec, "event": taken - codec, "bus": published, "receipts": receipts}

    async def _taken(self, part: Sequence[Submission]) -> None:
        group = Group(self._gateway)
        await group.encode(part)
        await group.publish()

    async def single(self) -> dict[str, float]:
        """The stages of a request of one record, the log line left out; 32 of them are on the bus at a time."""
        codec_of_all = (await self._codecs.find(self._name)).codec

        async def encode() -> None:
            for record in self._records:
                codec_of_all.encode(codec_of_all.read(record))

        async def path() -> None:
            for submission in self._submissions:
                await self._gateway.ingest(submission)

        async def requests() -> None:
            for record in self._records:
                await ask(self._app, self._name, b"application/json", [record])

        async def publish() -> None:
            await asyncio.gather(*[publish_some(self.events[at::IN_FLIGHT]) for at in range(IN_FLIGHT)])

        async def publish_some(events: Sequence[Event]) -> None:
            for event in events:
                await self._bus.publish([event])

        codec, taken = await self._cost(encode), await self._cost(path)
        route, published = await self._cost(requests), await self._cost(publish)
        return {"codec": codec, "event": taken - codec, "route": route - taken, "bus": published}

    async def _cost(self, work: Callable[[], Awaitable[object]]) -> float:
        """Of all the records once: the median of as many goes as fit into the time."""
        await work()
        goes: list[float] = []
        end = perf_counter() + self._seconds
        while not goes or perf_counter() < end:
            began = process_time()
            await work()
            goes.append(process_time() - began)
        return statistics.median(goes) / WINDOW * 1e6


async def ask(
    app: Callable[[Scope, Receive, Send], Awaitable[None]], schema: str, content_type: bytes, chunks: Sequence[bytes]
) -> None:
    """A request to `/ingress/record-json`, HTTP itself left out."""
    coming, statuses = iter(chunks), []

    async def receive() -> ASGIMessage:
        chunk = next(coming)
        return {"type": "http.request", "body": chunk, "more_body": chunk is not chunks[-1]}

    async def send(message: ASGIMessage) -> None:
        statuses.append(message.get("status"))

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/ingress/record-json",
        "raw_path": b"/ingress/record-json",
        "root_path": "",
        "query_string": f"schema={schema}".encode(),
        "headers": [(b"content-type", content_type), (b"content-length", b"%d" % sum(map(len, chunks)))],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await app(scope, receive, send)
    assert statuses[0] in {201, 207}, statuses


async def measure(shape: str, language: str, seconds: float) -> dict[str, Any]:
    """The stages and, on Kafka, librdkafka alone."""
    settings = load(os.environ)
    deployment = connect(settings, os.environ)
    harness = Harness(deployment, shape, language, seconds)
    gc.freeze()
    found: dict[str, Any] = {"stages": await harness.window(), "single": await harness.single()}
    await deployment.close()
    if settings.bus.startswith("kafka"):
        found["produce"] = produce_loop(settings.bus.removeprefix("kafka://"), harness.events, seconds)
    return found


if __name__ == "__main__":
    print(json.dumps(uvloop.run(measure(sys.argv[1], sys.argv[2], float(sys.argv[3])))))
