"""What grows with what is asked for: the CPU for four times as much is at most four times as much, and a little.

`python -m benchmarks.growth [SIZE]` prints a table and ends with 1 when something grows faster. Each case is measured
in a gateway of its own, embedded, in this process: no server is needed, and the ratio counts, so that any machine may
judge.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple, cast

from confluent_kafka.schema_registry import Schema

from benchmarks.inside import Confirming
from benchmarks.records import blocks, register, schema_name
from inlake.gateway import Gateway
from inlake.group import Group
from inlake.model import Label, Submission
from inlake.ports import Bus
from inlake.promises.entries import Promised, Tus
from inlake.settings import load
from inlake.web.app import create_app
from inlake.wiring import Deployment, connect

TIMES = 4
MOST = 1.5
"""How much dearer each may be among four times as many: 1 is linear, 4 is quadratic."""
GOES = 3
"""The cheapest of so many counts: what disturbs makes it dearer only."""
POINTER = 1.4
"""What a record may cost that is placed by a value in it, beside one placed by its key."""
KEY = "key of the benchmark"
NOTE = {"type": "record", "name": "Note", "fields": [{"name": "title", "type": "string"}]}


class Row(NamedTuple):
    """What was measured: CPU in microseconds for each, among few and among many."""

    what: str
    few: float
    many: float
    most: float

    @property
    def ratio(self) -> float:
        return self.many / self.few

    @property
    def met(self) -> bool:
        return self.ratio <= self.most


class Site:
    """An embedded gateway with a key, to be asked without HTTP."""

    def __init__(self, deployment: Deployment) -> None:
        self.d = deployment
        self._app = create_app(deployment)

    async def ask(self, method: str, path: str, query: str = "", body: bytes = b"", kind: bytes = b"") -> bytes:
        """The body of an answer that is not an error."""
        told: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            told.append(message)

        headers = [(b"authorization", f"Bearer {KEY}".encode()), (b"content-length", b"%d" % len(body))]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [*headers, (b"content-type", kind)] if kind else headers,
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        await self._app(scope, receive, send)
        answer = b"".join(message.get("body", b"") for message in told[1:])
        assert told[0]["status"] < 300 or told[0]["status"] == 422, answer[:300]
        return answer


Work = Callable[[], Awaitable[object]]
Case = Callable[[Site, int], Awaitable[tuple[int, Work]]]
"""Prepares a site for so many; what is then measured, and how many that deals with."""


# ------------------------------------------------------------------------------------------------------------ the cases
async def schemas_added(site: Site, count: int) -> tuple[int, Work]:
    """The last twentieth of many schemas."""

    async def add(first: int, last: int) -> None:
        for n in range(first, last):
            text = json.dumps({**NOTE, "name": f"Note{n}"})
            await site.d.registry.register(f"growth.{n}", Schema(text, "AVRO"))

    part = max(1, count // 20)
    await add(0, count)
    begun = count

    async def work() -> None:
        nonlocal begun
        await add(begun, begun + part)
        begun += part

    return part, work


async def promises_listed(site: Site, count: int) -> tuple[int, Work]:
    """One page of many promises that wait."""
    await _wait(site, count)
    return 1, lambda: site.ask("GET", "/promises", "limit=20")


async def promises_swept(site: Site, count: int) -> tuple[int, Work]:
    """A look at all promises that wait."""
    await _wait(site, count)
    return count, site.d.sweep.run


async def lines_sent(site: Site, count: int) -> tuple[int, Work]:
    """The lines of a stream."""
    await register(site.d.registry, "{schema}")
    body = blocks("flat", count)[0]
    query = f"schema={schema_name('flat', 'avro')}&receipts=none"
    return count, lambda: site.ask("POST", "/ingress/record-json", query, body, b"application/x-ndjson")


async def files_announced(site: Site, count: int) -> tuple[int, Work]:
    """The lines of a shipment."""
    await site.d.registry.register("scan", Schema(json.dumps(_scan()), "AVRO"))
    digest = hashlib.sha256(b"").hexdigest()
    lines = [{"file": {"filename": f"{n}.tif", "size": 1, "sha256": digest}, "record": {}} for n in range(count)]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    return count, lambda: site.ask("POST", "/shipments", "schema=scan", body, b"application/x-ndjson")


async def faults_told(site: Site, count: int) -> tuple[int, Work]:
    """The values of a record, all of which are wrong."""
    record = json.dumps({"titles": list(range(count))}).encode()
    text = {
        "type": "record",
        "name": "Many",
        "fields": [{"name": "titles", "type": {"type": "array", "items": "string"}}],
    }
    await site.d.registry.register("many", Schema(json.dumps(text), "AVRO"))
    return count, lambda: site.ask("POST", "/ingress/record-json", "schema=many", record, b"application/json")


async def rejects_listed(site: Site, count: int) -> tuple[int, Work]:
    """One page of many rejects."""
    await site.d.registry.register("note", Schema(json.dumps(NOTE), "AVRO"))
    body = b'{"titel": "x"}\n' * count
    await site.ask("POST", "/ingress/record-json", "schema=note&receipts=none", body, b"application/x-ndjson")
    return 1, lambda: site.ask("GET", "/rejects", "limit=20")


async def events_shown(site: Site, count: int) -> tuple[int, Work]:
    """The last ten of many events."""
    await (await lines_sent(site, count))[1]()
    return 1, lambda: site.d.bus.recent(10)


CASES: dict[str, tuple[Case, int]] = {
    "a schema added, among many": (schemas_added, 200),
    "a page of waiting promises": (promises_listed, 200),
    "a sweep, for a waiting promise": (promises_swept, 200),
    "a line of a stream": (lines_sent, 1_000),
    "a file of a shipment": (files_announced, 200),
    "a fault in a record": (faults_told, 2_000),
    "a page of rejects": (rejects_listed, 500),
    "the last ten events": (events_shown, 2_000),
}
"""With how many of them the few are."""


# ------------------------------------------------------------------------------------------------------------ measuring
async def measure(size: float = 1, say: Callable[[str], None] = print) -> list[Row]:
    """All cases; `size` is a factor of how many."""
    rows = []
    for what, (case, few) in CASES.items():
        rows.append(await grown(what, case, max(2, int(few * size))))
        say(_told(rows[-1]))
    for language in ("avro", "protobuf", "json"):
        rows.append(await _placed(language, max(2, int(1_000 * size))))
        say(_told(rows[-1]))
    return rows


async def grown(what: str, case: Case, few: int) -> Row:
    costs = []
    for count in (few, few * TIMES):
        async with _site() as site:
            each, work = await case(site, count)
            costs.append(await _cheapest(work) / each)
    return Row(what, costs[0], costs[1], MOST)


async def _placed(language: str, count: int) -> Row:
    """A record that `INLAKE_PARTITION_BY` places by a value in it, beside one placed by its key."""
    name = schema_name("flat", language)
    submissions = [Submission(Label(name), record) for record in blocks("flat", count)[0].splitlines()]
    async with _site(INLAKE_PARTITION_BY="key") as by_key, _site(INLAKE_PARTITION_BY="/constituentid") as by_pointer:
        sites = [by_key, by_pointer]
        gateways = [Gateway(s.d.gateway.codecs, s.d.gateway.promises, cast("Bus", Confirming())) for s in sites]
        for site in sites:
            await register(site.d.registry, "{schema}")

        async def work(gateway: Gateway) -> None:
            for at in range(0, len(submissions), 250):
                group = Group(gateway)
                await group.encode(submissions[at : at + 250])
                await group.publish()

        costs = [float("inf"), float("inf")]
        for _ in range(GOES):  # in turn: what disturbs lasts longer than a go
            costs = [
                min(cost, await _cheapest(partial(work, g)) / count) for cost, g in zip(costs, gateways, strict=True)
            ]
    return Row(f"INLAKE_PARTITION_BY a pointer, {language}", costs[0], costs[1], POINTER)


async def _cheapest(work: Work) -> float:
    """CPU of the cheapest go, in microseconds."""
    goes = []
    await work()
    for _ in range(GOES):
        gc.collect()
        began = process_time()
        await work()
        goes.append(process_time() - began)
    return min(goes) * 1e6


@asynccontextmanager
async def _site(**variables: str) -> AsyncIterator[Site]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "keys").write_text(f"bench:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
        environment = {
            "INLAKE_BUS": f"sqlite:{folder}/events.db",
            "INLAKE_STORE": f"file:{folder}/store",
            "INLAKE_REGISTRY": f"dir:{folder}/schemas",
            "INLAKE_REJECTS": f"sqlite:{folder}/rejects.db",
            "INLAKE_API_KEYS": str(folder / "keys"),
            **variables,
        }
        deployment = connect(load(environment), environment)
        try:
            yield Site(deployment)
        finally:
            await deployment.close()


async def _wait(site: Site, count: int) -> None:
    """So many promises that wait for their client's bytes."""
    promises = site.d.gateway.promises
    for _ in range(count):
        await promises.reserve(promises.new(Promised("a.tif", "image/tiff", Tus(), 7), "token:bench"))


def _scan() -> dict[str, Any]:
    field = {"name": "__resource_path__", "type": ["null", "string"], "default": None}
    return {"type": "record", "name": "Scan", "fields": [field]}


def table(rows: Sequence[Row]) -> str:
    """A table of Markdown."""
    lines = [
        "| CPU us for each | few, or by key | four times as many, or by pointer | ratio | |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        verdict = "met" if row.met else "**not met**"
        lines.append(
            f"| {row.what} | {row.few:,.1f} | {row.many:,.1f} | {row.ratio:.2f}, at most {row.most} | {verdict} |"
        )
    return "\n".join(lines)


def _told(row: Row) -> str:
    return f"{row.what}: {row.few:,.1f} us, then {row.many:,.1f} us, ratio {row.ratio:.2f}"


if __name__ == "__main__":
    found = asyncio.run(measure(float(sys.argv[1]) if sys.argv[1:] else 1))
    print(table(found))
    sys.exit(0 if all(row.met for row in found) else 1)
