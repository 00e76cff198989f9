"""The methods of a program, where another attempt may help."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from inlake.client import Address, Client, Failed
from tests.answering import answering

RECEIPT: dict[str, Any] = {"id": "x", "key": "scan", "topic": "inlake.scan", "partition": 0, "offset": 1}
YES = (201, {"Content-Type": "application/json"}, json.dumps(RECEIPT).encode())
BUSY = (
    503,
    {"Content-Type": "application/problem+json", "Retry-After": "0"},
    b'{"status": 503, "code": "busy", "detail": "Busy."}',
)


def test_a_record_goes_out_again_with_the_key_that_it_had() -> None:
    with answering(BUSY, YES, YES) as gateway, Client(gateway.url) as client:
        assert client.send(Address("scan", "archive"), {"a": 1}) == RECEIPT
        assert client.send("scan", b'{"a": 1}') == RECEIPT
    keys = [headers["Idempotency-Key"] for _, headers, _ in gateway.requests]
    assert keys[0] == keys[1] != keys[2]
    assert [json.loads(body) for *_, body in gateway.requests] == [{"a": 1}] * 3


def test_a_file_goes_out_again_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "scan.txt").write_bytes(b"a scan")
    with answering(BUSY, YES) as gateway, Client(gateway.url) as client:
        assert client.upload("scan", {"a": 1}, tmp_path / "scan.txt") == RECEIPT
    assert len({headers["Idempotency-Key"] for _, headers, _ in gateway.requests}) == 1
    assert all(b"\r\n\r\na scan\r\n" in body for *_, body in gateway.requests)


def test_without_time_for_another_attempt_the_failure_is_raised() -> None:
    with answering(BUSY) as gateway, Client(gateway.url, retry=0) as client, pytest.raises(Failed, match="Busy"):
        client.send("scan", {})


def test_another_client_is_of_the_same_gateway() -> None:
    with (
        answering(YES) as gateway,
        Client(gateway.url, token="s3cr3t", timeout=3) as client,
        client.another() as other,
    ):
        assert isinstance(other, Client)
        other.send("scan", {})
    assert gateway.requests[0][1]["Authorization"] == "Bearer s3cr3t"
