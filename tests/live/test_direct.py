"""Binaries that go past the gateway to a real S3 server, sent by curl, requests and boto3 with what the gateway signed."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import boto3
import pytest
import requests
from jsonschema_rs import validator_for

from inlake.promises.direct import PAGE, SMALLEST_PART
from tests.gateways import Answer, Gateway, embedded
from tests.live_servers import (
    AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY,
    S3_BUCKET,
    S3_ENDPOINT,
    S3_REGION,
    TOXIPROXY_URL,
    require,
)
from tests.toxiproxy import proxy_to

pytestmark = pytest.mark.live
SPOT = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"
WHOLE = os.urandom(2 * SMALLEST_PART + 12_345)
PARTS = [WHOLE[at : at + SMALLEST_PART] for at in range(0, len(WHOLE), SMALLEST_PART)]


def hex_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@asynccontextmanager
async def on_s3(folder: Path, **settings: object) -> AsyncIterator[Gateway]:
    """A gateway whose binaries go to a prefix of its own on the real S3 server, which is empty again at the end."""
    require("The S3 server", S3_ENDPOINT)
    aws = {
        "AWS_ENDPOINT_URL_S3": S3_ENDPOINT,
        "AWS_REGION": S3_REGION,
        "AWS_ACCESS_KEY_ID": AWS_ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": AWS_SECRET_ACCESS_KEY,
    }
    async with embedded(folder, store=f"s3://{S3_BUCKET}/test-direct-{uuid4()}", **{**aws, **settings}) as gateway:
        yield gateway
        store = gateway.deployment.store
        async for key in store.list(""):
            await store.delete(key)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with on_s3(tmp_path) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def s3() -> Any:
    return boto3.client(
        "s3",
        endpoint_url=S3_ENDPOINT,
        region_name=S3_REGION,
        aws_access_key_id=AWS_ACCESS_KEY_ID,
        aws_secret_access_key=AWS_SECRET_ACCESS_KEY,
    )


async def announce(gateway: Gateway, **body: Any) -> Any:
    answer = await gateway.post("/promises", json.dumps(body).encode())
    assert answer.status == 201, answer.body
    return answer.json()


async def put(signed: Any, data: bytes) -> int:
    """By requests; the status that the store answers."""

    def send() -> int:
        return requests.request(
            signed["method"], signed["url"], data=data, headers=signed["headers"], timeout=20
        ).status_code

    return await asyncio.to_thread(send)


async def curl(signed: Any, file: Path) -> int:
    headers = [text for name, value in signed["headers"].items() for text in ("-H", f"{name}: {value}")]
    command = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-T", file, *headers, signed["url"]]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True, timeout=20)
    return int(done.stdout)


async def complete(gateway: Gateway, promise: Any) -> Answer:
    return await gateway.post(f"/promises/{promise['puuid']}/complete", content_type=None)


async def claim(gateway: Gateway, promise: Any) -> Answer:
    record = {"title": "Spot", "__resource_path__": promise["puuid"]}
    return await gateway.post("/ingress/record-json?schema=note", json.dumps(record).encode())


async def sha256_of_events(gateway: Gateway) -> list[str]:
    return [dict(event.headers)["inlake_resource_sha256"].decode() for event in await gateway.events()]


# ---------------------------------------------------------------------------------------------------------- in one PUT
@pytest.mark.parametrize("sha256", [None, hex_of(SPOT), b64encode(hashlib.sha256(SPOT).digest()).decode()])
async def test_one_put_by_curl_is_checked_claimed_and_published(
    gateway: Gateway, tmp_path: Path, sha256: str | None
) -> None:
    file = tmp_path / "spot.obj"
    file.write_bytes(SPOT)
    about = {"filename": "spöt 1.obj", "size": len(SPOT), "content_type": "model/obj"}
    promise = await announce(gateway, **about, **({"sha256": sha256} if sha256 else {}))
    early = await complete(gateway, promise)
    assert (early.status, early.json()["code"]) == (409, "upload_incomplete")
    assert await curl(promise["put"], file) == 200

    answer = await complete(gateway, promise)
    assert answer.status == 200, answer.body
    shown = answer.json()
    assert (shown["state"], shown["size"], shown["sha256"]) == ("stored", len(SPOT), hex_of(SPOT))
    assert (await complete(gateway, promise)).json() == shown

    receipt = (await claim(gateway, promise)).json()
    assert receipt["resource"]["sha256"] == hex_of(SPOT)
    assert await sha256_of_events(gateway) == [hex_of(SPOT)]
    got = await gateway.post(f"/resources/{promise['puuid']}", method="GET")
    assert (got.body, got.headers["content-type"]) == (SPOT, "model/obj")
    again = await complete(gateway, promise)
    assert (again.status, again.json()["state"]) == (200, "published")
    assert await gateway.open_promises() == []


async def test_a_put_works_once_and_lets_through_only_what_was_announced(gateway: Gateway) -> None:
    promise = await announce(gateway, size=len(SPOT), sha256=hex_of(SPOT))
    for wrong, why in ((SPOT + b"#", "too large"), (SPOT[:-1], "too small"), (SPOT[:-1] + b"#", "other bytes")):
        assert await put(promise["put"], wrong) in {400, 403}, why
        assert (await complete(gateway, promise)).json()["code"] == "upload_incomplete"
    assert await put(promise["put"], SPOT) == 200
    assert (await complete(gateway, promise)).json()["sha256"] == hex_of(SPOT)
    assert await put(promise["put"], SPOT) == 412
    other = {**promise["put"], "headers": {**promise["put"]["headers"], "content-type": "text/html"}}
    assert await put(other, SPOT) == 403
    del other["headers"]["if-none-match"]
    assert await put(other, SPOT) == 403


async def test_a_file_of_no_bytes_is_a_file(gateway: Gateway) -> None:
    promise = await announce(gateway, size=0, parts=True)
    assert await put(promise["put"], b"") == 200
    assert (await complete(gateway, promise)).json()["sha256"] == hex_of(b"")


# ------------------------------------------------------------------------------------------------------------ in parts
@pytest.mark.parametrize("checksums", [True, False])
async def test_parts_in_any_order_some_sent_twice_make_the_file(
    gateway: Gateway, tmp_path: Path, s3: Any, checksums: bool
) -> None:
    parts = [hex_of(part) for part in PARTS] if checksums else True
    promise = await announce(gateway, size=len(WHOLE), sha256=hex_of(WHOLE), parts=parts, part_size=SMALLEST_PART)
    first, second, third = promise["parts"]
    assert [part["size"] for part in promise["parts"]] == [len(part) for part in PARTS]
    assert promise["next"] is None
    assert await put(third, PARTS[2]) == 200
    assert await put(first, PARTS[0]) == 200
    (tmp_path / "part").write_bytes(PARTS[0])
    assert await curl(first, tmp_path / "part") == 200

    shown = (await gateway.post(f"/promises/{promise['puuid']}", method="GET")).json()
    assert [part["number"] for part in shown["parts_done"]] == [1, 3]
    assert shown["received"] == len(PARTS[0]) + len(PARTS[2])
    missing = await complete(gateway, promise)
    assert (missing.status, missing.json()["code"], missing.json()["missing"]) == (409, "upload_incomplete", [2])

    # boto3 with keys of its own, into the same upload
    url = urlsplit(second["url"])
    checksum = {"ChecksumSHA256": b64encode(hashlib.sha256(PARTS[1]).digest()).decode()} if checksums else {}
    key = url.path.removeprefix(f"/{S3_BUCKET}/")
    upload = parse_qs(url.query)["uploadId"][0]
    await asyncio.to_thread(
        s3.upload_part, Bucket=S3_BUCKET, Key=key, UploadId=upload, PartNumber=2, Body=PARTS[1], **checksum
    )

    answers = await asyncio.gather(complete(gateway, promise), complete(gateway, promise))
    assert [answer.status for answer in answers] == [200, 200], [answer.body for answer in answers]
    assert answers[0].json()["sha256"] == hex_of(WHOLE)
    assert (await complete(gateway, promise)).status == 200
    assert await put(second, PARTS[1]) == 404, "the upload is over"
    assert (await claim(gateway, promise)).status == 201
    assert await sha256_of_events(gateway) == [hex_of(WHOLE)]
    assert (await gateway.post(f"/resources/{promise['puuid']}", method="GET")).body == WHOLE


async def test_a_corrupted_part_is_refused_by_the_store_when_its_checksum_was_announced(gateway: Gateway) -> None:
    sums = [b64encode(hashlib.sha256(part).digest()).decode() for part in PARTS]
    promise = await announce(gateway, size=len(WHOLE), parts=sums, part_size=SMALLEST_PART)
    assert await put(promise["parts"][0], PARTS[1]) == 400
    assert await put(promise["parts"][0], PARTS[0] + b"#") == 403
    assert await put(promise["parts"][2], PARTS[2][:-1]) == 403
    assert (await complete(gateway, promise)).json()["missing"] == [1, 2, 3]


async def test_a_corrupted_part_without_a_checksum_never_becomes_an_event(gateway: Gateway) -> None:
    promise = await announce(gateway, size=len(WHOLE), sha256=hex_of(WHOLE), parts=True, part_size=SMALLEST_PART)
    waiting = await claim(gateway, promise)
    assert waiting.status == 202, waiting.body
    for part, data in zip(promise["parts"], [PARTS[1], PARTS[0], PARTS[2]], strict=True):
        assert await put(part, data) == 200
    answer = await complete(gateway, promise)
    assert (answer.status, answer.json()["code"]) == (422, "digest_mismatch")
    assert answer.json()["found"] == hex_of(PARTS[1] + PARTS[0] + PARTS[2])
    assert (await complete(gateway, promise)).status == 410
    assert await gateway.events() == []
    assert await gateway.objects() == []


async def test_an_upload_that_was_put_together_before_a_crash_is_completed_later(gateway: Gateway) -> None:
    promise = await announce(gateway, size=len(SPOT), parts=True)
    assert (await put(promise["parts"][0], SPOT)) == 200
    store, found = (
        gateway.deployment.store,
        await gateway.deployment.gateway.promises.find(promise["puuid"], "anonymous"),
    )
    assert found.upload
    assert store.direct
    await store.direct.complete(found.key, found.upload, await store.direct.parts(found.key, found.upload))
    assert (await complete(gateway, promise)).json()["sha256"] == hex_of(SPOT)


async def test_the_urls_of_many_parts_come_in_pages_and_again(gateway: Gateway) -> None:
    count = PAGE + 2
    promise = await announce(gateway, size=(count - 1) * SMALLEST_PART + 1, part_size=SMALLEST_PART)
    assert (promise["part_count"], len(promise["parts"])) == (count, PAGE)
    page = (await gateway.post(promise["next"], method="GET")).json()
    assert [part["number"] for part in page["parts"]] == [PAGE + 1, PAGE + 2]
    assert page["next"] is None
    assert await put(page["parts"][-1], b"#") == 200
    later = (await gateway.post(promise["next"], method="GET")).json()
    assert later["received"] == 1
    assert later["expires_at"] >= promise["expires_at"]


async def test_what_is_stored_is_read_from_the_store_by_a_signed_url(tmp_path: Path) -> None:
    async with on_s3(tmp_path, resource_redirect=True) as gateway:
        promise = await announce(gateway, size=len(SPOT), filename="spöt 1.html", content_type="text/html")
        assert await put(promise["put"], SPOT) == 200
        assert (await complete(gateway, promise)).status == 200
        path = f"/resources/{promise['puuid']}"
        found = await gateway.post(path, method="GET")
        assert (found.status, found.headers["cache-control"]) == (307, "no-store")

        def read(**headers: str) -> requests.Response:
            return requests.get(found.headers["location"], headers=headers, timeout=20)

        answer = await asyncio.to_thread(read)
        assert (answer.content, answer.headers["content-type"]) == (SPOT, "text/html")
        assert answer.headers["content-disposition"] == (
            "attachment; filename=\"sp_t 1.html\"; filename*=UTF-8''sp%C3%B6t%201.html"
        )
        assert (await asyncio.to_thread(read, range="bytes=2-5")).content == SPOT[2:6]
        assert (await asyncio.to_thread(requests.head, found.headers["location"], timeout=20)).status_code == 403
        head = await gateway.post(path, method="HEAD")
        assert (head.status, head.headers["content-length"]) == (200, str(len(SPOT))), "a URL is signed for one method"


async def test_the_answers_have_their_documented_shapes(gateway: Gateway) -> None:
    components = (await gateway.post("/openapi.json", method="GET")).json()["components"]

    def fits(value: Any, shape: str) -> None:
        validator_for({"$ref": f"#/components/schemas/{shape}", "components": components}).validate(value)

    fits(await announce(gateway, size=3, sha256=hex_of(b"abc")), "DirectUpload")
    promise = await announce(gateway, size=3, parts=[hex_of(b"abc")])
    fits(promise, "DirectUpload")
    assert await put(promise["parts"][0], b"abc") == 200
    fits((await gateway.post(f"/promises/{promise['puuid']}/parts", method="GET")).json(), "DirectUpload")
    shown = (await gateway.post(f"/promises/{promise['puuid']}", method="GET")).json()
    assert len(shown["parts_done"]) == 1
    fits(shown, "Promise")
    fits((await complete(gateway, promise)).json(), "Promise")


# ------------------------------------------------------------------------------------------- the record first, and the end
async def test_a_record_that_came_first_is_published_when_its_binary_is_complete(gateway: Gateway) -> None:
    promise = await announce(gateway, size=len(SPOT), filename="spot.obj")
    waiting = await claim(gateway, promise)
    assert (waiting.status, waiting.headers["location"]) == (202, f"/promises/{promise['puuid']}")
    assert await put(promise["put"], SPOT) == 200
    answers = await asyncio.gather(*(complete(gateway, promise) for _ in range(4)))
    assert {answer.status for answer in answers} == {200}
    assert await sha256_of_events(gateway) == [hex_of(SPOT)]


async def test_nothing_outlives_its_promise(tmp_path: Path, s3: Any) -> None:
    async with on_s3(tmp_path, promise_seconds=3, upload_timeout=0.05) as gateway:
        one = await announce(gateway, size=len(SPOT))
        parts = await announce(gateway, size=len(SPOT), parts=True)
        given_up = await announce(gateway, size=len(SPOT))
        assert await put(parts["parts"][0], SPOT) == 200
        assert (await gateway.post(f"/promises/{given_up['puuid']}", method="DELETE")).status == 204
        assert await put(given_up["put"], SPOT) == 200, "a signed URL cannot be taken back"
        upload = parse_qs(urlsplit(parts["parts"][0]["url"]).query)["uploadId"][0]
        await asyncio.sleep(3.2)  # the clock itself is what is waited for
        assert await put(one["put"], SPOT) == 403
        assert await put(parts["parts"][0], SPOT) == 403
        for promise in (one, parts, given_up):
            answer = await complete(gateway, promise)
            assert (answer.status, answer.json()["code"]) == (410, "promise_expired")
        await gateway.deployment.sweep.run()
        assert await gateway.objects() == []
        assert await gateway.events() == []
        key = urlsplit(parts["parts"][0]["url"]).path.removeprefix(f"/{S3_BUCKET}/")
        found = await asyncio.to_thread(s3.list_multipart_uploads, Bucket=S3_BUCKET, Prefix=key)
        assert upload not in [each["UploadId"] for each in found.get("Uploads", [])]
        assert (await gateway.post(f"/promises/{one['puuid']}/parts", method="GET")).status == 410


async def test_a_promise_is_its_principals_and_of_its_way(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"ann:{hex_of(b'a')}\nbob:{hex_of(b'b')}\n")
    async with on_s3(tmp_path, api_keys=keys) as gateway:
        body = json.dumps({"size": 3}).encode()
        anns, bobs = ({"authorization": f"Bearer {key}"} for key in "ab")
        promise = (await gateway.post("/promises", body, headers=anns)).json()
        assert await put(promise["put"], b"abc") == 200
        path = f"/promises/{promise['puuid']}"
        for method, tail in (("POST", "/complete"), ("GET", "/parts"), ("GET", "")):
            assert (await gateway.post(path + tail, method=method, headers=bobs)).status == 404
        assert (await gateway.post(f"{path}/complete", headers=anns)).status == 200
        late = await gateway.post(f"{path}/parts", method="GET", headers=anns)
        assert (late.status, late.json()["code"]) == (409, "wrong_state")
        other = (await gateway.post("/ingress/binary", b"abc", "text/plain", headers=anns)).json()
        wrong = await gateway.post(f"/promises/{other['puuid']}/complete", headers=anns)
        assert (wrong.status, wrong.json()["code"]) == (409, "wrong_state")


async def test_a_store_that_goes_away_and_comes_back_leaves_the_promise_to_be_completed(tmp_path: Path) -> None:
    """Clients reach the store by its public address, and the gateway by one that breaks."""
    require("toxiproxy", TOXIPROXY_URL)
    with proxy_to(urlsplit(S3_ENDPOINT).netloc) as proxy:
        addresses = {"AWS_ENDPOINT_URL_S3": f"http://{proxy.address}", "store_public_endpoint": S3_ENDPOINT}
        async with on_s3(tmp_path, **addresses, store_timeout=4) as gateway:
            promise = await announce(gateway, size=len(WHOLE), parts=True, part_size=SMALLEST_PART)
            assert promise["parts"][0]["url"].startswith(f"{S3_ENDPOINT}/")
            assert await asyncio.gather(*map(put, promise["parts"], PARTS)) == [200] * 3
            await asyncio.to_thread(proxy.down)
            away = await complete(gateway, promise)
            assert (away.status, away.json()["code"]) == (503, "store_unavailable")
            await asyncio.to_thread(proxy.up)
            await asyncio.to_thread(proxy.poison, "limit_data", bytes=1_000_000)
            assert (await complete(gateway, promise)).status == 503, "cut off while the object is read back"
            await asyncio.to_thread(proxy.heal)
            assert (await complete(gateway, promise)).json()["sha256"] == hex_of(WHOLE)
            assert (await claim(gateway, promise)).status == 201


# --------------------------------------------------------------------------------------------- whatever clients come up with
async def _act(gateway: Gateway, promise: Any, random: Random, told: dict[str, list[int]]) -> None:
    """Something a client may do, sensible or not; `told`: the statuses of what it was answered."""
    match random.choice(["send"] * 5 + ["spoil", "complete", "complete", "claim", "look", "cancel"]):
        case "send" | "spoil" as what:
            (n,) = random.sample(range(len(promise["parts"])), 1) if "parts" in promise else (0,)
            data = (PARTS[0], SPOT)[n] if "parts" in promise else SPOT
            if what == "spoil":
                data = data[:-1] + b"#"
            await put(promise["parts"][n] if "parts" in promise else promise["put"], data)
        case "complete":
            answers = await asyncio.gather(*(complete(gateway, promise) for _ in range(random.choice([1, 1, 3]))))
            told["complete"] += [answer.status for answer in answers]
        case "claim":
            answers = await asyncio.gather(*(claim(gateway, promise) for _ in range(random.choice([1, 1, 3]))))
            told["claim"] += [answer.status for answer in answers]
        case "look":
            await gateway.post(f"/promises/{promise['puuid']}/parts", method="GET")
        case "cancel" if random.random() < 0.2:
            told["cancel"].append((await gateway.post(f"/promises/{promise['puuid']}", method="DELETE")).status)


async def test_no_event_names_other_bytes_whatever_clients_do(tmp_path: Path) -> None:
    """INLAKE_TEST_DIRECT: how many clients; each is made of its number."""
    async with on_s3(tmp_path) as gateway:
        for seed in range(int(os.environ.get("INLAKE_TEST_DIRECT", "4"))):
            random, told = Random(seed), {"complete": [], "claim": [], "cancel": []}  # type: ignore[var-annotated]
            in_parts = random.random() < 0.5
            data = PARTS[0] + SPOT if in_parts else SPOT
            body: dict[str, Any] = {"size": len(data)}
            if in_parts:
                body |= {"part_size": SMALLEST_PART, "parts": random.choice([True, [hex_of(PARTS[0]), hex_of(SPOT)]])}
            if announced := random.random() < 0.5:
                body["sha256"] = hex_of(data)
            promise = await announce(gateway, **body)
            for _ in range(random.randrange(4, 12)):
                await _act(gateway, promise, random, told)

            events = [dict(e.headers) for e in await gateway.events()]
            mine = [e for e in events if e["inlake_puuid"].decode() == promise["puuid"]]
            story = f"seed {seed}: {body} {told}"
            assert {*told["complete"]} <= {200, 409, 410, 422}, story
            assert {*told["claim"]} <= {201, 202, 404, 409, 410}, story
            claimed = sum(status in {201, 202} for status in told["claim"])
            assert len(mine) <= claimed <= 1, story
            if 201 in told["claim"] or (claimed and 200 in told["complete"]):
                assert len(mine) == 1, story
            for event in mine:
                stored = await gateway.post(f"/resources/{promise['puuid']}", method="GET")
                assert event["inlake_resource_sha256"].decode() == hex_of(stored.body), story
                assert int(event["inlake_resource_size"]) == len(stored.body) == len(data), story
                assert not announced or stored.body == data, story
