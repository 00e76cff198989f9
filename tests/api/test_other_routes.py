"""Validation, objects, unsecured twins, counters, pages, and how much may be in flight."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from confluent_kafka.schema_registry import Schema

from inlake.errors import every_error
from tests.gateways import NOTE, Gateway, embedded, form

RECORD = b'{"title": "a"}'
FILE = ("file", bytes(range(256)) * 4000, "spöt 1.obj", "text/html")
BINARY = "/ingress/record-json-and-binary?schema=note"


async def puuid_of(gateway: Gateway) -> str:
    return str((await gateway.post(BINARY, *form(("record", RECORD, None, None), FILE))).json()["resource"]["puuid"])


# ------------------------------------------------------------------------------------------------------- validation
async def test_validation_answers_like_ingress_and_publishes_nothing(gateway: Gateway) -> None:
    good = await gateway.post("/ingress/validate?schema=note", RECORD)
    assert (good.status, good.json()["valid"], good.json()["schema"]["subject"]) == (200, True, "note")
    bad = await gateway.post("/ingress/validate?schema=note", b'{"titel": "a"}')
    assert (bad.status, bad.json()["code"]) == (422, "record_rejected")
    lines = await gateway.post("/ingress/validate?schema=note", RECORD + b"\n{}\n", "application/x-ndjson")
    assert [r.get("status") for r in lines.lines()] == [200, 422, None]
    assert lines.lines()[-1]["summary"]["accepted"] == 1
    assert await gateway.events() == []


# ---------------------------------------------------------------------------------------------------------- objects
async def test_an_object_comes_back_whole_and_never_runs_in_a_browser(gateway: Gateway) -> None:
    answer = await gateway.post(f"/resources/{await puuid_of(gateway)}", method="GET")
    assert (answer.status, answer.body) == (200, FILE[1])
    assert answer.headers["content-type"] == "text/html"
    assert answer.headers["content-disposition"] == (
        "attachment; filename=\"sp_t 1.obj\"; filename*=UTF-8''sp%C3%B6t%201.obj"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("wanted", "status", "start", "end"),
    [
        ("bytes=0-0", 206, 0, 1),
        ("bytes=100-199", 206, 100, 200),
        ("Bytes=100-199", 206, 100, 200),
        ("bytes=1023000-", 206, 1_023_000, 1_024_000),
        ("bytes=-10", 206, 1_023_990, 1_024_000),
        ("bytes=5-99999999", 206, 5, 1_024_000),
        ("bytes=9-5", 200, 0, 1_024_000),
        ("bytes=0-1,5-6", 200, 0, 1_024_000),
        ("lines=1-2", 200, 0, 1_024_000),
        ("bytes=-", 200, 0, 1_024_000),
    ],
)
async def test_a_range_of_bytes(gateway: Gateway, wanted: str, status: int, start: int, end: int) -> None:
    path = f"/resources/{await puuid_of(gateway)}"
    answer = await gateway.post(path, method="GET", headers={"range": wanted})
    assert (answer.status, answer.body) == (status, FILE[1][start:end])
    assert answer.headers["content-length"] == str(end - start)
    head = await gateway.post(path, method="HEAD", headers={"range": wanted})
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "1024000"), "RFC 9110, 14.2: of GET"
    if status == 206:
        assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/1024000"


async def test_a_range_beyond_the_end_is_416_and_an_etag_saves_the_bytes(gateway: Gateway) -> None:
    path = f"/resources/{await puuid_of(gateway)}"
    beyond = await gateway.post(path, method="GET", headers={"range": "bytes=1024000-"})
    assert (beyond.status, beyond.headers["content-range"]) == (416, "bytes */1024000")
    etag = (await gateway.post(path, method="HEAD")).headers["etag"]
    for tags, status in (etag, 304), (f'"other", W/{etag}', 304), ("*", 304), ('"other"', 200):
        answer = await gateway.post(path, method="GET", headers={"if-none-match": tags})
        assert (answer.status, answer.body == b"") == (status, status == 304), tags
    other = await gateway.post(path, method="GET", headers={"range": "bytes=0-1", "if-range": '"other"'})
    assert other.status == 200


@pytest.mark.parametrize(
    "puuid", ["x", "0f3c0d3a-4a0e-4d9f-8f43-2a3c7b1de0aa", "..%2f..%2fetc", "0F3C0D3A-4A0E-4D9F-8F43-2A3C7B1DE0AA"]
)
async def test_an_object_that_is_not_there_is_404(gateway: Gateway, puuid: str) -> None:
    answer = await gateway.post(f"/resources/{puuid}", method="GET")
    assert answer.status == 404


# -------------------------------------------------------------------------------------------------- unsecured twins
async def test_the_unsecured_twins_do_not_exist_unless_they_are_switched_on(gateway: Gateway) -> None:
    for route in ("record-json", "record-json-and-binary"):
        assert (await gateway.post(f"/ingress/unsecured/{route}?schema=note", b"{}")).status == 404


async def test_the_unsecured_twins_publish_bytes_as_they_come_to_a_topic_of_their_own(tmp_path: Path) -> None:
    async with embedded(tmp_path, unsecured_routes="true") as gateway:
        raw = b'{"anything":  [1.0, "\xff"]'
        answer = await gateway.post("/ingress/unsecured/record-json?schema=no.such.schema&destination=d", raw)
        assert answer.status == 201
        receipt = answer.json()
        assert (receipt["topic"], receipt["key"], receipt["schema"]) == ("inlake-unsecured", "no.such.schema/d", None)
        (event,) = await gateway.events()
        assert event.value == raw
        assert dict(event.headers)["content-type"] == b"application/json"
        lines = await gateway.post("/ingress/unsecured/record-json?schema=x", b"{}\nnope\n", "application/x-ndjson")
        assert lines.status == 201


async def test_the_unsecured_twin_with_a_binary_names_the_object_in_a_header_only(tmp_path: Path) -> None:
    async with embedded(tmp_path, unsecured_routes="true") as gateway:
        record = b'{"resource_uri": null}'
        for parts in ((("record", record, None, None), FILE), (FILE, ("record", record, None, None))):
            answer = await gateway.post("/ingress/unsecured/record-json-and-binary?schema=x", *form(*parts))
            assert answer.status == 201
        first, second = await gateway.events()
        assert first.value == second.value == record
        for event in (first, second):
            uri = dict(event.headers)["inlake_resource_uri"].decode()
            key = uri.removeprefix(gateway.deployment.store.uri("-").removesuffix("-"))
            assert await gateway.deployment.store.get(key) == FILE[1]


# ------------------------------------------------------------------------------------------------ counters and pages
async def test_counters_tell_requests_records_and_bytes(gateway: Gateway) -> None:
    await gateway.post("/ingress/record-json?schema=note", RECORD)
    await gateway.post("/ingress/record-json?schema=note", b"{}")
    await gateway.post("/ingress/record-json?schema=note", RECORD + b"\n{}\n" + RECORD, "application/x-ndjson")
    await gateway.post(BINARY, *form(("record", RECORD, None, None), FILE))
    await gateway.post("/not/a/route/<script>")
    text = (await gateway.post("/metrics", method="GET")).body.decode()
    assert 'inlake_requests_total{route="/ingress/record-json",status="201"} 1\n' in text
    assert 'inlake_requests_total{route="none",status="404"} 1\n' in text
    assert 'inlake_records_total{result="accepted"} 4\n' in text
    assert 'inlake_records_total{result="rejected"} 2\n' in text
    assert f"inlake_binary_bytes_total {len(FILE[1])}\n" in text
    assert 'inlake_request_seconds_count{route="/ingress/record-json"} 3\n' in text
    assert "inlake_requests_in_flight 0\n" in text
    assert "script" not in text


async def test_the_pages_need_nothing_from_elsewhere(gateway: Gateway) -> None:
    page = (await gateway.post("/docs", method="GET")).body.decode()
    assert "//cdn" not in page
    assert "http" not in page.replace("httpSnippet", "")
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert len((await gateway.post(f"/docs/static/{name}", method="GET")).body) > 100_000
    assert (await gateway.post("/docs/static/../app.py", method="GET")).status == 404
    errors = (await gateway.post("/docs/errors", method="GET")).body.decode()
    assert all(f'id="{error.code}"' in errors for error in every_error())


async def test_every_route_is_in_the_openapi_document_with_an_example(gateway: Gateway) -> None:
    paths = (await gateway.post("/openapi.json", method="GET")).json()["paths"]
    assert set(paths) == {
        "/in-place",
        "/ingress/record-json",
        "/ingress/record-json-and-binary",
        "/ingress/binary",
        "/ingress/validate",
        "/promises",
        "/promises/{puuid}",
        "/promises/{puuid}/complete",
        "/promises/{puuid}/parts",
        "/uploads",
        "/uploads/{puuid}",
        "/schemas",
        "/schemas/{name}",
        "/rejects",
        "/rejects/causes",
        "/rejects/{reject}",
        "/rejects/{reject}/resend",
        "/resources/{puuid}",
        "/resources/{puuid}/preview",
        "/shipments",
        "/shipments/{shipment}",
        "/shipments/{shipment}/complete",
        "/shipments/{shipment}/{line}",
        "/health/live",
        "/health/ready",
        "/metrics",
    }
    for path in ("/ingress/record-json", "/ingress/record-json-and-binary", "/ingress/validate"):
        assert '"example"' in json.dumps(paths[path]["post"]["requestBody"])
    for path in ("/schemas", "/schemas/{name}", "/promises", "/promises/{puuid}", "/health/live", "/health/ready"):
        assert '"example"' in json.dumps(paths[path]["get"]["responses"])


async def test_every_route_stands_in_one_group_with_a_sentence_of_what_it_does(gateway: Gateway) -> None:
    document = (await gateway.post("/openapi.json", method="GET")).json()
    groups = [group["name"] for group in document["tags"]]
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert {tuple(operation["tags"]) for operation in operations} == {(group,) for group in groups}
    assert all(" " in operation["summary"] for operation in operations)


async def test_an_answer_without_a_body_is_not_documented_with_one(gateway: Gateway) -> None:
    uploads = (await gateway.post("/openapi.json", method="GET")).json()["paths"]["/uploads"]
    assert "content" not in uploads["post"]["responses"]["201"]


async def test_a_schema_is_told_with_a_record_that_fits_it(gateway: Gateway) -> None:
    assert (await gateway.post("/schemas", method="GET")).json() == {"schemas": [{"name": "note", "subject": "note"}]}
    told = (await gateway.post("/schemas/note", method="GET")).json()
    assert (told["version"], told["versions"], told["type"]) == (1, [1], "AVRO")
    assert json.loads(told["schema"]) == NOTE
    assert (await gateway.post("/ingress/validate?schema=note", json.dumps(told["example"]).encode())).status == 200
    assert told["fields"][0] == {"name": "title", "type": "text", "required": True}
    assert told["resource_field"] == "__resource_path__"
    for path, status in (("/schemas/nothing", 404), ("/schemas/note?version=7", 404), ("/schemas/a%20b", 400)):
        assert (await gateway.post(path, method="GET")).status == status


async def test_a_schema_that_is_only_for_others_to_import_is_told_without_a_record(gateway: Gateway) -> None:
    kinds = Schema('syntax = "proto3"; enum Kind { PHOTO = 0; }', "PROTOBUF")
    await gateway.deployment.registry.register("kinds", kinds)
    told = await gateway.post("/schemas/kinds", method="GET")
    assert (told.status, told.json()["schema"], told.json()["example"]) == (200, kinds.schema_str, None)
    assert (told.json()["fields"], told.json()["resource_field"]) == ([], None)


async def test_the_fields_of_a_protobuf_schema_are_those_of_the_message_asked_for(gateway: Gateway) -> None:
    two = Schema('syntax = "proto3"; message A { string a = 1; } message B { int32 b = 1; }', "PROTOBUF")
    await gateway.deployment.registry.register("two", two)
    for query, name in (("", "a"), ("?message=B", "b")):
        told = (await gateway.post(f"/schemas/two{query}", method="GET")).json()
        assert [field["name"] for field in told["fields"]] == [name]
    assert (await gateway.post("/schemas/two?message=C", method="GET")).status == 400


async def test_readiness_names_what_is_away(tmp_path: Path) -> None:
    async with embedded(tmp_path) as gateway:
        assert (await gateway.post("/health/ready", method="GET")).status == 200
    (tmp_path / "blocked").write_text("")
    async with embedded(tmp_path, store=f"file:{tmp_path}/blocked/store") as gateway:
        answer = await gateway.post("/health/ready", method="GET")
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
        assert answer.json()["checks"]["store"]["code"] == "store_unavailable"
        assert answer.json()["checks"]["bus"]["ok"]


# ------------------------------------------------------------------------------------------------- what is in flight
async def test_one_request_too_many_is_503_busy_and_says_when_to_come_again(tmp_path: Path) -> None:
    async with embedded(tmp_path, max_requests=2, body_idle_seconds=1) as gateway:
        waiting = [
            asyncio.create_task(gateway.post("/ingress/record-json?schema=note", [b"{"], stall=True)) for _ in range(2)
        ]
        await asyncio.sleep(0.1)
        refused = await gateway.post("/ingress/record-json?schema=note", RECORD)
        assert (refused.status, refused.json()["code"], refused.headers["retry-after"]) == (503, "busy", "1")
        for answer in await asyncio.gather(*waiting):
            assert (answer.status, answer.json()["code"]) == (408, "request_timeout")
        assert (await gateway.post("/ingress/record-json?schema=note", RECORD)).status == 201


async def test_bodies_that_would_fill_the_memory_are_503_before_a_byte_is_read(tmp_path: Path) -> None:
    async with embedded(tmp_path, max_memory=64 << 20, body_idle_seconds=1) as gateway:
        first = asyncio.create_task(
            gateway.post(BINARY, [b"--frontier\r\n"], "multipart/form-data; boundary=frontier", stall=True)
        )
        await asyncio.sleep(0.1)
        refused = await gateway.post(BINARY, [b"--frontier\r\n"], "multipart/form-data; boundary=frontier", stall=True)
        assert (refused.status, refused.json()["code"]) == (503, "busy")
        assert (await gateway.post("/ingress/record-json?schema=note", RECORD)).status == 201, "a small one still fits"
        assert (await first).status == 408


@pytest.mark.parametrize("path", ["/health/live", "/metrics", "/schemas", "/schemas/note", "/docs", "/openapi.json"])
async def test_head_goes_wherever_get_goes(gateway: Gateway, path: str) -> None:
    got, headed = [await gateway.post(path, method=method) for method in ("GET", "HEAD")]
    assert (got.status, headed.status) == (200, 200)
    assert got.headers["content-type"] == headed.headers["content-type"]
