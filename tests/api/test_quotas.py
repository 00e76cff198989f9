"""Quotas over HTTP: 429 and headers on each route, lines of a stream, what is told, and what a repeat may do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.gateways import Gateway, embedded, form

RECORD = b'{"title": "a"}'
ONE = "/ingress/record-json?schema=note"


def quoted(refused: dict[str, object]) -> tuple[object, ...]:
    return refused["status"], refused["code"], refused["quota"]


async def test_more_requests_than_the_quota_has_are_429_and_say_when_to_come_back(tmp_path: Path) -> None:
    async with embedded(tmp_path, quota_principal="requests=2") as gateway:
        first, second, third = [await gateway.post(ONE, RECORD) for _ in range(3)]
        assert [first.status, second.status, third.status] == [201, 201, 429]
        assert first.headers["ratelimit-policy"] == '"requests";q=2;w=60'
        assert first.headers["ratelimit"] == '"requests";r=1;t=60'
        assert third.headers["ratelimit"].startswith('"requests";r=0;t=')
        assert 0 < int(third.headers["retry-after"]) <= 60
        assert quoted(third.json()) == (429, "quota_exceeded", "requests")
        assert "The principal anonymous may send 2 requests a minute" in third.json()["detail"]
        assert (await gateway.post("/health/live", method="GET", content_type=None)).status == 200
        counted = await gateway.post("/metrics", method="GET", content_type=None)
        assert 'inlake_quota_refused_total{quota="principal",unit="requests"} 1' in counted.body.decode()
        assert len(await gateway.events()) == 2


async def test_every_route_that_is_not_open_counts(tmp_path: Path) -> None:
    async with embedded(tmp_path, quota_all="requests=1") as gateway:
        await gateway.post(ONE, RECORD)
        for route in gateway.app.table:
            path = route.path.replace("{puuid}", "x").replace("{name}", "note").replace("{line}", "1")
            path = path.replace("{shipment}", "x").replace("{reject}", "x")
            if not route.row.is_open:
                answer = await gateway.post(path, b"", method=route.row.method)
                assert (answer.status, answer.json()["quota"]) == (429, "all-requests"), path


async def test_what_is_refused_for_load_counts_against_no_quota(tmp_path: Path) -> None:
    async with embedded(tmp_path, quota_principal="requests=2") as gateway:
        admission = gateway.app.table[0]._site.admission
        most, admission.overload.limit = admission.overload.limit, 0
        for _ in range(5):
            answer = await gateway.post(ONE, RECORD)
            assert (answer.status, answer.json()["code"]) == (503, "busy")
            assert "ratelimit" not in answer.headers
        admission.overload.limit = most
        assert [(await gateway.post(ONE, RECORD)).status for _ in range(3)] == [201, 201, 429]
        assert admission.requests == 0


async def test_lines_of_a_stream_beyond_the_quota_are_429_and_may_be_sent_again(tmp_path: Path) -> None:
    async with embedded(tmp_path, quota_principal="records=3") as gateway:
        body = b"".join(b'{"title": "%d"}\n' % n for n in range(5))
        answer = await gateway.post(ONE, body, "application/x-ndjson", headers={"idempotency-key": '"k"'})
        *lines, last = answer.lines()
        assert answer.status == 207
        assert [line["status"] for line in lines] == [201, 201, 201, 429, 429]
        assert lines[4]["code"] == "quota_exceeded"
        assert last["summary"] == {"accepted": 3, "pending": 0, "rejected": 0, "failed": 2}
        assert (await gateway.post(ONE, RECORD)).json()["quota"] == "records"
        assert len(await gateway.events()) == 3
        assert not [k async for k in gateway.deployment.store.list("rejects")]


async def test_a_repeat_of_what_a_quota_refused_is_not_answered_from_memory(tmp_path: Path) -> None:
    async with embedded(tmp_path, quota_principal="records=1") as gateway:
        assert (await gateway.post(ONE, RECORD)).status == 201
        key = {"idempotency-key": '"k"'}
        assert (await gateway.post(ONE, RECORD, headers=key)).status == 429
        again = await gateway.post(ONE, RECORD, headers=key)
        assert again.status == 429
        assert "idempotent-replayed" not in again.headers


async def test_all_or_nothing_and_shipments_and_forms_count_their_records(tmp_path: Path) -> None:
    async with embedded(tmp_path, quota_principal="records=3", window_ms=50) as gateway:
        two = b'{"title": "a"}\n' * 2
        assert (await gateway.post(f"{ONE}&mode=atomic", two, "application/x-ndjson")).status == 201
        assert (await gateway.post(f"{ONE}&mode=atomic", two, "application/x-ndjson")).status == 429
        line = json.dumps({"file": {"filename": "a", "size": 1, "sha256": "0" * 64}, "record": {"title": "a"}}).encode()
        announced = await gateway.post("/shipments?schema=note", (line + b"\n") * 2, "application/x-ndjson")
        assert (announced.status, announced.json()["quota"]) == (429, "records")
        body, kind = form(("record", RECORD, None, "application/json"), ("file", b"x", "a.txt", "text/plain"))
        assert (await gateway.post("/ingress/record-json-and-binary?schema=note", body, kind)).status == 201
        assert (await gateway.post("/ingress/record-json-and-binary?schema=note", body, kind)).status == 429


async def test_bytes_count_whether_their_number_is_told_or_not(tmp_path: Path) -> None:
    async with embedded(tmp_path, quota_principal="bytes=100") as gateway:
        chunked = {"transfer-encoding": "chunked"}
        told = await gateway.post("/ingress/binary", b"x" * 60, "text/plain")
        assert (told.status, told.headers["ratelimit"]) == (200, '"bytes";r=40;t=60')
        untold = await gateway.post("/ingress/binary", [b"x" * 25, b"y" * 25], "text/plain", headers=chunked)
        assert untold.status == 200, "nobody knew how much would come"
        assert (await gateway.post("/ingress/binary", b"x", "text/plain")).json()["quota"] == "bytes"


async def test_bytes_that_are_announced_and_do_not_come_count_for_nothing(tmp_path: Path) -> None:
    async with embedded(tmp_path, quota_principal="bytes=1000", quota_all="bytes=1000") as gateway:
        huge = {"content-length": "9" * 18}
        for path in ("/schemas", "/ingress/binary"):
            method = "GET" if path == "/schemas" else "POST"
            await gateway.post(path, b"x" * 10, method=method, headers=huge, vanish=True)
        cut = await gateway.post(
            "/ingress/binary", b"x" * 90, "text/plain", headers={"content-length": "900"}, vanish=True
        )
        assert cut.status == 0
        told = await gateway.post("/ingress/binary", b"x" * 100, "text/plain")
        assert (told.status, told.headers["ratelimit"]) == (200, '"bytes";r=800;t=60')
        refused = await gateway.post("/ingress/binary", b"x", "text/plain", headers=huge)
        assert refused.json()["quota"] == "bytes"


@pytest.mark.parametrize("path", ["/ingress/record-json?schema=note", "/ingress/validate?schema=note"])
async def test_without_quotas_no_header_is_added(gateway: Gateway, path: str) -> None:
    assert not [name for name in (await gateway.post(path, RECORD)).headers if name.startswith("ratelimit")]
