"""One trace over everything, with a gateway in a process of its own, Kafka, the registry, S3, and aiokafka as consumer."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import aiokafka
import httpx2
import pytest
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from tests import live_servers as live
from tests.collector import collecting
from tests.command import serving
from tests.gateways import NOTE

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.mark.parametrize("producer", ["own", "librdkafka"])
async def test_a_trace_goes_from_the_client_to_the_consumer_of_kafka(tmp_path: Path, producer: str) -> None:
    own, context = f"traces-{uuid4().hex}", TraceContextTextMapPropagator()
    settings = live.deployment(own)
    (tmp_path / "note.avsc").write_text(json.dumps(NOTE))
    with collecting(tmp_path) as collector:
        with (
            collector.another_service("museum") as museum,
            collector.another_service("loader") as loader,
            serving(tmp_path, **settings, INLAKE_TRACES=collector.url, INLAKE_KAFKA_PRODUCER=producer) as served,
        ):
            assert served.inlake("schemas", "add", "note", "note.avsc").returncode == 0
            with museum.start_as_current_span("send"):
                carrier: dict[str, str] = {}
                context.inject(carrier)
                body = {"record": (None, b'{"title": "a"}'), "file": ("a.txt", b"abc")}
                url = f"{served.url}/ingress/record-json-and-binary?schema=note"
                receipt = httpx2.post(url, files=body, headers=carrier, trust_env=False, timeout=60)
            assert receipt.status_code == 201, receipt.text
            topic = receipt.json()["topic"]
            consumer = aiokafka.AIOKafkaConsumer(
                topic, bootstrap_servers=live.KAFKA_BOOTSTRAP, auto_offset_reset="earliest"
            )
            await consumer.start()
            message = await consumer.getone()
            await consumer.stop()
            passed_on = {name: value.decode() for name, value in message.headers}
            with loader.start_as_current_span("load", context=context.extract(passed_on)):
                pass
        log = (tmp_path / "gateway.log").read_text()  # the gateway has stopped, and with it all lines are written
        spans = {span["name"]: span for span in collector.spans()}
    request = spans["POST /ingress/record-json-and-binary"]
    assert request["parent"] == spans["send"]["id"]
    assert spans["load"]["parent"] == request["id"]
    assert {"registry find", "bus publish", "store put"} <= spans.keys()
    assert len({span["trace"] for span in spans.values()}) == 1
    assert f" {request['trace']}\n" in log, "the log line names the trace"
