"""Shipments whose files go past the gateway to a real S3 server, by what the gateway signed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
import requests

from tests.gateways import Answer, Gateway
from tests.live.test_direct import on_s3
from tests.live_servers import AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, S3_BUCKET, S3_ENDPOINT, S3_REGION, require

pytestmark = pytest.mark.live
NDJSON = "application/x-ndjson"


def content(n: int) -> bytes:
    return b"v %d\n" % n * 10


def line(n: int) -> bytes:
    data = content(n)
    file = {"filename": f"{n}.obj", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return json.dumps({"file": {**file, "content_type": "model/obj"}, "record": {"title": f"t{n}"}}).encode()


async def announce(gateway: Gateway, count: int) -> tuple[list[Any], Any]:
    answer = await gateway.post("/shipments?schema=note", b"\n".join(map(line, range(1, count + 1))), NDJSON)
    assert answer.status == 201, answer
    *told, summary = answer.lines()
    return told, summary


def send(told: Any, data: bytes | None = None) -> int:
    put = told["put"]
    body = content(told["line"]) if data is None else data
    return requests.request(put["method"], put["url"], data=body, headers=put["headers"], timeout=30).status_code


async def complete(gateway: Gateway, summary: Any) -> Answer:
    return await gateway.post(f"/shipments/{summary['id']}/complete", b"", None)


async def test_files_go_to_the_store_and_one_call_publishes_all(tmp_path: Path) -> None:
    async with on_s3(tmp_path) as gateway:
        told, summary = await announce(gateway, 12)
        for each in told[:11]:
            assert each["put"]["url"].startswith(S3_ENDPOINT)
            assert send(each) == 200
        assert send(told[0]) == 412, "a URL works once"
        assert send(told[11], b"x" * len(content(12))) in {400, 403}, "other bytes are refused by the store"
        answer = await complete(gateway, summary)
        *lines, last = answer.lines()
        assert [each["status"] for each in lines] == [201] * 11 + [409]
        assert last["state"] == "open"
        found = (await gateway.post(f"/shipments/{summary['id']}?missing=true", b"", None, method="GET")).json()
        assert [each["line"] for each in found["lines"]] == [12]
        assert send({"line": 12, "put": found["lines"][0]["put"]}) == 200
        answer = await complete(gateway, summary)
        assert (answer.status, answer.lines()[-1]["state"]) == (201, "published")
        s3 = boto3.client(
            "s3",
            endpoint_url=S3_ENDPOINT,
            region_name=S3_REGION,
            aws_access_key_id=AWS_ACCESS_KEY_ID,
            aws_secret_access_key=AWS_SECRET_ACCESS_KEY,
        )
        for receipt in answer.lines()[:-1]:
            bucket, _, key = receipt["resource"]["uri"].removeprefix("s3://").partition("/")
            stored = s3.get_object(Bucket=bucket, Key=key)
            body = stored["Body"].read()
            assert hashlib.sha256(body).hexdigest() == receipt["resource"]["sha256"]
            assert stored["ContentType"] == "model/obj"
        events = await gateway.events()
        assert len({dict(event.headers)["ce_id"] for event in events}) == 12


async def test_what_is_given_up_is_deleted_from_the_store(tmp_path: Path) -> None:
    async with on_s3(tmp_path) as gateway:
        told, summary = await announce(gateway, 5)
        for each in told[:4]:
            assert send(each) == 200
        assert len(await gateway.objects()) == 4
        assert (await gateway.post(f"/shipments/{summary['id']}", b"", None, method="DELETE")).status == 204
        assert await gateway.objects() == []
        assert await gateway.events() == []


async def test_where_the_store_is_not_for_clients_files_come_through_the_gateway(tmp_path: Path) -> None:
    async with on_s3(tmp_path, direct="false") as gateway:
        told, summary = await announce(gateway, 3)
        for each in told:
            assert each["put"]["url"].startswith("/shipments/")
            sent = await gateway.post(each["put"]["url"], content(each["line"]), "model/obj", method="PUT")
            assert sent.status == 200, sent
        assert (await complete(gateway, summary)).status == 201


async def test_objects_that_are_in_the_bucket_already_are_named_and_not_copied(tmp_path: Path) -> None:
    prefix = f"in-place/{uuid4()}"
    require("The S3 server", S3_ENDPOINT)
    s3 = boto3.client(
        "s3",
        endpoint_url=S3_ENDPOINT,
        region_name=S3_REGION,
        aws_access_key_id=AWS_ACCESS_KEY_ID,
        aws_secret_access_key=AWS_SECRET_ACCESS_KEY,
    )
    names = {"a 1.tif": b"first", "b\u00e9/2#.tif": b"second"}
    for name, data in names.items():
        s3.put_object(Bucket=S3_BUCKET, Key=f"{prefix}/{name}", Body=data)
    s3.put_object(Bucket=S3_BUCKET, Key=f"{prefix}-other/c.tif", Body=b"third")
    s3.close()
    root = f"s3://{S3_BUCKET}/{prefix}"
    async with on_s3(tmp_path, in_place=root) as gateway:
        *found, last = (await gateway.post(f"/in-place?uri={root}", method="GET")).lines()
        assert (last["objects"], sorted(each["size"] for each in found)) == (2, [5, 6])
        lines = [{"file": {"uri": each["uri"]}, "record": {"title": each["uri"]}} for each in found]
        lines += [{"file": {"uri": f"{root}-other/c.tif"}, "record": {"title": "x"}}]
        lines += [{"file": {"uri": f"{root}/../{prefix.rpartition('/')[2]}-other/c.tif"}, "record": {"title": "x"}}]
        body = b"\n".join(json.dumps(line).encode() for line in lines)
        *told, summary = (await gateway.post("/shipments?schema=note", body, NDJSON)).lines()
        assert [each["status"] for each in told] == [202, 202, 403, 403]
        *receipts, last = (await complete(gateway, summary)).lines()
        assert {each["resource"]["filename"]: each["resource"]["sha256"] for each in receipts} == {
            name.rpartition("/")[2]: hashlib.sha256(data).hexdigest() for name, data in names.items()
        }
        assert await gateway.objects() == []
        for receipt in receipts:
            got = await gateway.post(f"/resources/{receipt['resource']['puuid']}", method="GET")
            assert hashlib.sha256(got.body).hexdigest() == receipt["resource"]["sha256"]
