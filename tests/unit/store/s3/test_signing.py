"""Presigned URLs, compared byte for byte with those of botocore."""

from __future__ import annotations

import asyncio
import json
import string
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

import boto3
import pytest
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from inlake.errors import DirectUploadNotAvailable, PromiseExpired, StoreUnavailable
from inlake.store.s3.environment import Bucket
from inlake.store.s3.signing import LONGEST, Keys, Presigner, Unsigned, presign
from tests.sts import assume_role, sts_that_refuses

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "a secret/of+tests",
    "AWS_REGION": "eu-central-1",
    "AWS_ENDPOINT_URL_S3": "http://s3.example.org:9000",
}
SHA256 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
KEY = st.text(st.characters(min_codepoint=33, exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda key: not key.startswith("/") and not {"", ".", ".."} & {*key.split("/")}
)
TEXT = st.text(string.printable[:95], max_size=30)
NAMES = st.sampled_from(
    ["content-length", "content-type", "if-none-match", "x-amz-checksum-sha256", "x-amz-meta-puuid", "x-amz-meta-a"]
)
ANSWERS = st.sampled_from(
    ["response-content-type", "response-content-disposition", "partNumber", "uploadId", "a", "a-b"]
)


@given(
    method=st.sampled_from(["PUT", "GET"]),
    key=KEY,
    headers=st.dictionaries(NAMES, TEXT),
    query=st.dictionaries(ANSWERS, st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
    token=st.none() | st.text(string.ascii_letters + "+/=", min_size=1, max_size=40),
    seconds=st.integers(1, LONGEST),
)
def test_the_signature_is_botocores(
    method: str, key: str, headers: dict[str, str], query: dict[str, str], token: str | None, seconds: int
) -> None:
    url = f"https://s3.example.org/bucket/{quote(key, safe='/-_.~')}"
    theirs = AWSRequest(method, url, dict(headers), params=dict(query))
    S3SigV4QueryAuth(Credentials("AKID", "secret", token), "s3", "eu-north-1", expires=seconds).add_auth(theirs)
    at = datetime.strptime(parse_qs(urlsplit(theirs.url).query)["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    keys = Keys("AKID", "secret", token)
    ours = presign(Unsigned(method, url, headers, query), keys, "eu-north-1", seconds=seconds, now=at)
    assert _parsed(ours) == _parsed(theirs.url)


def _parsed(url: str) -> tuple[str, list[tuple[str, str]]]:
    """botocore does not sort what it sends."""
    place = urlsplit(url)
    address = url.partition("?")[0].replace("https://S3.example.org:443/", "https://s3.example.org/")
    return address, sorted(parse_qsl(place.query, keep_blank_values=True))


def _boto3(**environment: str) -> Any:
    merged = {**ENVIRONMENT, **environment}
    virtual = merged.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST") == "true"
    return boto3.client(
        "s3",
        endpoint_url=merged["AWS_ENDPOINT_URL_S3"] or None,
        region_name=merged["AWS_REGION"],
        aws_access_key_id=merged["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=merged["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=merged.get("AWS_SESSION_TOKEN"),
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "virtual" if virtual else "path"},
            request_checksum_calculation="when_required",
            ignore_configured_endpoint_urls=True,  # those of the servers that other tests run with
        ),
    )


PUT = {
    "Key": "p/ä b.jpg",
    "ContentLength": 7,
    "ContentType": "image/jpeg",
    "ChecksumSHA256": SHA256,
    "IfNoneMatch": "*",
}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"AWS_SESSION_TOKEN": "to/ken+="},
        {"AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true"},
        {"AWS_ENDPOINT_URL_S3": "https://S3.example.org:443/"},
        {"AWS_ENDPOINT_URL_S3": "", "AWS_REGION": "ap-south-1"},
        {"AWS_ENDPOINT_URL_S3": "", "AWS_REGION": "ap-south-1", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true"},
    ],
)
async def test_put_part_and_get_are_those_that_boto3_signs(environment: dict[str, str]) -> None:
    presigner = Presigner(Bucket("bucket", "", {**ENVIRONMENT, **environment}))
    headers = {
        "content-length": "7",
        "content-type": "image/jpeg",
        "x-amz-checksum-sha256": SHA256,
        "x-amz-meta-puuid": "1-2",
    }
    disposition = "attachment; filename*=UTF-8''a%20b"
    calls: list[tuple[str, dict[str, Any]]] = [
        ("put_object", {**PUT, "Metadata": {"puuid": "1-2"}}),
        ("upload_part", {"Key": "p/ä b.jpg", "UploadId": "up/load+1", "PartNumber": 3, "ContentLength": 7}),
        ("get_object", {"Key": "p/ä b.jpg", "ResponseContentDisposition": disposition}),
    ]
    client = _boto3(**environment)
    while True:  # both sign with the second of the clock
        at = int(time.time())
        ours = [
            await presigner.put("p/ä b.jpg", headers, at + 90.99),
            await presigner.part("p/ä b.jpg", "up/load+1", 3, {"content-length": "7"}, at + 90.99),
            await presigner.get("p/ä b.jpg", {"content-disposition": disposition}, at + 90.99),
        ]
        seconds = int(parse_qs(urlsplit(ours[0].url).query)["X-Amz-Expires"][0])
        theirs = [
            client.generate_presigned_url(name, {"Bucket": "bucket", **p}, ExpiresIn=seconds) for name, p in calls
        ]
        if int(time.time()) == at:
            break
    assert [_parsed(one.url) for one in ours] == [_parsed(url) for url in theirs]
    assert ours[0].headers == {**{k: v for k, v in headers.items() if k != "content-length"}, "if-none-match": "*"}


async def test_a_url_is_good_until_its_promise_ends_and_never_longer() -> None:
    presigner = Presigner(Bucket("bucket", "", ENVIRONMENT))
    for expires in (time.time() + 1.5, time.time() + 100.9, time.time() + 10 * LONGEST):
        query = parse_qs(urlsplit((await presigner.get("k", {}, expires)).url).query)
        began = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        assert began + int(query["X-Amz-Expires"][0]) <= expires
        assert int(query["X-Amz-Expires"][0]) <= LONGEST
    with pytest.raises(PromiseExpired):
        await presigner.get("k", {}, time.time() + 0.5)


async def test_clients_may_see_the_store_by_another_name() -> None:
    presigner = Presigner(Bucket("bucket", "", ENVIRONMENT), public_endpoint="https://media.museum.example/")
    assert (await presigner.get("k", {}, time.time() + 9)).url.startswith("https://media.museum.example/bucket/k?")


async def test_the_encryption_that_the_gateway_asks_for_is_signed_too() -> None:
    environment = {**ENVIRONMENT, "AWS_SERVER_SIDE_ENCRYPTION": "aws:kms", "AWS_SSE_KMS_KEY_ID": "key-1"}
    signed = await Presigner(Bucket("bucket", "", environment)).put("k", {}, time.time() + 9)
    assert signed.headers == {
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "key-1",
        "if-none-match": "*",
    }


@pytest.mark.parametrize("url", ["s3.example.org", "ftp://s3.example.org", "https://", "https://user@s3.example.org"])
def test_a_public_endpoint_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="no URL of an S3 server"):
        Presigner(Bucket("bucket", "", ENVIRONMENT), public_endpoint=url)


ROLE = {"AWS_REGION": "eu-central-1", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"}


@pytest.fixture
def no_keys(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment of a process on a machine that has a role in place of keys."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return monkeypatch


async def test_without_keys_those_of_the_role_sign(no_keys: pytest.MonkeyPatch) -> None:
    keys = {"AccessKeyId": "ROLE", "SecretAccessKey": "secret", "Token": "to/ken", "Expiration": "2999-01-01T00:00:00Z"}
    body = json.dumps(keys).encode()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        no_keys.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{port}/role")
        signed = await Presigner(Bucket("bucket", "", ROLE)).get("k", {}, time.time() + 9)
    query = parse_qs(urlsplit(signed.url).query)
    assert query["X-Amz-Security-Token"] == ["to/ken"]
    assert query["X-Amz-Credential"][0].startswith("ROLE/")


async def test_a_gateway_without_any_credentials_signs_nothing(no_keys: pytest.MonkeyPatch) -> None:
    with pytest.raises(DirectUploadNotAvailable, match="AWS_ACCESS_KEY_ID"):
        await Presigner(Bucket("bucket", "", ROLE)).keys()


async def test_credentials_that_cannot_be_had_just_now_are_a_503(no_keys: pytest.MonkeyPatch) -> None:
    no_keys.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/role")
    with pytest.raises(StoreUnavailable):
        await Presigner(Bucket("bucket", "", ROLE)).keys()


async def test_a_role_that_is_refused_is_a_503(no_keys: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with sts_that_refuses() as url:
        assume_role(no_keys, tmp_path, url)
        with pytest.raises(StoreUnavailable, match="refuses it: AccessDenied"):
            await Presigner(Bucket("bucket", "", ROLE)).keys()
