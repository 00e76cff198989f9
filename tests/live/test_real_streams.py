"""Streams of real records in all languages: a million of Tate's artworks make 1.9 GB in one request.

By default there are few; INLAKE_TEST_LINES=1000000 makes it a campaign of some minutes for each language.
"""

from __future__ import annotations

import gzip
import itertools
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
import requests
from confluent_kafka.admin import AdminClient
from confluent_kafka.schema_registry import SchemaReference

from tests import live_servers as live
from tests.command import EXAMPLES, Served, serving
from tests.foreign import Event, Reader, kafka_events, register, sqlite_events, topic_of
from tests.live.test_real_data import SCHEMAS, check_value, references_of, text_of
from tests.watching import watched

LINES = int(os.environ.get("INLAKE_TEST_LINES", "3000"))
SECONDS = 120 + LINES / 200
MARK = 987_654_321
"""Stands in a record where its number will be."""
HEADERS = {"content-type": "application/x-ndjson"}
SCHEMA_NAMES = {"AVRO": "tate.artwork", "PROTOBUF": "tate.artwork.protobuf", "JSON": "tate.artwork.json"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3 * SECONDS)]


# ---------------------------------------------------------------------------------------------------------- what is sent
@dataclass(frozen=True)
class Template:
    """An artwork before and after its number."""

    before: bytes
    after: bytes

    def line(self, n: int) -> bytes:
        return b"%b%b%b\n" % (self.before, b'"no number"' if broken(n) else b"%d" % n, self.after)


def broken(n: int) -> bool:
    """One line in a hundred."""
    return n % 100 == 50


@pytest.fixture(scope="module")
def templates() -> list[Template]:
    """Artworks that fit in all languages."""
    listed = json.loads((EXAMPLES / "expected-rejects.json").read_text())["rejects"]
    misfits = {reject["line"] for reject in listed if reject["file"] == "tate/artworks.ndjson.gz"}
    made = []
    for n, line in enumerate(gzip.decompress((EXAMPLES / "tate/artworks.ndjson.gz").read_bytes()).splitlines(), 1):
        if n not in misfits:
            text = json.dumps({**json.loads(line), "id": MARK}, ensure_ascii=False).encode()
            made.append(Template(*text.split(b"%d" % MARK)))
    return made


def body(templates: list[Template]) -> Iterator[bytes]:
    """All lines, numbered from 1, a hundred at once."""
    lines = (template.line(n) for n, template in zip(range(1, LINES + 1), itertools.cycle(templates)))
    while chunk := b"".join(itertools.islice(lines, 100)):
        yield chunk


# ------------------------------------------------------------------------------------------------------------ gateways
@pytest.fixture(scope="module", params=["embedded", pytest.param("real", marks=pytest.mark.live)])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """With its first records taken: what it imports late is there."""
    own = f"t{uuid.uuid4().hex[:12]}"
    variables = {"INLAKE_TOPIC": f"{own}.{{schema}}", "INLAKE_SUBJECT": f"{own}.{{schema}}"}
    if request.param == "real":
        variables = live.deployment(own)
    with serving(tmp_path_factory.mktemp("streams"), **variables) as served:
        for name in ("tate.common.protobuf", *SCHEMA_NAMES.values()):
            schema = SCHEMAS[name]
            references = [SchemaReference(**{**r, "subject": f"{own}.{r['subject']}"}) for r in references_of(schema)]
            register(served, f"{own}.{name}", text_of(schema), schema["language"], references)
        yield served


def url_of(served: Served, language: str) -> str:
    return f"{served.url}/ingress/record-json?schema={SCHEMA_NAMES[language]}"


def on_kafka(served: Served) -> bool:
    return "INLAKE_BUS" in served.variables


@contextmanager
def polled(served: Served) -> Iterator[None]:
    """Somebody asks for the gateway's health all the while; prints how long that took."""
    times: list[float] = []
    done = threading.Event()

    def ask() -> None:
        with httpx2.Client(trust_env=False, timeout=60) as client:
            while not done.wait(0.02):
                began = time.perf_counter()
                assert client.get(f"{served.url}/health/live").is_success
                times.append(time.perf_counter() - began)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        done.set()
        asking.join()
    times.sort()
    middle, late = (1000 * times[int(len(times) * share)] for share in (0.5, 0.99))
    print(f"/health/live meanwhile, {len(times)} times: p50 {middle:.1f} ms, p99 {late:.1f} ms")
    assert middle < 250


# --------------------------------------------------------------------------------------------------------------- tests
@pytest.mark.parametrize("language", SCHEMA_NAMES)
def test_receipts_events_and_summary_agree_and_broken_lines_sink_nothing(
    served: Served, templates: list[Template], language: str
) -> None:
    first = b"".join(templates[n].line(n) for n in range(1, 2001))
    url = url_of(served, language)
    assert httpx2.post(f"{url}&destination=first", content=first, headers=HEADERS, timeout=60).status_code == 207
    what = f"{language}, {'Kafka' if on_kafka(served) else 'embedded'}"
    with (
        watched(served, what, lines=LINES),
        polled(served),
        requests.post(url, data=body(templates), headers=HEADERS, stream=True, timeout=SECONDS) as answer,
    ):
        assert answer.status_code == 207
        accepted, summary = check_receipts(answer.iter_lines(1 << 16))
    rejected = sum(map(broken, range(1, LINES + 1)))
    assert summary == {"accepted": len(accepted), "pending": 0, "rejected": rejected, "failed": 0}
    assert len(accepted) == LINES - rejected
    check_events(served, language, templates, accepted)


def check_receipts(lines: Iterator[bytes]) -> tuple[dict[str, int], Any]:
    """Line by event id, and the summary; each receipt is in its place and says what its line deserves."""
    accepted: dict[str, int] = {}
    for n, receipt in enumerate(map(json.loads, lines), 1):
        if n > LINES:
            assert receipt["complete"]
            return accepted, receipt["summary"]
        assert receipt["line"] == n
        if broken(n):
            assert receipt["status"] == 422
            assert [(e["pointer"], e["code"]) for e in receipt["errors"]] == [("/id", "wrong_type")]
        else:
            assert receipt["status"] == 201
            accepted[receipt["id"]] = n
    raise AssertionError("the answer was cut")


def check_events(served: Served, language: str, templates: list[Template], accepted: dict[str, int]) -> None:
    """On the bus is each accepted record once, and nothing else; the whole record of one in a hundred is compared."""
    topic, schema = topic_of(served, SCHEMA_NAMES[language]), SCHEMAS[SCHEMA_NAMES[language]]
    with Reader(served, validate=False) as reader:
        for number, event in enumerate(stream_of(served, topic)):
            if event.key == SCHEMA_NAMES[language]:
                n = accepted.pop(event.headers["ce_id"])
                if number % 100 == 0:
                    check_value(schema, reader.decode(event), templates[(n - 1) % len(templates)].line(n))
    assert accepted == {}


def stream_of(served: Served, topic: str) -> Iterator[Event]:
    """The events of a topic one by one: a million do not fit into the memory of a test."""
    if not on_kafka(served):
        yield from sqlite_events(served, topic)
        return
    yield from kafka_events(topic)
    admin = AdminClient({"bootstrap.servers": live.KAFKA_BOOTSTRAP})
    admin.delete_topics([topic])[topic].result(30)
