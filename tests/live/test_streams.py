"""Long streams of records, a line each, from the HTTP clients that people use: the counts are right, memory is flat."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
import os
import socket
import sqlite3
import subprocess
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import IO, Any
from urllib.parse import urlsplit

import aiohttp
import confluent_kafka
import fastavro
import httpx2
import pytest
import requests

from tests import live_servers as live
from tests.command import Served, serving
from tests.watching import MIB, watched

LINES = int(os.environ.get("INLAKE_TEST_LINES", "50000"))
SECONDS = 60 + LINES / 500
"""For one stream, on a machine that has other work."""
MEMORY = 60 * MIB
SCHEMA = "catalogue.item"
FIRST_FIELD = {"type": "record", "name": "Item", "fields": [{"name": "n", "type": "long"}]}
ITEM = {
    **FIRST_FIELD,
    "fields": [
        *FIRST_FIELD["fields"],
        {"name": "accession", "type": "string"},
        {"name": "title", "type": "string"},
        {"name": "year", "type": ["null", "int"], "default": None},
        {"name": "width", "type": "double"},
        {"name": "on_view", "type": "boolean"},
    ],
}
HEADERS = {"content-type": "application/x-ndjson"}
Send = Callable[[str, Iterator[bytes]], Iterable[bytes]]
"""Sends a body to an address and gives the lines of the answer."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * SECONDS)]


# ---------------------------------------------------------------------------------------------------------- what is sent
def line(n: int) -> bytes:
    """Line n, from 1: each 1000th is blank, each 100th after the 50th has text for a year."""
    if n % 1000 == 0:
        return b"  \r\n" if n % 2000 else b"\r\n"
    year = b'"about 1850"' if broken(n) else b"%d" % (1500 + n % 500)
    return (
        b'{"n":%d,"accession":"N%08d","title":"Study of a head, no. %d","year":%b,"width":%d.25,"on_view":%b}\r\n'
        % (n, n, n, year, n % 300, b"true" if n % 3 else b"false")
    )


def broken(n: int) -> bool:
    return n % 100 == 50


def good(n: int) -> bool:
    return n % 1000 != 0 and not broken(n)


def body(at_once: int = 1000) -> Iterator[bytes]:
    """A BOM, then all lines, so many at once."""
    yield b"\xef\xbb\xbf"
    numbers = iter(range(1, LINES + 1))
    while chunk := b"".join(map(line, itertools.islice(numbers, at_once))):
        yield chunk


# -------------------------------------------------------------------------------------------------------- who sends it
def by_requests(url: str, body: Iterator[bytes]) -> Iterator[bytes]:
    """It reads nothing until all is sent."""
    with requests.post(url, data=body, headers=HEADERS, stream=True, timeout=SECONDS) as answer:
        assert answer.status_code == 207
        yield from answer.iter_lines(1 << 16)


def by_httpx2(url: str, body: Iterator[bytes]) -> Iterator[bytes]:
    """It reads nothing until all is sent, either."""
    with httpx2.stream("POST", url, content=body, headers=HEADERS, timeout=SECONDS) as answer:
        assert answer.status_code == 207
        for text in answer.iter_lines():
            yield text.encode()


def by_aiohttp(url: str, body: Iterator[bytes]) -> list[bytes]:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in body:
            yield chunk

    async def exchange() -> list[bytes]:
        limit = aiohttp.ClientTimeout(total=SECONDS)
        async with (
            aiohttp.ClientSession(timeout=limit, headers=HEADERS) as session,
            session.post(url, data=chunks()) as answer,
        ):
            assert answer.status == 207
            return [text async for text in answer.content]

    return asyncio.run(exchange())


def by_curl_as_it_comes(url: str, body: Iterator[bytes]) -> Iterator[bytes]:
    return by_curl(url, body, "--request", "POST", "--upload-file", "-")


def by_curl_read_first(url: str, body: Iterator[bytes]) -> Iterator[bytes]:
    return by_curl(url, body, "--data-binary", "@-")


def by_curl(url: str, body: Iterator[bytes], *options: str) -> Iterator[bytes]:
    command = ["curl", "-sSN", "--max-time", f"{SECONDS}", "-H", "Content-Type: application/x-ndjson", *options, url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as curl:
        assert curl.stdin
        assert curl.stdout
        sender = threading.Thread(target=pour, args=(body, curl.stdin))
        sender.start()
        yield from curl.stdout
        sender.join()
    assert curl.returncode == 0


def pour(body: Iterator[bytes], pipe: IO[bytes]) -> None:
    with pipe:
        for chunk in body:
            pipe.write(chunk)


CLIENTS = [by_requests, by_httpx2, by_aiohttp, by_curl_as_it_comes, by_curl_read_first]


# ------------------------------------------------------------------------------------------------------------ gateways
@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("streams")) as served:
        yield prepared(served)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("streams"), **live.deployment(f"t{uuid.uuid4().hex[:12]}")) as served:
        yield prepared(served)


def prepared(served: Served) -> Served:
    """The gateway with the schema, after a first stream of two windows: what it imports late is there."""
    (served.folder / "item.avsc").write_text(json.dumps(ITEM))
    added = served.inlake("schemas", "add", SCHEMA, served.folder / "item.avsc")
    assert added.returncode == 0, added.stderr
    first = b"".join(line(n) for n in range(1, 2001))
    url = f"{served.url}/ingress/record-json?schema={SCHEMA}&destination=first"
    assert httpx2.post(url, content=first, headers=HEADERS, timeout=60).status_code == 207
    return served


def events_of(served: Served, after: int = 0) -> dict[str, int]:
    """Number of the record by event id, read from the bus by others' code; of the embedded one what is `after`."""
    schema = fastavro.parse_schema(FIRST_FIELD)
    numbers = {}
    for event_id, value in kafka_events(served) if on_kafka(served) else sqlite_events(served, after):
        item: Any = fastavro.schemaless_reader(io.BytesIO(value[5:]), schema, None)
        numbers[event_id] = item["n"]
    return numbers


def on_kafka(served: Served) -> bool:
    return "INLAKE_BUS" in served.variables


def sqlite_events(served: Served, after: int) -> list[tuple[str, bytes]]:
    with contextlib.closing(sqlite3.connect(served.folder / ".inlake/events.db")) as db:
        return db.execute('select id, value from events where "offset" > ?', (after,)).fetchall()


def last_offset(served: Served) -> int:
    """Of the embedded bus."""
    if on_kafka(served):
        return 0
    with contextlib.closing(sqlite3.connect(served.folder / ".inlake/events.db")) as db:
        return int(db.execute('select max("offset") from events').fetchone()[0])


def kafka_events(served: Served) -> Iterator[tuple[str, bytes]]:
    topic = served.variables["INLAKE_TOPIC"].replace("{schema}", SCHEMA)
    settings = {"bootstrap.servers": live.KAFKA_BOOTSTRAP, "group.id": topic, "enable.partition.eof": True}
    consumer = confluent_kafka.Consumer({**settings, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    ended: set[int] = set()
    while len(ended) < 3:
        polled: list[Any] = consumer.consume(10_000, timeout=1)
        for m in polled:
            if m.error():
                assert m.error().code() == confluent_kafka.KafkaError._PARTITION_EOF
                ended.add(m.partition())
            elif m.key() == SCHEMA.encode():
                yield dict(m.headers())["ce_id"].decode(), m.value()
    consumer.close()


# --------------------------------------------------------------------------------------------------------------- tests
@pytest.mark.parametrize("send", CLIENTS, ids=lambda send: send.__name__)
def test_every_line_has_its_receipt_and_every_good_one_its_event(embedded: Served, send: Send) -> None:
    stream_and_compare(embedded, send)


@pytest.mark.live
@pytest.mark.parametrize("send", [by_requests])
def test_the_same_on_kafka(real: Served, send: Send) -> None:
    stream_and_compare(real, send)


def stream_and_compare(served: Served, send: Send) -> None:
    url, before = f"{served.url}/ingress/record-json?schema={SCHEMA}", last_offset(served)
    what = f"{send.__name__}, {'Kafka' if on_kafka(served) else 'embedded'}"
    with watched(served, what, lines=LINES, most=MEMORY):
        accepted, last = check_receipts(send(url, body()))
    rejected = sum(map(broken, range(1, LINES + 1)))
    assert last == {
        "summary": {"accepted": len(accepted), "pending": 0, "rejected": rejected, "failed": 0},
        "complete": True,
    }
    assert events_of(served, before) == accepted


def check_receipts(lines: Iterable[bytes]) -> tuple[dict[str, int], Any]:
    """Line by event id, and the last line; every other one is in its place and is what its line deserves."""
    accepted: dict[str, int] = {}
    expected = iter(n for n in range(1, LINES + 1) if n % 1000)
    receipt: Any = None
    for receipt in map(json.loads, lines):
        if "summary" in receipt:
            break
        n = next(expected)
        assert receipt["line"] == n
        if good(n):
            assert receipt["status"] == 201
            accepted[receipt["id"]] = n
        else:
            check_reject(receipt)
    assert next(expected, None) is None
    assert len(accepted) == sum(map(good, range(1, LINES + 1)))
    return accepted, receipt


def check_reject(receipt: Any) -> None:
    assert broken(receipt["line"])
    assert (receipt["status"], [error["pointer"] for error in receipt["errors"]]) == (422, ["/year"])


def test_of_a_stream_that_asks_for_rejects_only_these_come_back(embedded: Served) -> None:
    url, before = f"{embedded.url}/ingress/record-json?schema={SCHEMA}&receipts=rejects", last_offset(embedded)
    with watched(embedded, "receipts=rejects", lines=LINES, most=MEMORY):
        *receipts, last = [json.loads(text) for text in by_requests(url, body())]
    assert [receipt["line"] for receipt in receipts] == list(filter(broken, range(1, LINES + 1)))
    for receipt in receipts:
        check_reject(receipt)
    assert last["complete"]
    assert last["summary"]["rejected"] == len(receipts)
    assert last["summary"]["accepted"] == len(events_of(embedded, before))
    assert last["summary"]["accepted"] == sum(map(good, range(1, LINES + 1)))


def test_a_client_that_writes_a_record_at_a_time_is_served_too(embedded: Served) -> None:
    """As people write it: `data=(json.dumps(record) + "\\n" for record in records)`, which makes a chunk of each."""
    url = f"{embedded.url}/ingress/record-json?schema={SCHEMA}&receipts=none"
    with watched(embedded, "a record a chunk", lines=LINES, most=MEMORY):
        (last,) = [json.loads(text) for text in by_requests(url, body(at_once=1))]
    assert last["summary"]["accepted"] == sum(map(good, range(1, LINES + 1)))


def test_all_is_published_while_the_client_has_not_read_a_byte(embedded: Served) -> None:
    """The receipts wait in the spool: with buffers of a few KiB in between they would soon hold up everything."""
    at, before = urlsplit(embedded.url), last_offset(embedded)
    with watched(embedded, "all sent, nothing read", lines=LINES, most=MEMORY), socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(SECONDS)
        client.connect((at.hostname, at.port))
        client.sendall(
            f"POST /ingress/record-json?schema={SCHEMA} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            "Connection: close\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        for chunk in body():
            client.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        client.sendall(b"0\r\n\r\n")
        expected, end = sum(map(good, range(1, LINES + 1))), time.monotonic() + SECONDS
        while last_offset(embedded) - before < expected:
            assert time.monotonic() < end
            time.sleep(0.1)
        with client.makefile("rb") as answer:
            tail = answer.read()[-200:]
    assert b'"complete":true' in tail
