"""A gateway whose Kafka is away, and which has an outbox: what its clients and its operator see."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from inlake.settings import SettingsError, load
from inlake.wiring import connect
from tests.gateways import Gateway, embedded, form

RECORD = json.dumps({"title": "a"}).encode()
NDJSON = "application/x-ndjson"


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    with socket.socket() as nobody:  # bound, and nobody listens
        nobody.bind(("127.0.0.1", 0))
        settings = {
            "bus": f"kafka://127.0.0.1:{nobody.getsockname()[1]}",
            "bus_timeout": 0.5,
            "outbox": f"sqlite:{tmp_path / 'outbox.db'}",
            "outbox_seconds": 0.2,
        }
        async with embedded(tmp_path, **settings) as gateway:
            yield gateway


async def test_a_record_is_202_with_a_receipt_that_has_no_place(gateway: Gateway) -> None:
    answer = await gateway.post("/ingress/record-json?schema=note", RECORD)
    assert answer.status == 202
    receipt = answer.json()
    assert (receipt["topic"], receipt["partition"], receipt["offset"]) == ("inlake.note", None, None)
    assert receipt["schema"]["version"] == 1
    assert "location" not in answer.headers


async def test_a_stream_is_202_and_its_lines_are_pending(gateway: Gateway) -> None:
    answer = await gateway.post("/ingress/record-json?schema=note", b"\n".join([RECORD, b'{"no": 1}', RECORD]), NDJSON)
    assert answer.status == 207
    first, refused, last, summary = answer.lines()
    assert (first["status"], refused["status"], last["status"]) == (202, 422, 202)
    assert summary["summary"] == {"accepted": 0, "pending": 2, "rejected": 1, "failed": 0}
    whole = await gateway.post("/ingress/record-json?schema=note", b"\n".join([RECORD] * 5), NDJSON)
    assert whole.status == 202


async def test_a_record_with_a_binary_is_published_as_far_as_its_promise_goes(gateway: Gateway) -> None:
    body, kind = form(("record", RECORD, None, None), ("file", b"bytes", "a.bin", "application/octet-stream"))
    answer = await gateway.post("/ingress/record-json-and-binary?schema=note", body, kind)
    assert answer.status == 202, answer.body
    puuid = answer.json()["resource"]["puuid"]
    told = await gateway.post(f"/promises/{puuid}", method="GET", content_type=None)
    assert told.json()["state"] == "published"
    assert told.json()["receipt"] == answer.json()
    assert await gateway.open_promises() == []


async def test_an_idempotency_key_repeats_the_202(gateway: Gateway) -> None:
    headers = {"idempotency-key": '"one"'}
    first = await gateway.post("/ingress/record-json?schema=note", RECORD, headers=headers)
    second = await gateway.post("/ingress/record-json?schema=note", RECORD, headers=headers)
    assert (first.status, second.status) == (202, 202)
    assert second.headers["idempotent-replayed"] == "true"
    assert second.body == first.body
    assert "inlake_outbox_kept_total 1\n" in (await gateway.post("/metrics", method="GET")).body.decode()


async def test_all_or_nothing_is_503_while_events_wait(gateway: Gateway) -> None:
    await gateway.post("/ingress/record-json?schema=note", RECORD)
    answer = await gateway.post("/ingress/record-json?schema=note&mode=atomic", RECORD, NDJSON)
    assert (answer.status, answer.json()["code"]) == (503, "bus_unavailable")
    assert "mode=atomic" in answer.json()["detail"]
    assert int(answer.headers["retry-after"]) > 0


async def test_the_gateway_is_ready_and_warns_of_what_waits(gateway: Gateway) -> None:
    await gateway.post("/ingress/record-json?schema=note", RECORD)
    answer = await gateway.post("/health/ready", method="GET")
    assert answer.status == 200, answer.body
    warnings = answer.json()["checks"]["bus"]["warnings"]
    assert any(sentence.startswith("1 event waits") for sentence in warnings), warnings
    assert any("wait in the outbox meanwhile" in sentence for sentence in warnings), warnings


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"INLAKE_OUTBOX": "file:/tmp/outbox"}, "is not sqlite:PATH"),
        ({"INLAKE_OUTBOX": "sqlite:outbox.db", "INLAKE_BUS": "sqlite:events.db"}, "goes with INLAKE_BUS=kafka"),
    ],
)
def test_a_wrong_setting_stops_the_start(variables: dict[str, str], sentence: str) -> None:
    environment = {"INLAKE_BUS": "kafka://127.0.0.1:9", **variables}
    with pytest.raises(SettingsError, match=sentence):
        connect(load(environment), environment)


def test_a_damaged_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "outbox.db").write_bytes(b"nothing that SQLite knows " * 1000)
    environment = {"INLAKE_BUS": "kafka://127.0.0.1:9", "INLAKE_OUTBOX": f"sqlite:{tmp_path / 'outbox.db'}"}
    with pytest.raises(SettingsError, match=r"INLAKE_OUTBOX: .*outbox.db is damaged"):
        connect(load(environment), environment)
