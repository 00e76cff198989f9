"""Traces: one request is one trace, from its client through the gateway to who reads its event."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from inlake.logs import SECONDS
from inlake.settings import SettingsError, load
from inlake.wiring import connect
from tests.collector import Collector, collecting
from tests.gateways import Gateway, embedded, form

context = TraceContextTextMapPropagator()
RECORD = b'{"title": "Nude"}'
ONE = "/ingress/record-json?schema=note"


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    with collecting(tmp_path) as running:
        yield running


def by_name(spans: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {span["name"]: span for span in spans}


async def header(gateway: Gateway, name: str, at: int = 0) -> str | None:
    """A header of the event at that place."""
    found = dict((await gateway.events())[at].headers).get(name)
    return None if found is None else found.decode()


async def test_one_trace_has_client_gateway_registry_store_bus_and_consumer(
    tmp_path: Path, collector: Collector
) -> None:
    with collector.another_service("museum") as museum, collector.another_service("loader") as loader:
        async with embedded(tmp_path, traces=collector.url) as gateway:
            carrier: dict[str, str] = {}
            with museum.start_as_current_span("send") as client:
                context.inject(carrier)
            body, kind = form(("record", RECORD, None, None), ("file", b"abc", "a.txt", "text/plain"))
            answer = await gateway.post("/ingress/record-json-and-binary?schema=note", body, kind, headers=carrier)
            assert answer.status == 201
            passed_on = {"traceparent": await header(gateway, "traceparent") or ""}
            with loader.start_as_current_span("load", context=context.extract(passed_on)):
                pass
    spans = collector.wait_for("send", "load", "bus publish")
    assert {span["trace"] for span in spans} == {f"{client.get_span_context().trace_id:032x}"}
    found = by_name(spans)
    request = found["POST /ingress/record-json-and-binary"]
    assert request["parent"] == found["send"]["id"]
    assert found["load"]["parent"] == request["id"]
    assert found["registry find"]["parent"] == found["bus publish"]["parent"] == request["id"]
    assert {span["parent"] for span in spans if span["name"].startswith("store ")} == {request["id"]}
    assert {span["service"] for span in spans} == {"museum", "inlake", "loader"}
    assert request["attributes"]["http.response.status_code"] == 201
    assert request["attributes"]["http.route"] == "/ingress/record-json-and-binary"
    assert request["attributes"]["inlake.principal"] == "anonymous"
    published = found["bus publish"]["attributes"]
    assert published == {"messaging.batch.message_count": 1, "messaging.destination.name": "inlake.note"}


async def test_a_request_without_a_trace_begins_one_and_its_state_goes_on(tmp_path: Path, collector: Collector) -> None:
    async with embedded(tmp_path, traces=collector.url) as gateway:
        assert (await gateway.post(ONE, RECORD)).status == 201
        parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        given = {"traceparent": parent, "tracestate": "a=1"}
        assert (await gateway.post(ONE, RECORD, headers=given)).status == 201
        begun, passed_on = await header(gateway, "traceparent", 0), await header(gateway, "traceparent", 1)
        assert await header(gateway, "tracestate", 1) == "a=1"
    roots = [span for span in collector.spans() if not span["parent"]]
    assert begun is not None
    assert [f"00-{span['trace']}-{span['id']}" for span in roots] == [begun[:52]]
    assert passed_on is not None
    assert passed_on[:36] == parent[:36]
    assert passed_on != parent


async def test_a_trace_that_its_client_does_not_record_is_passed_on_and_not_recorded(
    tmp_path: Path, collector: Collector
) -> None:
    async with embedded(tmp_path, traces=collector.url) as gateway:
        parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
        assert (await gateway.post(ONE, RECORD, headers={"traceparent": parent})).status == 201
        passed_on = await header(gateway, "traceparent") or ""
    assert passed_on[:36] == parent[:36]
    assert not int(passed_on[-2:], 16) & 1
    assert collector.spans() == []


async def test_a_failure_is_an_error_in_the_trace_and_a_refusal_is_none(tmp_path: Path, collector: Collector) -> None:
    async with embedded(tmp_path, traces=collector.url) as gateway:
        secret = "a title that is nobody's business"
        refused = await gateway.post(ONE, b'{"title": "%s", "year": "x"}' % secret.encode())
        assert refused.status == 422
        (tmp_path / "events.db").unlink(missing_ok=True)
        (tmp_path / "events.db").mkdir()
        failed = await gateway.post(ONE, RECORD)
        assert failed.status == 503
        await gateway.post("/health/live", b"", method="GET")
    spans = collector.spans()
    first, second = [span for span in spans if span["name"] == "POST /ingress/record-json"]
    assert (first["error"], first["attributes"]["http.response.status_code"]) == (False, 422)
    assert (second["error"], second["attributes"]["error.type"]) == (True, "503")
    published = by_name(spans)["bus publish"]
    assert (published["error"], published["attributes"]["error.type"]) == (True, failed.json()["code"])
    assert secret not in collector.file.read_text()
    assert "health" not in collector.file.read_text(), "probes leave no trace"


async def test_a_collector_that_is_away_hinders_no_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with embedded(tmp_path, traces="http://127.0.0.1:9") as gateway:
        assert (await gateway.post(ONE, RECORD)).status == 201
        began = time.monotonic()
    assert time.monotonic() - began < 8, "nor the end of the process"


async def test_a_line_of_json_has_a_member_for_each_thing_that_it_says(
    tmp_path: Path, collector: Collector, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO", "inlake.web")
    async with embedded(tmp_path, log_format="json", traces=collector.url) as gateway:
        await gateway.post(ONE, RECORD)
        await gateway.post("/promises/0f3c0d3a-4a0e-4d9f-8f43-2a3c7b1de0aa", b"", method="GET")
        await gateway.post("/health/live", b"", method="GET")
        await asyncio.sleep(2 * SECONDS)  # lines wait for others
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    record, promise, probe = (line for line in lines if line["logger"] == "inlake.web")
    assert record.keys() == {
        *(
            "time",
            "level",
            "logger",
            "message",
            "method",
            "route",
            "path",
            "status",
            "ms",
            "request",
            "principal",
            "trace",
        )
    }
    assert (record["method"], record["route"], record["status"]) == ("POST", "/ingress/record-json", 201)
    assert record["trace"] == by_name(collector.spans())["POST /ingress/record-json"]["trace"]
    assert record["request"] in record["message"]
    assert (promise["route"], promise["path"], promise["status"]) == ("/promises/{puuid}", "/promises/0f3c0d3a…", 404)
    assert "trace" not in probe


def test_without_the_setting_nothing_of_it_is_loaded_and_without_the_library_it_is_said(tmp_path: Path) -> None:
    program = (
        "import sys; from inlake.settings import load; from inlake.wiring import connect; "
        "from inlake.web.app import create_app; create_app(connect(load({}), {})); "
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'inlake.tracing'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, env=os.environ)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
    without = "import sys; sys.modules['opentelemetry.sdk'] = None; "
    asked = "from inlake.settings import load; from inlake.wiring import connect; connect(load({'INLAKE_TRACES': 'http://c'}), {})"
    done = subprocess.run(
        [sys.executable, "-c", without + asked], capture_output=True, text=True, cwd=tmp_path, env=os.environ
    )
    assert "INLAKE_TRACES: " in done.stderr
    assert "pip install '.[server,otel]' in a clone" in done.stderr


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="INLAKE_TRACES"):
        connect(load({"INLAKE_TRACES": "collector:4318"}), {})
