"""A binary and its record in requests of their own, in either order: the promise, the claim, and what ends it."""

from __future__ import annotations

import asyncio
import hashlib
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka.schema_registry import Schema

from inlake.promises.entries import Promised, Tus
from inlake.promises.promise import Promise
from inlake.promises.steps import Promises
from tests.gateways import NOTE, Answer, Gateway, embedded, form

MESH = b"v 0 0 0\n" * 100_000
SHA256 = hashlib.sha256(MESH).hexdigest()
DIGEST = f"sha-256=:{b64encode(hashlib.sha256(MESH).digest()).decode()}:"
BAD_DIGEST = f"sha-256=:{b64encode(hashlib.sha256(b'other').digest()).decode()}:"
NDJSON = "application/x-ndjson"
Headers = Mapping[str, str]
NONE: Headers = {}
JSON_SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "__resource_path__": {"type": ["string", "null"]}},
}
PROTOBUF = (
    'syntax = "proto3"; message Note { string title = 1; '
    'optional string resource_path = 2 [json_name = "__resource_path__"]; }'
)


async def send(
    gateway: Gateway, body: bytes = MESH, kind: str = "model/obj", query: str = "", headers: Headers = NONE
) -> Answer:
    return await gateway.post(f"/ingress/binary{query}", body, kind, headers=headers)


def naming(resource: str | None, title: str = "Spot") -> bytes:
    return json.dumps({"title": title, "__resource_path__": resource}).encode()


async def claim(gateway: Gateway, resource: str, schema: str = "note", headers: Headers = NONE) -> Answer:
    return await gateway.post(f"/ingress/record-json?schema={schema}", naming(resource), headers=headers)


async def ask(gateway: Gateway, puuid: str, method: str = "GET", headers: Headers = NONE) -> Answer:
    return await gateway.post(f"/promises/{puuid}", b"", None, method=method, headers=headers)


async def announce(gateway: Gateway, filename: str = "spot.obj") -> Promise:
    """A promise whose binary comes by another way than a request, tus or direct, and has not come yet."""
    promises = gateway.deployment.gateway.promises
    return await promises.reserve(promises.new(Promised(filename, "model/obj", Tus(), len(MESH)), "anonymous"))


async def complete(gateway: Gateway, promise: Promise) -> Promise:
    """The binary comes, and another process than the gateway's sees it complete."""
    store = gateway.deployment.store
    other = Promises(store, gateway.deployment.bus, upload_timeout=60, me="elsewhere")

    async def chunks() -> AsyncIterator[bytes]:
        yield MESH

    await store.put(promise.key, chunks(), content_type=promise.announced.content_type, metadata={})
    return await other.fulfil(promise, size=len(MESH), sha256=SHA256)


@asynccontextmanager
async def keyed(folder: Path) -> AsyncIterator[Gateway]:
    """A gateway that knows `ada` and `bob`, whose keys are their names."""
    keys = folder / "keys"
    keys.write_text("".join(f"{name}:{hashlib.sha256(name.encode()).hexdigest()}\n" for name in ("ada", "bob")))
    async with embedded(folder, api_keys=keys) as gateway:
        yield gateway


def key(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {name}"}


# ---------------------------------------------------------------------------------------------- the binary comes first
async def test_a_binary_is_kept_and_a_record_that_names_it_becomes_one_event(gateway: Gateway) -> None:
    answer = await send(gateway, query="?filename=spot.obj")
    promise = answer.json()
    assert (answer.status, promise["state"], promise["size"], promise["sha256"]) == (200, "stored", len(MESH), SHA256)
    assert (promise["content_type"], promise["filename"], promise["receipt"]) == ("model/obj", "spot.obj", None)
    assert promise["expires_at"].endswith("Z")
    claimed = await claim(gateway, promise["puuid"])
    receipt = claimed.json()
    assert (claimed.status, receipt["resource"]["puuid"]) == (201, promise["puuid"])
    assert receipt["resource"]["sha256"] == SHA256
    (event,) = await gateway.events()
    assert event.value is not None
    assert receipt["resource"]["uri"].encode() in event.value
    assert dict(event.headers)["inlake_puuid"].decode() == promise["puuid"]
    told = (await ask(gateway, promise["puuid"])).json()
    assert (told["state"], told["receipt"], told["expires_at"]) == ("published", receipt, None)
    assert await gateway.open_promises() == []


@pytest.mark.parametrize(
    ("kind", "text"), [("AVRO", json.dumps(NOTE)), ("JSON", json.dumps(JSON_SCHEMA)), ("PROTOBUF", PROTOBUF)]
)
async def test_every_schema_language_can_claim(gateway: Gateway, kind: str, text: str) -> None:
    await gateway.deployment.registry.register("other", Schema(text, kind))
    puuid = (await send(gateway, b"v 0 0 0")).json()["puuid"]
    answer = await claim(gateway, f"urn:uuid:{puuid.upper()}", "other")
    assert (answer.status, answer.json()["resource"]["puuid"]) == (201, puuid)
    puuid = (await send(gateway, b"v 1 1 1")).json()["puuid"]
    line, _ = (await gateway.post("/ingress/record-json?schema=other", naming(puuid), NDJSON)).lines()
    assert (line["status"], line["resource"]["puuid"]) == (201, puuid)


async def test_the_tagged_form_and_an_envelope_can_claim(gateway: Gateway) -> None:
    puuids = [(await send(gateway, b"%d" % n)).json()["puuid"] for n in range(2)]
    tagged: dict[str, object] = {"title": "a", "year": None, "tags": [], "__resource_path__": {"string": puuids[0]}}
    answer = await gateway.post(
        "/ingress/record-json?schema=note", json.dumps(tagged).encode(), "application/vnd.apache.avro+json"
    )
    assert answer.status == 201
    envelope = {"key_inlk": "note/d", "content": naming(puuids[1]).decode()}
    answer = await gateway.post("/ingress/record-json", json.dumps(envelope).encode())
    assert (answer.status, answer.json()["key"], answer.json()["resource"]["puuid"]) == (201, "note/d", puuids[1])


async def test_the_second_record_hears_of_the_first_ones_receipt(gateway: Gateway) -> None:
    puuid = (await send(gateway)).json()["puuid"]
    receipt = (await claim(gateway, puuid)).json()
    second = await claim(gateway, puuid)
    assert (second.status, second.json()["code"], second.json()["receipt"]) == (409, "promise_used", receipt)
    assert len(await gateway.events()) == 1


async def test_a_refused_record_leaves_the_promise_to_the_next(gateway: Gateway) -> None:
    puuid = (await send(gateway)).json()["puuid"]
    refused = await gateway.post(
        "/ingress/record-json?schema=note", json.dumps({"title": 3, "__resource_path__": puuid}).encode()
    )
    assert refused.status == 422
    assert (await claim(gateway, puuid)).status == 201


async def test_another_principal_s_promise_is_not_there(tmp_path: Path) -> None:
    async with keyed(tmp_path) as gateway:
        puuid = (await send(gateway, headers=key("ada"))).json()["puuid"]
        for answer in (
            await claim(gateway, puuid, headers=key("bob")),
            await ask(gateway, puuid, headers=key("bob")),
            await ask(gateway, puuid, "DELETE", headers=key("bob")),
        ):
            assert (answer.status, answer.json()["code"]) == (404, "promise_not_found")
        listed = await gateway.post("/promises", b"", None, method="GET", headers=key("bob"))
        assert listed.json() == {"promises": [], "next": None}
        assert (await claim(gateway, puuid, headers=key("ada"))).status == 201
        again = await claim(gateway, puuid, headers=key("bob"))
        assert (again.status, "receipt" in again.json()) == (404, False)


@pytest.mark.parametrize(
    ("resource", "status", "code"),
    [
        ("62a2814e-2481-463c-bb00-a9367dedf24c", 404, "promise_not_found"),
        ("scans/spot.obj", 422, "resource_not_a_promise"),
        ("INSIDE", 422, "resource_not_a_promise"),
        ("https://example.org/spot.obj", 201, None),
    ],
)
async def test_what_a_resource_path_may_name(gateway: Gateway, resource: str, status: int, code: str | None) -> None:
    if resource == "INSIDE":
        resource = gateway.deployment.store.uri(f"objects/{uuid4()}/spot.obj")
    answer = await claim(gateway, resource)
    assert (answer.status, answer.json().get("code")) == (status, code)


# ---------------------------------------------------------------------------------------------- the record comes first
async def test_a_record_may_come_first_and_its_event_goes_out_when_another_process_has_the_binary(
    gateway: Gateway,
) -> None:
    promise = await announce(gateway)
    assert (await ask(gateway, promise.puuid)).json()["state"] == "reserved"
    answer = await claim(gateway, promise.puuid)
    kept = answer.json()
    assert (answer.status, answer.headers["location"]) == (202, f"/promises/{promise.puuid}")
    assert (kept["key"], kept["state"], kept["promise"]) == ("note", "claimed", promise.puuid)
    assert await gateway.events() == []
    told = (await ask(gateway, promise.puuid)).json()
    assert (told["state"], told["received"], told["size"], told["receipt"]) == ("claimed", 0, len(MESH), None)
    await complete(gateway, promise)
    (event,) = await gateway.events()
    assert dict(event.headers)["ce_id"].decode() == kept["id"]
    told = (await ask(gateway, promise.puuid)).json()
    assert (told["state"], told["receipt"]["id"]) == ("published", kept["id"])
    assert await gateway.open_promises() == []
    metrics = (await gateway.post("/metrics", b"", None, method="GET")).body.decode()
    assert 'inlake_records_total{result="pending"} 1' in metrics


async def test_a_record_that_comes_first_is_checked_first(gateway: Gateway) -> None:
    promise = await announce(gateway)
    wrong = json.dumps({"title": 3, "__resource_path__": promise.puuid}).encode()
    assert (await gateway.post("/ingress/record-json?schema=note", wrong)).status == 422
    assert (await ask(gateway, promise.puuid)).json()["state"] == "reserved"


async def test_a_second_record_is_refused_while_the_first_waits(gateway: Gateway) -> None:
    promise = await announce(gateway)
    await claim(gateway, promise.puuid)
    second = await claim(gateway, promise.puuid)
    assert (second.status, second.json()["state"], second.json()["receipt"]) == (409, "claimed", None)


async def test_both_halves_at_the_same_instant_make_one_event(gateway: Gateway) -> None:
    for _ in range(10):
        promise = await announce(gateway)
        answer, _ = await asyncio.gather(claim(gateway, promise.puuid), complete(gateway, promise))
        assert answer.status in {201, 202}
        assert (await ask(gateway, promise.puuid)).json()["state"] == "published"
    assert len(await gateway.events()) == 10


async def test_a_binary_announced_and_sent_along_are_two_things(gateway: Gateway) -> None:
    promise = await announce(gateway)
    body = form(("record", naming(promise.puuid), None, None), ("file", MESH, "spot.obj", None))
    answer = await gateway.post("/ingress/record-json-and-binary?schema=note", *body)
    assert (answer.status, answer.json()["code"]) == (422, "bad_place")


# -------------------------------------------------------------------------------------------------- many in one stream
async def test_each_line_of_a_stream_can_claim_its_own_promise(gateway: Gateway) -> None:
    stored = [(await send(gateway, b"%d" % n)).json()["puuid"] for n in range(3)]
    coming = await announce(gateway)
    resources = [None, stored[0], str(uuid4()), coming.puuid, stored[1], stored[0], None, stored[2], "no promise"]
    body = b"\n".join(naming(resource, f"line {n}") for n, resource in enumerate(resources, 1))
    answer = await gateway.post("/ingress/record-json?schema=note", body, NDJSON)
    *lines, summary = answer.lines()
    assert answer.status == 207
    assert [line["status"] for line in lines] == [201, 201, 404, 202, 201, 409, 201, 201, 422]
    assert lines[5]["code"] == "promise_used"
    assert (lines[3]["promise"], lines[3]["state"]) == (coming.puuid, "claimed")
    assert summary["summary"] == {"accepted": 5, "pending": 1, "rejected": 3, "failed": 0}
    published = [dict(event.headers)["ce_id"].decode() for event in await gateway.events()]
    assert published == [line["id"] for line in lines if line["status"] == 201], "in the order of the stream"
    await complete(gateway, coming)
    assert len(await gateway.events()) == 6


async def test_a_stream_whose_records_all_wait_is_a_202(gateway: Gateway) -> None:
    promises = [await announce(gateway) for _ in range(3)]
    body = b"\n".join(naming(promise.puuid) for promise in promises)
    answer = await gateway.post("/ingress/record-json?schema=note", body, NDJSON)
    assert answer.status == 202
    assert answer.lines()[-1]["summary"]["pending"] == 3


# -------------------------------------------------------------------------------------------------------------- the end
async def test_a_promise_given_up_is_gone_with_its_object(gateway: Gateway) -> None:
    puuid = (await send(gateway)).json()["puuid"]
    assert (await ask(gateway, puuid, "DELETE")).status == 204
    assert await gateway.objects() == []
    for answer in (await ask(gateway, puuid), await claim(gateway, puuid)):
        assert (answer.status, answer.json()["code"]) == (410, "promise_expired")
    assert (await ask(gateway, puuid, "DELETE")).status == 204, "again is no error"
    listed = await gateway.post("/promises", b"", None, method="GET")
    assert listed.json()["promises"] == []


async def test_a_published_promise_cannot_be_given_up(gateway: Gateway) -> None:
    puuid = (await send(gateway)).json()["puuid"]
    receipt = (await claim(gateway, puuid)).json()
    answer = await ask(gateway, puuid, "DELETE")
    assert (answer.status, answer.json()["receipt"]) == (409, receipt)
    assert len(await gateway.objects()) == 1


async def test_a_record_that_waits_can_be_given_up_with_its_promise(gateway: Gateway) -> None:
    promise = await announce(gateway)
    await claim(gateway, promise.puuid)
    assert (await ask(gateway, promise.puuid, "DELETE")).status == 204
    with pytest.raises(Exception, match="cancelled"):
        await complete(gateway, promise)
    assert (await gateway.events(), await gateway.objects()) == ([], [])


async def test_what_nobody_claims_in_time_expires(tmp_path: Path) -> None:
    async with embedded(tmp_path, promise_seconds=0.2) as gateway:
        puuid = (await send(gateway)).json()["puuid"]
        waiting = await announce(gateway)
        await claim(gateway, waiting.puuid)
        await asyncio.sleep(0.3)
        answer = await claim(gateway, puuid)
        assert (answer.status, answer.json()["code"]) == (410, "promise_expired")
        would = [f"{finding.what}" async for finding in gateway.deployment.sweep.findings(dry_run=True)]
        assert would == ["expired", "expired"]
        assert len(await gateway.objects()) == 1, "a dry run does nothing"
        assert dict(await gateway.deployment.sweep.run()) == {"expired": 2}
        assert await gateway.objects() == []
        assert (await ask(gateway, waiting.puuid)).status == 410
        assert await gateway.events() == []


async def test_progress_moves_the_expiry_on(tmp_path: Path) -> None:
    async with embedded(tmp_path, promise_seconds=5) as gateway:
        promises = gateway.deployment.gateway.promises
        promise = await announce(gateway)
        later = await promises.progress(promise, received=4, upload="u1")
        assert later.expires > promise.expires
        told = (await ask(gateway, promise.puuid)).json()
        assert (told["state"], told["received"]) == ("uploading", 4)


async def test_one_s_own_open_promises_are_listed_a_page_at_a_time(tmp_path: Path) -> None:
    async with keyed(tmp_path) as gateway:
        puuids = {(await send(gateway, b"%d" % n, headers=key("ada"))).json()["puuid"] for n in range(5)}
        await send(gateway, headers=key("bob"))
        done = puuids.pop()
        assert (await claim(gateway, done, headers=key("ada"))).status == 201
        found: list[str] = []
        after: str | None = ""
        while after is not None:
            page = await gateway.post(f"/promises?limit=2&after={after}", b"", None, method="GET", headers=key("ada"))
            found += [promise["puuid"] for promise in page.json()["promises"]]
            after = page.json()["next"]
        assert found == sorted(puuids)


async def test_anonymous_clients_of_an_open_gateway_have_no_list(tmp_path: Path) -> None:
    async with embedded(tmp_path, allow_anonymous="true") as gateway:
        answer = await gateway.post("/promises", b"", None, method="GET")
        assert (answer.status, answer.json()["code"]) == (403, "forbidden")


async def test_a_store_that_fails_does_not_tell_the_puuid_of_an_anonymous_client(
    gateway: Gateway, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its puuid is all that an anonymous client has to show, and errors of files name their files."""
    objects = tmp_path / "store" / "objects"
    objects.parent.mkdir(exist_ok=True)
    objects.symlink_to(objects)
    answer = await send(gateway)
    assert (answer.status, answer.json()["code"]) == (503, "store_unavailable")
    (mark,) = await gateway.open_promises()
    puuid = mark.rpartition("/")[2]
    assert puuid[:8] in caplog.text
    assert puuid not in caplog.text + answer.body.decode()


# -------------------------------------------------------------------------------------------------------------- digests
@pytest.mark.parametrize("field", ["Repr-Digest", "Content-Digest"])
async def test_a_digest_is_checked_and_after_a_mismatch_nothing_stays(gateway: Gateway, field: str) -> None:
    assert (await send(gateway, headers={field: f"unixsum=:AAAA:, {DIGEST}"})).status == 200
    unpadded = DIGEST.removesuffix("=:") + ":"
    assert (await send(gateway, headers={field: unpadded})).status == 200, unpadded
    before = await gateway.objects()
    answer = await send(gateway, headers={field: BAD_DIGEST})
    assert (answer.status, answer.json()["code"]) == (422, "digest_mismatch")
    assert await gateway.objects() == before
    assert len(await gateway.open_promises()) == 2


@pytest.mark.parametrize(
    "text", ["", "sha-256", "sha-256=abc", "sha-256=:abc:", "sha-256=:AAAA:", "sha-512=:AAAA:", "SHA-256=:AAAA:", "=::"]
)
async def test_a_digest_that_cannot_be_checked_is_refused(gateway: Gateway, text: str) -> None:
    answer = await send(gateway, headers={"Repr-Digest": text})
    assert (answer.status, answer.json()["code"]) == (400, "bad_digest")


async def test_two_digests_that_contradict_each_other_are_refused(gateway: Gateway) -> None:
    answer = await send(gateway, headers={"Repr-Digest": DIGEST, "Content-Digest": BAD_DIGEST})
    assert (answer.status, answer.json()["code"]) == (400, "bad_digest")


def form_with_digest(digest: str, *, first: bool = False) -> tuple[bytes, str]:
    """A form whose file has a digest in the headers of its part."""
    parts = [("record", b'{"title": "a"}', None, None), ("file", MESH, "spot.obj", "model/obj")]
    body, kind = form(*(parts[::-1] if first else parts))
    return body.replace(b"Content-Type: model/obj", f"Content-Type: model/obj\r\nRepr-Digest: {digest}".encode()), kind


@pytest.mark.parametrize("first", [True, False])
async def test_a_file_in_a_form_has_its_digest_in_its_part(gateway: Gateway, first: bool) -> None:
    path = "/ingress/record-json-and-binary?schema=note"
    assert (await gateway.post(path, *form_with_digest(DIGEST, first=first))).status == 201
    answer = await gateway.post(path, *form_with_digest(BAD_DIGEST, first=first))
    assert (answer.status, answer.json()["code"]) == (422, "digest_mismatch")
    assert (len(await gateway.objects()), len(await gateway.events())) == (1, 1)


@pytest.mark.parametrize("first", [True, False])
async def test_a_digest_in_the_headers_of_a_form_is_that_of_the_form(gateway: Gateway, first: bool) -> None:
    path = "/ingress/record-json-and-binary?schema=note"
    body, kind = form_with_digest(DIGEST, first=first)
    whole = f"sha-256=:{b64encode(hashlib.sha256(body).digest()).decode()}:"
    assert (await gateway.post(path, body, kind, headers={"content-digest": whole})).status == 201
    answer = await gateway.post(path, body, kind, headers={"content-digest": DIGEST})
    assert (answer.status, answer.json()["code"]) == (422, "digest_mismatch")
    assert (len(await gateway.objects()), len(await gateway.events())) == (1, 1)


async def test_an_object_is_answered_with_its_digest(gateway: Gateway) -> None:
    puuid = (await send(gateway)).json()["puuid"]
    whole = await gateway.post(f"/resources/{puuid}", b"", None, method="GET")
    assert (whole.status, whole.body) == (200, MESH)
    assert whole.headers["repr-digest"] == whole.headers["content-digest"] == DIGEST
    part = await gateway.post(f"/resources/{puuid}", b"", None, method="GET", headers={"range": "bytes=0-6"})
    assert (part.status, part.body, part.headers["repr-digest"]) == (206, b"v 0 0 0", DIGEST)
    assert "content-digest" not in part.headers


async def test_an_object_that_is_not_complete_is_not_there_yet(gateway: Gateway) -> None:
    promise = await announce(gateway)
    answer = await gateway.post(f"/resources/{promise.puuid}", b"", None, method="GET")
    assert (answer.status, answer.json()["code"]) == (404, "promise_not_found")


async def test_a_store_that_cannot_sign_sends_the_bytes_in_spite_of_the_setting(tmp_path: Path) -> None:
    async with embedded(tmp_path, resource_redirect="true") as gateway:
        puuid = (await send(gateway)).json()["puuid"]
        assert (await gateway.post(f"/resources/{puuid}", b"", None, method="GET")).body == MESH


# ---------------------------------------------------------------------------------------------- the body of the binary
@pytest.mark.parametrize(
    ("query", "disposition", "filename"),
    [
        ("", 'attachment; filename="spot.obj"', "spot.obj"),
        ("", "attachment; filename=spot.obj", "spot.obj"),
        ("", "attachment; filename=\"spot.obj\"; filename*=UTF-8''sp%C3%B6t.obj", "spöt.obj"),
        ("?filename=sp%C3%B6t.obj", 'attachment; filename="other"', "spöt.obj"),
        ("", "", ""),
    ],
)
async def test_a_binary_has_its_name_from_the_query_or_a_header(
    gateway: Gateway, query: str, disposition: str, filename: str
) -> None:
    promise = (await send(gateway, query=query, headers={"Content-Disposition": disposition})).json()
    assert promise["filename"] == filename


async def test_a_form_with_a_file_is_a_binary_too(gateway: Gateway) -> None:
    body, kind = form(("file", MESH, "spot.obj", "model/obj"))
    promise = (await gateway.post("/ingress/binary", body, kind)).json()
    assert (promise["filename"], promise["content_type"], promise["sha256"]) == ("spot.obj", "model/obj", SHA256)


async def test_what_curl_says_of_any_body_is_no_media_type(gateway: Gateway) -> None:
    promise = (await send(gateway, kind="application/x-www-form-urlencoded")).json()
    assert promise["content_type"] == "application/octet-stream"


async def test_an_empty_binary_is_one(gateway: Gateway) -> None:
    promise = (await send(gateway, b"")).json()
    assert (promise["size"], promise["state"]) == (0, "stored")
    assert (await claim(gateway, promise["puuid"])).status == 201


async def test_a_client_that_vanishes_leaves_nothing(gateway: Gateway) -> None:
    await gateway.post("/ingress/binary", [MESH, MESH], "model/obj", vanish=True)
    assert (await gateway.objects(), await gateway.open_promises()) == ([], [])


async def test_a_binary_that_is_too_large_leaves_nothing(tmp_path: Path) -> None:
    async with embedded(tmp_path, max_binary_bytes=1_000) as gateway:
        for body in (MESH, [MESH[:900], MESH[:900]]):
            answer = await gateway.post("/ingress/binary", body, "model/obj")
            assert (answer.status, answer.json()["code"]) == (413, "binary_too_large")
        assert (await gateway.objects(), await gateway.open_promises()) == ([], [])


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [("?schema=note", {}, 400), ("?filename=a&filename=b", {}, 400), ("", {"Content-Encoding": "gzip"}, 415)],
)
async def test_what_the_route_does_not_take_is_refused(
    gateway: Gateway, query: str, headers: dict[str, str], status: int
) -> None:
    assert (await send(gateway, query=query, headers=headers)).status == status
