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
ONE = "/ingress/record-json?schema=note"


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


async def test_records_are_202_alone_in_a_stream_and_with_a_key(gateway: Gateway) -> None:
    headers = {"idempotency-key": '"one"'}
    answer = await gateway.post(ONE, RECORD, headers=headers)
    assert answer.status == 202
    receipt = answer.json()
    assert (receipt["topic"], receipt["partition"], receipt["offset"]) == ("inlake.note", None, None)
    assert receipt["schema"]["version"] == 1
    assert "location" not in answer.headers

    again = await gateway.post(ONE, RECORD, headers=headers)
    assert (again.status, again.headers["idempotent-replayed"], again.body) == (202, "true", answer.body)
    assert "inlake_outbox_kept_total 1\n" in (await gateway.post("/metrics", method="GET")).body.decode()

    mixed = await gateway.post(ONE, b"\n".join([RECORD, b'{"no": 1}', RECORD]), NDJSON)
    assert mixed.status == 207
    first, refused, last, summary = mixed.lines()
    assert (first["status"], refused["status"], last["status"]) == (202, 422, 202)
    assert summary["summary"] == {"accepted": 0, "pending": 2, "rejected": 1, "failed": 0}
    assert (await gateway.post(ONE, b"\n".join([RECORD] * 5), NDJSON)).status == 202


async def test_what_waits_is_told_where_it_matters(gateway: Gateway) -> None:
    """A promise is published as far as it goes; all or nothing cannot be published; the gateway is ready, and warns."""
    body, kind = form(("record", RECORD, None, None), ("file", b"bytes", "a.bin", "application/octet-stream"))
    answer = await gateway.post("/ingress/record-json-and-binary?schema=note", body, kind)
    assert answer.status == 202, answer.body
    puuid = answer.json()["resource"]["puuid"]
    told = await gateway.post(f"/promises/{puuid}", method="GET", content_type=None)
    assert (told.json()["state"], told.json()["receipt"]) == ("published", answer.json())
    assert await gateway.open_promises() == []

    atomic = await gateway.post(f"{ONE}&mode=atomic", RECORD, NDJSON)
    assert (atomic.status, atomic.json()["code"]) == (503, "bus_unavailable")
    assert "mode=atomic" in atomic.json()["detail"]
    assert int(atomic.headers["retry-after"]) > 0

    ready = await gateway.post("/health/ready", method="GET")
    assert ready.status == 200, ready.body
    warnings = ready.json()["checks"]["bus"]["warnings"]
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
