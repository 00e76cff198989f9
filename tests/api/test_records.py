"""`POST /ingress/record-json` with one record: receipts, events, refusals."""

from __future__ import annotations

import io
import json

import fastavro
import pytest

from tests.gateways import NOTE, Answer, Gateway

PARSED = fastavro.parse_schema(NOTE)
RECORD = b'{"title": "Nocturne", "year": 1875}'


async def test_a_record_becomes_one_event_that_decodes_to_what_was_sent(gateway: Gateway) -> None:
    answer = await gateway.post("/ingress/record-json?schema=note&destination=graph/drafts", RECORD)
    receipt = answer.json()
    assert answer.status == 201
    assert receipt["key"] == "note/graph/drafts"
    assert receipt["schema"]["subject"] == "note"
    assert receipt["resource"] is None
    (event,) = await gateway.events()
    assert list(event.position) == [receipt["topic"], receipt["partition"], receipt["offset"]]
    assert event.key == b"note/graph/drafts"
    assert event.value is not None
    assert event.value[:5] == b"\x00" + receipt["schema"]["id"].to_bytes(4, "big")
    decoded = fastavro.schemaless_reader(io.BytesIO(event.value[5:]), PARSED, None)
    assert decoded == {"title": "Nocturne", "year": 1875, "tags": [], "__resource_path__": None}


async def test_an_event_carries_cloudevents_headers(gateway: Gateway) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    answer = await gateway.post(
        "/ingress/record-json?schema=note", RECORD, headers={"traceparent": trace, "tracestate": "a=1"}
    )
    (event,) = await gateway.events()
    headers = dict(event.headers)
    assert headers.pop("ce_time").endswith(b"Z")
    assert headers == {
        "ce_specversion": b"1.0",
        "ce_id": answer.json()["id"].encode(),
        "ce_source": b"/inlake",
        "ce_type": b"note",
        "content-type": b"application/vnd.confluent.avro",
        "inlake_principal": b"anonymous",
        "traceparent": trace.encode(),
        "tracestate": b"a=1",
    }


async def test_a_refused_record_comes_back_with_every_reason_and_publishes_nothing(gateway: Gateway) -> None:
    answer = await gateway.post("/ingress/record-json?schema=note", b'{"year": "1875", "tags": ["a", 7], "extra": 1}')
    problem = answer.json()
    assert answer.status == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["code"] == "record_rejected"
    assert {(e["pointer"], e["code"]) for e in problem["errors"]} == {
        ("/title", "missing_field"),
        ("/year", "wrong_type"),
        ("/tags/1", "wrong_type"),
        ("/extra", "unknown_field"),
    }
    assert all(e["detail"] for e in problem["errors"])
    assert await gateway.events() == []


@pytest.mark.parametrize(
    ("query", "body", "status", "code"),
    [
        ("schema=note", b'{"title": ', 400, "malformed_json"),
        ("schema=note", b"", 400, "empty_body"),
        ("schema=note", b" \n", 400, "empty_body"),
        ("schema=note", b'{"title": "a"} {}', 400, "malformed_json"),
        ("schema=note", b'{"title": "\xff"}', 400, "malformed_json"),
        ("schema=note", b'{"title": NaN}', 400, "malformed_json"),
        ("schema=..", RECORD, 400, "bad_name"),
        ("schema=note&destination=../x", RECORD, 400, "bad_name"),
        ("schema=note&version=x", RECORD, 400, "bad_parameter"),
        ("", RECORD, 400, "bad_envelope"),
        ("", b"{}", 400, "missing_parameter"),
        ("schema=nothing", RECORD, 404, "schema_not_found"),
        ("schema=note&version=9", RECORD, 404, "schema_not_found"),
        ("schema=note", b'{"title": "' + b"a" * 1_000_000 + b'"}', 413, "record_too_large"),
        ("schema=note", b'{"title": ' + b"[" * 1000 + b"]" * 1000 + b"}", 422, "record_rejected"),
        ("schema=note", b'{"title": "a", "__resource_path__": "scan.obj"}', 422, "resource_not_a_promise"),
        ("schema=note", b'{"title": "a", "__resource_path__": "0f3c0d3a-4a0e-4d9f-8f43-2a3c7b1de0aa"}', 404, "promise_not_found"),
        ("schema=note&content=x", RECORD, 400, "bad_parameter"),
    ],
)  # fmt: skip
async def test_each_refusal_has_its_status_and_code(
    gateway: Gateway, query: str, body: bytes, status: int, code: str
) -> None:
    answer = await gateway.post(f"/ingress/record-json?{query}", body)
    problem = answer.json()
    assert (answer.status, problem["code"], problem["status"]) == (status, code, status)
    assert problem["type"] == f"/docs/errors#{code}"
    assert problem["instance"]
    assert await gateway.events() == []


async def test_malformed_json_says_line_and_column(gateway: Gateway) -> None:
    problem = (await gateway.post("/ingress/record-json?schema=note", b'{\n "title": oops}')).json()
    assert problem["line"] == 2
    assert problem["column"] in {11, 12}


async def test_an_array_for_a_record_gets_the_advice_to_send_lines(gateway: Gateway) -> None:
    problem = (await gateway.post("/ingress/record-json?schema=note", b"[" + RECORD + b"]")).json()
    assert problem["status"] == 422
    assert "application/x-ndjson" in problem["detail"]


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=utf-16"]
)
async def test_another_media_type_is_415_and_says_what_to_send(gateway: Gateway, kind: str) -> None:
    answer = await gateway.post("/ingress/record-json?schema=note", RECORD, kind)
    assert (answer.status, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("kind", ["application/json", "application/ld+json", "application/json; charset=utf-8", None])
async def test_json_media_types_and_a_bom_are_taken(gateway: Gateway, kind: str | None) -> None:
    answer = await gateway.post("/ingress/record-json?schema=note", b"\xef\xbb\xbf" + RECORD, kind)
    assert answer.status == 201


async def test_the_tagged_media_type_takes_the_specification_s_json(gateway: Gateway) -> None:
    body = b'{"title": "a", "year": {"int": 1875}, "tags": [], "__resource_path__": null}'
    kind = "application/vnd.apache.avro+json"
    assert (await gateway.post("/ingress/record-json?schema=note", body, kind)).status == 201
    assert (await gateway.post("/ingress/record-json?schema=note", RECORD, kind)).status == 422


@pytest.mark.parametrize(
    "envelope",
    [
        {"schema": "note", "destination": "d", "record": {"title": "a"}},
        {"key_inlk": "note/d", "content": {"title": "a"}},
        {"key_inlk": "note/d", "content": '{"title": "a"}', "url_filestore": None, "topic_override": None},
    ],
)
async def test_envelopes_old_and_new_name_schema_and_destination(gateway: Gateway, envelope: object) -> None:
    answer = await gateway.post("/ingress/record-json", json.dumps(envelope).encode())
    assert (answer.status, answer.json()["key"]) == (201, "note/d")


async def test_a_version_can_be_named(gateway: Gateway) -> None:
    later = {**NOTE, "fields": [*NOTE["fields"], {"name": "more", "type": "string"}]}
    await gateway.register("note", later)
    assert (await gateway.post("/ingress/record-json?schema=note&version=1", RECORD)).json()["schema"]["version"] == 1
    assert (await gateway.post("/ingress/record-json?schema=note&version=2", RECORD)).status == 422


async def test_a_foreign_uri_is_published_untouched(gateway: Gateway) -> None:
    body = b'{"title": "a", "__resource_path__": "https://iiif.example.org/1.jpg"}'
    answer = await gateway.post("/ingress/record-json?schema=note", body)
    assert (answer.status, answer.json()["resource"]) == (201, None)
    (event,) = await gateway.events()
    assert event.value is not None
    assert b"https://iiif.example.org/1.jpg" in event.value


async def test_a_body_in_many_chunks_is_one_record(gateway: Gateway) -> None:
    answer = await gateway.post("/ingress/record-json?schema=note", [RECORD[i : i + 1] for i in range(len(RECORD))])
    assert answer.status == 201


async def test_a_client_that_goes_away_half_way_publishes_nothing(gateway: Gateway) -> None:
    answer = await gateway.post("/ingress/record-json?schema=note", [RECORD[:10]], vanish=True)
    assert answer == Answer(0, {}, b"")
    assert await gateway.events() == []


async def test_unknown_routes_and_methods_are_problems_too(gateway: Gateway) -> None:
    missing = await gateway.post("/nothing/here")
    assert (missing.status, missing.json()["code"]) == (404, "route_not_found")
    wrong = await gateway.post("/ingress/record-json", method="PUT")
    assert (wrong.status, wrong.json()["code"], wrong.headers["allow"]) == (405, "method_not_allowed", "POST")
    bad = await gateway.post("/schemas/note?version=x", method="GET")
    assert (bad.status, bad.json()["code"]) == (400, "bad_parameter")
