"""Every error code, provoked over HTTP by the situation that it is for."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import requests

from inlake.errors import every_error
from inlake.promises.direct import Plan
from inlake.promises.shipments.entries import Completing, log_of
from inlake.settings import load
from inlake.wiring import connect_registry
from tests.command import serving
from tests.gateways import NOTE, Answer, Gateway, embedded, form
from tests.live_servers import (
    AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY,
    KAFKA_BOOTSTRAP,
    S3_BUCKET,
    S3_ENDPOINT,
    S3_REGION,
    require,
)

RECORDS = "/ingress/record-json?schema=note"
ATOMIC = f"{RECORDS}&mode=atomic"
BOTH = "/ingress/record-json-and-binary?schema=note"
GOOD = b'{"title": "a"}'
NDJSON = "application/x-ndjson"
RECORD = ("record", GOOD, None, None)
FILE = ("file", b"v 0 0 0", "spot.obj", "model/obj")
UNKNOWN = "0f3c0d3a-4a0e-4d9f-8f43-2a3c7b1de0aa"
NOBODY = "127.0.0.1:1"
"""An address where nothing listens."""
FAMILIES = {"bad_request", "conflict", "too_large", "not_built", "unavailable"}
"""Codes that stand for several; nothing answers with them by itself."""

Provoke = Callable[[Path], Awaitable[Answer]]


@dataclass(frozen=True)
class Case:
    """How an error comes about, and what its answer says."""

    code: str
    status: int
    provoke: Provoke
    name: str
    retry_after: str | None = None
    pointer: str | None = None


CASES: list[Case] = []


def provokes(code: str, status: int, retry_after: str | None = None) -> Callable[[Provoke], Provoke]:
    """Register a function that takes an empty folder and brings the error about."""

    def register(provoke: Provoke) -> Provoke:
        CASES.append(Case(code, status, provoke, provoke.__name__, retry_after))
        return provoke

    return register


# ---------------------------------------------------------------------------------- requests that are wrong by themselves
def _request(
    code: str,
    status: int,
    path: str = RECORDS,
    body: bytes = GOOD,
    kind: str = "application/json",
    *,
    pointer: str | None = None,
    method: str = "POST",
    headers: dict[str, str] | None = None,
    **settings: object,
) -> Case:
    async def provoke(folder: Path) -> Answer:
        async with embedded(folder, **settings) as gateway:
            return await gateway.post(path, body, kind, method=method, headers=headers or {})

    name = f"{path.partition('?')[0]} {body[:30]!r} {settings or ''}"
    return Case(code, status, provoke, name, None, pointer)


async def _another_object(folder: Path) -> Answer:
    async with embedded(folder) as gateway:
        puuid = (await gateway.post("/ingress/binary", b"hello")).json()["puuid"]
        return await gateway.post(f"/resources/{puuid}", method="GET", headers={"if-match": '"other"'})


CASES += [
    _request("malformed_json", 400, body=b'{"title": '),
    _request("malformed_json", 400, body=b'{"title": "\xff"}'),
    _request("malformed_multipart", 400, BOTH, form(RECORD, FILE)[0][:-10], form()[1]),
    _request("malformed_multipart", 400, BOTH, *form(("other", b"", None, None))),
    _request("missing_parameter", 400, "/ingress/record-json", b'{"record": {"title": "a"}}'),
    _request("missing_parameter", 400, BOTH, *form(RECORD)),
    _request("bad_parameter", 400, f"{RECORDS}&version=0"),
    _request("bad_parameter", 400, f"{RECORDS}&unknown=1"),
    _request("bad_parameter", 400, "/schemas/note?version=x", method="GET"),
    _request("bad_name", 400, "/ingress/record-json?schema=a%20b"),
    _request("bad_name", 400, f"{RECORDS}&destination=a/../b"),
    _request("bad_envelope", 400, "/ingress/record-json", b'{"schema": "note", "recrod": {}}'),
    _request("empty_body", 400, body=b" "),
    _request("empty_body", 400, body=b"\n\n", kind=NDJSON),
    _request("forbidden", 403, headers={"origin": "https://elsewhere.example", "host": "127.0.0.1:8000"}),
    _request("route_not_found", 404, "/ingress/unsecured/record-json?schema=note"),
    _request("schema_not_found", 404, "/ingress/record-json?schema=absent"),
    _request("schema_not_found", 404, f"{RECORDS}&version=2"),
    _request("promise_not_found", 404, body=b'{"title": "a", "__resource_path__": "%b"}' % UNKNOWN.encode()),
    _request("promise_not_found", 404, f"/resources/{UNKNOWN}", method="GET"),
    _request("promise_not_found", 404, f"/promises/{UNKNOWN}", method="GET"),
    _request("promise_not_found", 404, f"/promises/{UNKNOWN}", method="DELETE"),
    _request("bad_digest", 400, "/ingress/binary", headers={"repr-digest": "sha-256=abc"}),
    _request("digest_mismatch", 422, "/ingress/binary", headers={"repr-digest": f"sha-256=:{'A' * 43}=:"}),
    _request("method_not_allowed", 405, method="PUT"),
    _request("method_not_built", 501, method="PROPFIND"),
    Case("precondition_failed", 412, _another_object, "If-Match of another object"),
    _request("transfer_coding_not_built", 501, headers={"transfer-encoding": "gzip, chunked"}),
    _request("resumable_upload_not_built", 501, "/ingress/binary", headers={"upload-complete": "?0"}),
    _request("record_too_large", 413, max_record_bytes=5),
    _request("record_too_large", 413, body=b" " * 5000, max_record_bytes=5),
    _request("record_too_large", 413, BOTH, *form(RECORD, FILE), max_record_bytes=5),
    _request("binary_too_large", 413, BOTH, *form(RECORD, FILE), max_binary_bytes=3),
    _request("atomic_body_too_large", 413, ATOMIC, GOOD + b"\n" + GOOD, NDJSON, atomic_records=1),
    _request("shipment_too_large", 413, "/shipments?schema=note", b"{}\n{}", NDJSON, shipment_files=1),
    _request("reject_not_found", 404, "/rejects/2b8bfe6b-84ab-4d8f-8bab-a27a8fb5a435/resend", b"{}"),
    _request("shipment_not_found", 404, "/shipments/2b8bfe6b-84ab-4d8f-8bab-a27a8fb5a435/complete", b"", NDJSON),
    _request("atomic_body_too_large", 413, ATOMIC, b"\n" * 2000, NDJSON, atomic_bytes=1024),
    _request("line_too_long", 413, body=b"x" * 5000, kind=NDJSON, max_record_bytes=5),
    _request("unsupported_media_type", 415, kind="text/csv"),
    _request("unsupported_media_type", 415, BOTH),
    _request("record_rejected", 422, body=b"{}", pointer="/title"),
    _request("record_rejected", 422, body=b'{"title": "a", "tags": ["b", 3]}', pointer="/tags/1"),
    _request("record_rejected", 422, body=b'{"title": "a", "a/b~": 1}', pointer="/a~1b~0"),
    _request("record_rejected", 422, BOTH, *form(("record", b'{"title": 1}', None, None), FILE), pointer="/title"),
    _request("record_rejected", 422, body=b'{"title": "a", "tags": [[]]}', pointer="", max_depth=2),
    _request("body_rejected", 422, ATOMIC, GOOD + b"\n{}", NDJSON),
    _request("promise_not_atomic", 422, ATOMIC, b'{"title": "a", "__resource_path__": "%b"}' % UNKNOWN.encode(), NDJSON),
    _request("bad_parameter", 400, ATOMIC),
    _request("resource_not_a_promise", 422, body=b'{"title": "a", "__resource_path__": "photo.jpg"}'),
    _request("bad_place", 422, BOTH, *form(("record", b'{"title": "a", "__resource_path__": "../x"}', None, None), FILE)),
    _request("malformed_encoding", 400, headers={"content-encoding": "gzip"}),
    _request("malformed_encoding", 400, body=gzip.compress(GOOD, mtime=0)[:-4], headers={"content-encoding": "gzip"}),
    _request("body_too_large", 413, body=gzip.compress(bytes(99_999), mtime=0), headers={"content-encoding": "gzip"}, max_inflated=70_000),
    _request("bad_idempotency_key", 400, headers={"idempotency-key": "one, two"}),
    _request("idempotent_too_large", 413, headers={"idempotency-key": "1"}, idempotent_bytes=4),
]  # fmt: skip


@provokes("idempotency_key_reused", 422)
async def a_key_used_for_two_records(folder: Path) -> Answer:
    async with embedded(folder) as gateway:
        await gateway.post(RECORDS, GOOD, headers={"idempotency-key": "1"})
        return await gateway.post(RECORDS, GOOD + b" ", headers={"idempotency-key": "1"})


@provokes("idempotency_in_flight", 409, "1")
async def two_requests_with_one_key_at_once(folder: Path) -> Answer:
    async with embedded(folder) as gateway:
        both = (gateway.post(RECORDS, GOOD, headers={"idempotency-key": "1"}) for _ in range(2))
        _, late = sorted(await asyncio.gather(*both), key=lambda answer: answer.status)
        return late


@provokes("unauthorized", 401)
async def a_key_that_is_not_known(folder: Path) -> Answer:
    (folder / "keys").write_text(f"museum:{hashlib.sha256(b'right').hexdigest()}")
    async with embedded(folder, api_keys=folder / "keys") as gateway:
        return await gateway.post(RECORDS, GOOD, headers={"authorization": "Bearer wrong"})


@provokes("issuer_unavailable", 503, "5")
async def a_token_of_an_issuer_that_is_not_there(folder: Path) -> Answer:
    async with embedded(folder, oidc_issuer="http://127.0.0.1:1", oidc_audience="inlake") as gateway:
        token = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.e30.AAAA"  # {"alg":"RS256","kid":"a"}
        return await gateway.post(RECORDS, GOOD, headers={"authorization": f"Bearer {token}"})


# ---------------------------------------------------------------------------------------------- a client and its pace
@provokes("request_timeout", 408)
async def a_body_that_stops_coming(folder: Path) -> Answer:
    async with embedded(folder, body_idle_seconds=0.2) as gateway:
        return await gateway.post(RECORDS, [b"{"], stall=True)


@provokes("request_timeout", 408)
async def a_file_that_stops_coming(folder: Path) -> Answer:
    body, kind = form(RECORD, FILE)
    async with embedded(folder, body_idle_seconds=0.2) as gateway:
        answer = await gateway.post(BOTH, [body[:-30]], kind, stall=True)
        assert (await gateway.objects(), await gateway.open_promises()) == ([], [])
        return answer


@provokes("busy", 503, "1")
async def one_request_too_many(folder: Path) -> Answer:
    async with embedded(folder, max_requests=1, body_idle_seconds=0.5) as gateway:
        first = asyncio.create_task(gateway.post(RECORDS, [b"{"], stall=True))
        await asyncio.sleep(0.1)
        answer = await gateway.post(RECORDS, GOOD)
        await first
        return answer


@provokes("quota_exceeded", 429, "60")
async def one_more_than_the_quota(folder: Path) -> Answer:
    async with embedded(folder, quota_principal="requests=1") as gateway:
        assert (await gateway.post(RECORDS, GOOD)).status == 201
        return await gateway.post(RECORDS, GOOD)


@provokes("bad_http", 400)
async def something_else_than_http(folder: Path) -> Answer:
    with serving(folder) as served:
        return _talk(served.url, b"GET\r\n\r\n")


@provokes("headers_too_large", 431)
async def headers_over_the_limit(folder: Path) -> Answer:
    with serving(folder, INLAKE_MAX_REQUEST_LINE="4096") as served:
        return _talk(served.url, b"GET / HTTP/1.1\r\nX: " + b"a" * 4090)


def _talk(url: str, data: bytes) -> Answer:
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=15) as connection:
        connection.sendall(data)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *headers = head.decode().split("\r\n")
    return Answer(int(status.split()[1]), dict(line.split(": ", 1) for line in headers), body)


# ------------------------------------------------------------------------------------------------ binaries and promises
async def _published(gateway: Gateway, place: str | None = None) -> str:
    """The puuid of a binary that was stored and published."""
    record = json.dumps({"title": "a", "__resource_path__": place}).encode()
    answer = await gateway.post(BOTH, *form(("record", record, None, None), FILE))
    assert answer.status == 201, answer.body
    return str(answer.json()["resource"]["puuid"])


@provokes("preview_not_available", 404)
async def a_preview_of_what_is_no_picture(folder: Path) -> Answer:
    async with embedded(folder) as gateway:
        return await gateway.post(f"/resources/{await _published(gateway)}/preview", content_type=None, method="GET")


@provokes("object_not_found", 404)
async def an_object_that_is_not_in_place(folder: Path) -> Answer:
    (folder / "scans").mkdir()
    async with embedded(folder, in_place=f"file:{folder / 'scans'}") as gateway:
        return await gateway.post(f"/in-place?uri=file://{folder}/scans", content_type=None, method="GET")


@provokes("object_changed", 409)
async def an_object_in_place_that_is_written_anew(folder: Path) -> Answer:
    (folder / "scans").mkdir()
    path = folder / "scans" / "a.tif"
    path.write_text("a")
    async with embedded(folder, in_place=f"file:{folder / 'scans'}") as gateway:
        line = json.dumps({"file": {"uri": path.as_uri()}, "record": {"title": "a"}}).encode()
        announced = (await gateway.post("/shipments?schema=note", line, NDJSON)).lines()
        path.write_text("other")
        return await gateway.post(f"/shipments/{announced[-1]['id']}/complete", content_type=None)


@provokes("shipment_expired", 410)
async def a_shipment_that_was_given_up(folder: Path) -> Answer:
    async with embedded(folder) as gateway:
        where = (await _shipment(gateway)).headers["location"]
        assert (await gateway.post(where, b"", None, method="DELETE")).status == 204
        return await gateway.post(f"{where}/complete", b"", None)


@provokes("shipment_busy", 409, "1")
async def a_shipment_that_another_process_completes(folder: Path) -> Answer:
    async with embedded(folder) as gateway:
        announced = await _shipment(gateway)
        name, store = announced.lines()[-1]["id"], gateway.deployment.store
        busy = Completing(owner="elsewhere:1:1", lines=[1], expires=0.0)
        assert await log_of(store, name).add(1, busy)
        return await gateway.post(announced.headers["location"], b"", None, method="DELETE")


async def _shipment(gateway: Gateway) -> Answer:
    file = {"filename": "a", "size": 0, "sha256": hashlib.sha256().hexdigest()}
    body = json.dumps({"file": file, "record": {"title": "a"}}).encode()
    return await gateway.post("/shipments?schema=note", body, NDJSON)


@provokes("reject_mended", 409)
async def a_reject_that_was_sent_again_twice(folder: Path) -> Answer:
    async with embedded(folder) as gateway:
        await gateway.post(RECORDS, b"{}")
        where = await _reject(gateway)
        assert (await gateway.post(where, GOOD)).status == 201
        return await gateway.post(where, GOOD)


@provokes("reject_needs_file", 409)
async def a_reject_that_came_with_a_file(folder: Path) -> Answer:
    async with embedded(folder) as gateway:
        await gateway.post(BOTH, *form(("record", b"{}", None, None), FILE))
        return await gateway.post(await _reject(gateway), GOOD)


async def _reject(gateway: Gateway) -> str:
    (reject,) = (await gateway.post("/rejects", method="GET")).json()["rejects"]
    return f"/rejects/{reject['id']}/resend"


@provokes("promise_used", 409)
async def a_promise_named_a_second_time(folder: Path) -> Answer:
    async with embedded(folder) as gateway:
        record = {"title": "a", "__resource_path__": await _published(gateway)}
        return await gateway.post(RECORDS, json.dumps(record).encode())


@provokes("place_taken", 409)
async def a_place_named_a_second_time(folder: Path) -> Answer:
    async with embedded(folder) as gateway:
        await _published(gateway, "photos/1.jpg")
        record = b'{"title": "b", "__resource_path__": "photos/1.jpg"}'
        return await gateway.post(BOTH, *form(("record", record, None, None), FILE))


@provokes("promise_expired", 410)
async def the_object_of_a_record_that_was_refused(folder: Path) -> Answer:
    async with embedded(folder) as gateway:
        await gateway.post(BOTH, *form(FILE, ("record", b"{}", None, None)))
        (entry, *_) = [key async for key in gateway.deployment.store.list(".inlake/promises/")]
        return await gateway.post(f"/resources/{entry.split('/')[2]}", method="GET")


@provokes("not_found", 404)
async def an_object_that_somebody_took_away(folder: Path) -> Answer:
    async with embedded(folder) as gateway:
        puuid = await _published(gateway, "photos/1.jpg")
        (folder / "store" / "photos" / "1.jpg").unlink()
        return await gateway.post(f"/resources/{puuid}", method="GET")


@provokes("range_not_satisfiable", 416)
async def a_range_beyond_the_end(folder: Path) -> Answer:
    async with embedded(folder) as gateway:
        path = f"/resources/{await _published(gateway)}"
        return await gateway.post(path, method="GET", headers={"range": "bytes=7-"})


@provokes("internal_error", 500)
async def a_promise_whose_log_is_damaged(folder: Path) -> Answer:
    """The one way to a 500 without a fault in the code: somebody wrote into the gateway's own files."""
    async with embedded(folder) as gateway:
        puuid = await _published(gateway)
        (folder / "store" / ".inlake" / "promises" / puuid / "0.json").write_bytes(b"damaged")
        return await gateway.post(f"/resources/{puuid}", method="GET")


# ---------------------------------------------------------------------------------------------------- resumable uploads
TUS = {"tus-resumable": "1.0.0"}
PIECE = "application/offset+octet-stream"
CASES += [
    _request("tus_version_refused", 412, "/uploads", b"", headers={"upload-length": "1"}),
    _request("bad_parameter", 400, "/uploads", b"", headers=TUS),
    _request("binary_too_large", 413, "/uploads", b"", headers={**TUS, "upload-length": "9"}, max_binary_bytes=3),
    _request("promise_not_found", 404, f"/uploads/{UNKNOWN}", b"", method="HEAD", headers=TUS),
    _request("method_not_allowed", 405, f"/uploads/{UNKNOWN}", b"", headers=TUS),
]


def _patch(code: str, status: int, body: bytes = b"abc", kind: str = PIECE, **headers: str) -> Case:
    """A piece for an upload of three bytes."""

    async def provoke(folder: Path) -> Answer:
        async with embedded(folder) as gateway:
            begun = await gateway.post("/uploads", b"", None, headers={**TUS, "upload-length": "3"})
            about = {name.replace("_", "-"): value for name, value in ({"upload_offset": "0"} | headers).items()}
            path = begun.headers["location"]
            return await gateway.post(path, body, kind, method="PATCH", headers=TUS | about)

    return Case(code, status, provoke, f"PATCH {body[:30]!r} {headers}")


CASES += [
    _patch("offset_conflict", 409, b"c", upload_offset="2"),
    _patch("bad_parameter", 400, upload_offset="x"),
    _patch("bad_parameter", 400, upload_checksum="md5 x"),
    _patch("binary_too_large", 413, b"abcd"),
    _patch("unsupported_media_type", 415, kind="application/octet-stream"),
    _patch("checksum_mismatch", 460, b"abd", upload_checksum="sha1 qZk+NkcGgWq6PiVxeFDCbJzQ2J0="),
    _patch("checked_body_too_large", 413, bytes((8 << 20) + 1), upload_checksum="sha1 qZk+NkcGgWq6PiVxeFDCbJzQ2J0="),
]


@provokes("upload_locked", 423, "1")
async def a_piece_that_stands_still_while_another_comes(folder: Path) -> Answer:
    async with embedded(folder) as gateway:
        begun = await gateway.post("/uploads", b"", None, headers={**TUS, "upload-length": "3"})
        path, headers = begun.headers["location"], {**TUS, "upload-offset": "0"}
        still = asyncio.create_task(gateway.post(path, [b"a"], PIECE, method="PATCH", headers=headers, stall=True))
        while not [key async for key in gateway.deployment.store.list(".inlake/leases/")]:
            await asyncio.sleep(0.01)
        await gateway.post(path, b"", None, method="HEAD", headers=TUS)
        return await still


# ------------------------------------------------------------------------------------------ binaries past the gateway
CASES.append(_request("direct_upload_not_available", 501, "/promises", b'{"size": 3}'))


@provokes("wrong_state", 409)
async def a_binary_that_came_through_the_gateway_completed_like_another(folder: Path) -> Answer:
    async with embedded(folder) as gateway:
        puuid = (await gateway.post("/ingress/binary", b"abc", "text/plain")).json()["puuid"]
        return await gateway.post(f"/promises/{puuid}/complete", content_type=None)


@provokes("upload_incomplete", 409)
async def a_binary_that_was_announced_and_never_sent(folder: Path) -> Answer:
    async with _on_s3(folder) as gateway:
        puuid = (await gateway.post("/promises", b'{"size": 3}')).json()["puuid"]
        return await gateway.post(f"/promises/{puuid}/complete", content_type=None)


@provokes("size_mismatch", 422)
async def an_object_of_another_length_than_was_announced(folder: Path) -> Answer:
    """No signed URL lets it through; somebody with keys of their own may put it there."""
    async with _on_s3(folder) as gateway:
        promise = (await gateway.post("/promises", b'{"size": 3}')).json()
        found = await gateway.deployment.gateway.promises.find(promise["puuid"], "anonymous")

        async def longer() -> AsyncIterator[bytes]:
            yield b"abcd"

        await gateway.deployment.store.put(found.key, longer(), content_type="text/plain", metadata={})
        return await gateway.post(f"/promises/{promise['puuid']}/complete", content_type=None)


@provokes("parts_refused", 422)
async def parts_that_are_smaller_than_the_store_takes(folder: Path) -> Answer:
    async with _on_s3(folder) as gateway:
        direct = gateway.deployment.direct
        offer = await direct.announce("a", "text/plain", "anonymous", Plan(size=6, part_size=3), None)
        for _, _, part in offer.parts:
            answer = await asyncio.to_thread(requests.put, part.url, b"abc", headers=part.headers, timeout=20)
            assert answer.status_code == 200
        return await gateway.post(f"/promises/{offer.promise.puuid}/complete", content_type=None)


def _on_s3(folder: Path) -> AbstractAsyncContextManager[Gateway]:
    require("The S3 server", S3_ENDPOINT)
    keys = {"AWS_ACCESS_KEY_ID": AWS_ACCESS_KEY_ID, "AWS_SECRET_ACCESS_KEY": AWS_SECRET_ACCESS_KEY}
    place = {"AWS_ENDPOINT_URL_S3": S3_ENDPOINT, "AWS_REGION": S3_REGION}
    return embedded(folder, store=f"s3://{S3_BUCKET}/test-errors-{uuid4()}", **keys, **place)


# --------------------------------------------------------------------------------------------------------------- schemas
@provokes("invalid_schema", 422)
async def a_schema_that_somebody_broke(folder: Path) -> Answer:
    async with embedded(folder) as gateway:
        (folder / "schemas" / "broken.avsc").write_text('{"type": "record"}')
        return await gateway.post("/ingress/record-json?schema=broken", GOOD)


@provokes("unprocessable", 422)
async def a_schema_whose_every_record_is_huge(folder: Path) -> Answer:
    schema: dict[str, object] = {"type": "record", "name": "R0", "fields": []}
    for n in range(1, 30):  # each holds the one before twice
        fields = [{"name": "a", "type": schema}, {"name": "b", "type": f"R{n - 1}"}]
        schema = {"type": "record", "name": f"R{n}", "fields": fields}
    async with embedded(folder) as gateway:
        await gateway.register("huge", schema)
        return await gateway.post("/schemas/huge", method="GET")


@provokes("no_resource_field", 422)
async def a_binary_for_a_schema_without_the_field(folder: Path) -> Answer:
    async with embedded(folder) as gateway:
        await gateway.register("bare", {**NOTE, "fields": NOTE["fields"][:1]})
        return await gateway.post(BOTH.replace("note", "bare"), *form(RECORD, FILE))


XSD = {"subject": "note", "version": 1, "id": 1, "schema": "<schema/>", "schemaType": "XSD"}


@provokes("format_not_built", 501)
async def a_schema_in_another_language(folder: Path) -> Answer:
    async with (
        _registry(200, XSD) as url,
        embedded(folder, registry=url) as gateway,
    ):
        return await gateway.post(RECORDS, GOOD)


@provokes("registry_unavailable", 503, "5")
async def no_registry(folder: Path) -> Answer:
    async with embedded(folder, registry=f"http://{NOBODY}") as gateway:
        return await gateway.post(RECORDS, GOOD)


@provokes("registry_unavailable", 503, "5")
async def a_registry_with_a_fault(folder: Path) -> Answer:
    async with _registry(500, {"message": "no leader"}) as url, embedded(folder, registry=url) as gateway:
        return await gateway.post(BOTH, *form(RECORD, FILE))


@provokes("registry_refused", 503, "30")
async def a_registry_that_wants_other_credentials(folder: Path) -> Answer:
    async with _registry(401, {"message": "who?"}) as url, embedded(folder, registry=url) as gateway:
        return await gateway.post("/schemas/note", method="GET")


@provokes("schema_changed", 503, "60")
async def an_id_that_has_another_text_now(folder: Path) -> Answer:
    found = {"subject": "note", "version": 1, "id": 7, "schema": '"string"'}
    async with (
        _registry(200, found) as first,
        _registry(200, found | {"schema": '"int"'}) as second,
        embedded(folder, registry=first, registry_latest_seconds="0") as gateway,
    ):
        assert (await gateway.post(RECORDS, b'"a"')).status == 201
        gateway.deployment.gateway.codecs.registry = connect_registry(load({"INLAKE_REGISTRY": second}))  # type: ignore[attr-defined]
        return await gateway.post(RECORDS, b'"a"')


@asynccontextmanager
async def _registry(status: int, body: object) -> AsyncIterator[str]:
    """The address of a registry that has one answer for everything."""
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"{head}connection: close\r\n\r\n".encode() + data)
        await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    listening.close()


# -------------------------------------------------------------------------------------------------------- bus and store
@provokes("bus_unavailable", 503, "5")
async def no_kafka(folder: Path) -> Answer:
    async with embedded(folder, bus=f"kafka://{NOBODY}", bus_timeout=1) as gateway:
        return await gateway.post(RECORDS, GOOD)


@provokes("bus_unavailable", 503, "5")
async def an_event_log_in_a_folder_that_is_a_file(folder: Path) -> Answer:
    (folder / "file").write_text("")
    async with embedded(folder, bus=f"sqlite:{folder}/file/events.db") as gateway:
        return await gateway.post(RECORDS, GOOD)


@provokes("outcome_unknown", 503, "5")
async def a_binary_whose_event_waits_for_the_bus(folder: Path) -> Answer:
    (folder / "file").write_text("")
    async with embedded(folder, bus=f"sqlite:{folder}/file/events.db") as gateway:
        answer = await gateway.post(BOTH, *form(RECORD, FILE))
        assert len(await gateway.open_promises()) == 1, "it is kept, and the answer says so"
        return answer


@provokes("topic_missing", 503, "30")
async def no_topic(folder: Path) -> Answer:
    require("Kafka", KAFKA_BOOTSTRAP)
    async with embedded(folder, bus=f"kafka://{KAFKA_BOOTSTRAP}", topic=f"{uuid4()}.{{schema}}") as gateway:
        return await gateway.post(RECORDS, GOOD)


@provokes("outcome_unknown", 503, "5")
async def a_kafka_that_falls_silent(folder: Path) -> Answer:
    require("Kafka", KAFKA_BOOTSTRAP)
    silence = asyncio.Event()
    topic = f"{uuid4()}.{{schema}}"
    async with (
        _wire_to_kafka(silence) as address,
        embedded(folder, bus=f"kafka://{address}", bus_timeout=2, topic=topic, kafka_create_topics=True) as gateway,
    ):
        assert (await gateway.post(RECORDS, GOOD)).status == 201
        silence.set()
        return await gateway.post(RECORDS, GOOD)


@asynccontextmanager
async def _wire_to_kafka(silence: asyncio.Event) -> AsyncIterator[str]:
    """An address that leads to the real broker, which is made to name this address as its own; no answer passes once
    there is silence."""
    host, _, port = KAFKA_BOOTSTRAP.rpartition(":")
    theirs = host.encode() + int(port).to_bytes(4, "big")
    ours, running = b"", list[asyncio.Task[None]]()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool) -> None:
        with closing(writer), suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(4)
                frame = await reader.readexactly(int.from_bytes(head, "big"))
                if not (answers and silence.is_set()):
                    writer.write(head + (frame.replace(theirs, ours) if answers else frame))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kafka_reader, kafka_writer = await asyncio.open_connection(host, int(port))
        ways = [forward(reader, kafka_writer, False), forward(kafka_reader, writer, True)]
        running.extend(map(asyncio.create_task, ways))

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    number = listening.sockets[0].getsockname()[1]
    ours = host.encode() + int(number).to_bytes(4, "big")
    yield f"127.0.0.1:{number}"
    listening.close()
    for way in running:
        way.cancel()
    await asyncio.wait(running)


@provokes("shutting_down", 503, "5")
async def a_gateway_that_stops(folder: Path) -> Answer:
    async with embedded(folder) as gateway:
        await gateway.deployment.bus.close()
        return await gateway.post(RECORDS, GOOD)


@provokes("store_unavailable", 503, "5")
async def a_store_in_a_folder_that_is_a_file(folder: Path) -> Answer:
    (folder / "file").write_text("")
    async with embedded(folder, store=f"file:{folder}/file/store") as gateway:
        answer = await gateway.post(BOTH, *form(RECORD, FILE))
        assert await gateway.events() == []
        return answer


@provokes("store_unavailable", 503, "5")
async def no_s3(folder: Path) -> Answer:
    s3 = {"AWS_ENDPOINT_URL": f"http://{NOBODY}", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    async with embedded(folder, store="s3://bucket", store_timeout=1, **s3) as gateway:
        return await gateway.post(BOTH, *form(RECORD, FILE))


@provokes("out_of_space", 507, "60")
async def a_full_disk_under_the_store(folder: Path) -> Answer:
    with _small_disk(folder / "disk"):
        async with embedded(folder, store=f"file:{folder}/disk/store") as gateway:
            answer = await gateway.post(BOTH, *form(RECORD, ("file", bytes(3 << 20), "a.bin", None)))
            assert await gateway.objects() == []
            assert (await gateway.post(BOTH, *form(RECORD, FILE))).status == 201, "what fits is taken"
            return answer


@provokes("out_of_space", 507, "60")
async def a_full_disk_under_the_event_log(folder: Path) -> Answer:
    with _small_disk(folder / "disk"):
        async with embedded(folder, bus=f"sqlite:{folder}/disk/events.db") as gateway:
            filler = folder / "disk" / "filler"
            assert (await gateway.post(RECORDS, GOOD)).status == 201
            filler.write_bytes(bytes(os.statvfs(folder / "disk").f_bavail * 4096 - 100_000))
            answer = await gateway.post(RECORDS, json.dumps({"title": "a" * 500_000}).encode())
            filler.unlink()
            assert (await gateway.post(RECORDS, GOOD)).status == 201, "it goes on when there is room"
            assert len(await gateway.events()) == 2
            return answer


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    """A disk of 2 MiB in memory; only root may make one."""
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True)
    if done.returncode:
        pytest.skip(f"no right to mount: {done.stderr.decode()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


# ----------------------------------------------------------------------------------------------------------------- tests
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.code}: {case.name}")
async def test_the_answer_says_what_is_documented(case: Case, tmp_path: Path) -> None:
    answer = await case.provoke(tmp_path)
    if answer.headers["content-type"] == NDJSON:
        problem = answer.lines()[0]
    else:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert set(problem) >= {"type", "title", "status", "detail", "instance", "code"}
        assert problem["type"] == f"/docs/errors#{case.code}"
    assert (answer.status, problem["status"], problem["code"]) == (case.status, case.status, case.code)
    assert answer.headers.get("retry-after") == case.retry_after
    if case.pointer is not None:
        assert [error["pointer"] for error in problem["errors"]] == [case.pointer]
    assert "Traceback" not in answer.body.decode()


def test_every_code_is_provoked() -> None:
    assert {case.code for case in CASES} == {error.code for error in every_error()} - FAMILIES


def test_a_retry_is_advised_wherever_it_may_help() -> None:
    for error in every_error():
        passing = error.status in {503, 507} or error.code in {
            "idempotency_in_flight",
            "quota_exceeded",
            "shipment_busy",
            "upload_locked",
        }
        assert (error.retry_after is not None) == passing, error.code
