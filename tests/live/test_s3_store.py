"""What only S3 can do and get wrong: seen by another client, through a faulty network, and from a server gone mad."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from aiobotocore.session import get_session

from inlake.errors import BinaryTooLarge, OutOfSpace, PlaceTaken, StoreUnavailable
from inlake.model import PART
from inlake.store.s3.store import S3Store
from tests.live_servers import (
    AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY,
    S3_BUCKET,
    S3_ENDPOINT,
    S3_REGION,
    TOXIPROXY_URL,
    require,
)

KEYS = {
    "AWS_REGION": S3_REGION,
    "AWS_ACCESS_KEY_ID": AWS_ACCESS_KEY_ID,
    "AWS_SECRET_ACCESS_KEY": AWS_SECRET_ACCESS_KEY,
}
ENVIRONMENT = {**KEYS, "AWS_ENDPOINT_URL_S3": S3_ENDPOINT}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return cast("int", s.getsockname()[1])


async def zeros(count: int, size: int = PART) -> AsyncIterator[bytes | bytearray]:
    for _ in range(count):
        yield bytes(size)


async def put(store: S3Store, key: str, count: int, size: int = PART) -> None:
    await store.put(key, zeros(count, size), content_type="image/jpeg", metadata={"puuid": key})


# ------------------------------------------------------------------------------------------------- as others see it
@pytest.fixture
def prefix() -> str:
    require("S3", S3_ENDPOINT)
    return f"test/{uuid4()}"


@pytest.fixture
async def client(prefix: str) -> AsyncIterator[Any]:
    """aiobotocore: it shares no code with obstore. Removes all below `prefix` at the end."""
    session = get_session()
    connection: AbstractAsyncContextManager[Any] = session.create_client(
        "s3",
        endpoint_url=S3_ENDPOINT,
        region_name=S3_REGION,
        aws_access_key_id=AWS_ACCESS_KEY_ID,
        aws_secret_access_key=AWS_SECRET_ACCESS_KEY,
    )
    async with connection as s3:
        yield s3
        found = await s3.list_objects_v2(Bucket=S3_BUCKET, Prefix=f"{prefix}/")
        for each in found.get("Contents", []):
            await s3.delete_object(Bucket=S3_BUCKET, Key=each["Key"])


async def unfinished(client: Any, prefix: str) -> list[str]:
    found = await client.list_multipart_uploads(Bucket=S3_BUCKET, Prefix=f"{prefix}/")
    return [each["Key"] for each in found.get("Uploads", [])]


async def arrival(client: Any, key: str, parts: int) -> None:
    """Waits until so many parts of the unfinished upload to the key are there: S3 may keep one that is aborted while
    they are on their way (API Reference, AbortMultipartUpload)."""
    async with asyncio.timeout(60):
        while True:
            found = await client.list_multipart_uploads(Bucket=S3_BUCKET, Prefix=key)
            for each in found.get("Uploads", []):
                page = await client.list_parts(Bucket=S3_BUCKET, Key=key, UploadId=each["UploadId"])
                if len(page.get("Parts", [])) == parts:
                    return
            await asyncio.sleep(0.02)


@pytest.mark.live
@pytest.mark.parametrize(("count", "size"), [(0, 0), (1, 10), (1, PART), (3, PART)])
async def test_another_client_reads_bytes_content_type_and_metadata(
    client: Any, prefix: str, count: int, size: int
) -> None:
    store = S3Store(S3_BUCKET, prefix, environment=ENVIRONMENT)
    key = "objects/1/\u00fc a+b%20.jpg"
    await store.put(key, zeros(count, size), content_type="image/jpeg", metadata={"puuid": "1-2-3"})
    answer = await client.get_object(Bucket=S3_BUCKET, Key=f"{prefix}/{key}")
    assert await answer["Body"].read() == bytes(count * size)
    assert answer["ContentType"] == "image/jpeg"
    assert answer["Metadata"] == {"puuid": "1-2-3"}
    assert store.uri(key) == f"s3://{S3_BUCKET}/{prefix}/objects/1/%C3%BC%20a+b%2520.jpg"


@pytest.mark.live
async def test_a_put_that_fails_or_is_cancelled_leaves_no_parts_behind(client: Any, prefix: str) -> None:
    store = S3Store(S3_BUCKET, prefix, environment=ENVIRONMENT)
    sent = asyncio.Event()

    async def broken(key: str, seconds: float) -> AsyncIterator[bytes | bytearray]:
        async for chunk in zeros(6):
            yield chunk
        await arrival(client, f"{prefix}/{key}", 6)
        sent.set()
        await asyncio.sleep(seconds)
        raise KeyError("broken")

    with pytest.raises(KeyError):
        await store.put("a", broken("a", 0), content_type="text/plain", metadata={})
    sent.clear()
    task = asyncio.create_task(store.put("b", broken("b", 60), content_type="text/plain", metadata={}))
    await sent.wait()
    assert await unfinished(client, prefix) == [f"{prefix}/b"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await unfinished(client, prefix) == []
    assert [key async for key in store.list("")] == []


@pytest.mark.live
async def test_a_binary_of_more_parts_than_s3_takes_is_refused_with_the_number(client: Any, prefix: str) -> None:
    store = S3Store(S3_BUCKET, prefix, environment=ENVIRONMENT)
    store.max_parts = 3
    await put(store, "fits", 3)

    async def four() -> AsyncIterator[bytes | bytearray]:
        async for chunk in zeros(3):
            yield chunk
        await arrival(client, f"{prefix}/large", 3)
        yield bytes(PART)

    with pytest.raises(BinaryTooLarge, match=str(3 * PART)):
        await store.put("large", four(), content_type="image/jpeg", metadata={})
    assert await store.head("fits") == 3 * PART
    assert await store.head("large") is None
    assert await unfinished(client, prefix) == []


@pytest.mark.live
async def test_a_file_store_that_cannot_have_both_says_the_place_is_taken(client: Any, prefix: str) -> None:
    store = S3Store(S3_BUCKET, prefix, environment=ENVIRONMENT)
    await store.create("a", b"x")
    with pytest.raises(PlaceTaken, match="ObjectParentIsFile"):
        await store.create("a/b", b"x")
    with pytest.raises(PlaceTaken):
        await put(store, "a/b", 2)


MEASURE = """
import asyncio, json, os, resource, sys
from inlake.model import PART
from inlake.store.s3.store import S3Store

async def chunks(count):
    for _ in range(count):
        yield os.urandom(PART)

async def main():
    store = S3Store(sys.argv[1], sys.argv[2], environment=json.loads(sys.argv[3]))
    await store.put("warm", chunks(2), content_type="text/plain", metadata={})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await store.put("large", chunks(38), content_type="text/plain", metadata={})
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)

asyncio.run(main())
"""


@pytest.mark.live
@pytest.mark.usefixtures("client")
def test_a_put_of_304_mib_takes_a_few_parts_of_memory(prefix: str) -> None:
    arguments = [S3_BUCKET, prefix, json.dumps(ENVIRONMENT)]
    grown = subprocess.run([sys.executable, "-c", MEASURE, *arguments], capture_output=True, text=True)
    assert grown.returncode == 0, grown.stderr
    assert int(grown.stdout) << 10 < 7 * PART


@pytest.mark.live
@pytest.mark.parametrize(
    ("bucket", "changed", "sentence"),
    [
        (S3_BUCKET, {"AWS_SECRET_ACCESS_KEY": "wrong-secret"}, "SignatureDoesNotMatch.*AWS_SECRET_ACCESS_KEY"),
        (S3_BUCKET, {"AWS_ACCESS_KEY_ID": "wrong-key"}, "InvalidAccessKeyId.*AWS_ACCESS_KEY_ID"),
        ("no-such-bucket-here", {}, "no-such-bucket-here.*NoSuchBucket.*INLAKE_STORE"),
        (S3_BUCKET, {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}, "http://127.0.0.1:9 cannot be connected.*refused"),
        (S3_BUCKET, {"AWS_ENDPOINT_URL_S3": "http://s3.invalid"}, "cannot be connected to.*address"),
        (S3_BUCKET, {"AWS_ENDPOINT_URL_S3": S3_ENDPOINT.replace("http:", "https:")}, "TLS"),
    ],
)
async def test_what_is_wrong_with_the_settings_is_said_and_no_secret(
    prefix: str, bucket: str, changed: dict[str, str], sentence: str
) -> None:
    store = S3Store(bucket, prefix, environment={**ENVIRONMENT, **changed})
    started = time.monotonic()
    with pytest.raises(StoreUnavailable, match=sentence) as caught:
        await store.check()
    assert time.monotonic() - started < 3.2
    calls = [store.create("a", b"x"), store.get("a"), put(store, "a", 1, 9), put(store, "a", 3)]
    for failure in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(failure, StoreUnavailable)
        assert re.search(sentence, str(failure))
    assert "wrong-" not in str(caught.value)
    assert "StringToSign" not in str(caught.value)


# ----------------------------------------------------------------------------------------------- through a bad network
class Proxy:
    """A toxiproxy proxy of our own in front of S3."""

    def __init__(self) -> None:
        self.name, self.port = f"test-{uuid4()}", free_port()
        self.listen = f"127.0.0.1:{self.port}"
        self.endpoint = f"http://{self.listen}"

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> None:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{TOXIPROXY_URL}{path}", data, headers, method=method)
        urllib.request.urlopen(request, timeout=5).close()

    def enable(self, on: bool) -> None:
        self.ask("POST", f"/proxies/{self.name}", {"enabled": on})

    def poison(self, kind: str, stream: str = "downstream", **attributes: int) -> None:
        toxic = {"name": kind, "type": kind, "stream": stream, "attributes": attributes}
        self.ask("POST", f"/proxies/{self.name}/toxics", toxic)

    def heal(self, kind: str) -> None:
        self.ask("DELETE", f"/proxies/{self.name}/toxics/{kind}")


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    require("S3", S3_ENDPOINT)
    require("Toxiproxy", TOXIPROXY_URL)
    proxy = Proxy()
    upstream = S3_ENDPOINT.removeprefix("http://")
    proxy.ask("POST", "/proxies", {"name": proxy.name, "listen": proxy.listen, "upstream": upstream, "enabled": True})
    try:
        yield proxy
    finally:
        proxy.ask("DELETE", f"/proxies/{proxy.name}")


@pytest.fixture
def proxied(proxy: Proxy, prefix: str) -> S3Store:
    return S3Store(
        S3_BUCKET, prefix, environment={**KEYS, "AWS_ENDPOINT_URL": proxy.endpoint}, timeout=1.5, transfer_timeout=2
    )


async def expect_unavailable(store: S3Store, seconds: float) -> None:
    """Every call fails, each within `seconds`."""

    async def timed(call: Any) -> float:
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await call
        return time.monotonic() - started

    async def listed() -> None:
        _ = [key async for key in store.list("")]

    calls = [
        store.create("a", b"x"),
        store.get("there"),
        store.head("there"),
        store.delete("x"),
        store.check(),
        listed(),
    ]
    calls += [put(store, "b", 1, 10), put(store, "c", 3)]
    assert max(await asyncio.gather(*map(timed, calls))) < seconds


@pytest.mark.live
@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("fault", ["down", "black hole", "reset"])
async def test_a_fault_is_over_in_bounded_time_and_the_same_store_works_again(
    proxy: Proxy, proxied: S3Store, fault: str
) -> None:
    assert await proxied.create("there", b"1")
    toxic = {"black hole": "timeout", "reset": "reset_peer"}.get(fault)
    if toxic:
        proxy.poison(toxic, timeout=0)
    else:
        proxy.enable(False)
    await expect_unavailable(proxied, 4.5)
    if toxic:
        proxy.heal(toxic)
    else:
        proxy.enable(True)
    await proxied.check()
    assert await proxied.get("there") == b"1"
    await put(proxied, "after", 3)
    assert await proxied.head("after") == 3 * PART


@pytest.mark.live
@pytest.mark.parametrize("toxic", ["timeout", "reset_peer"])
async def test_a_put_cut_in_the_middle_fails_in_bounded_time_and_shows_no_object(
    proxy: Proxy, proxied: S3Store, client: Any, prefix: str, toxic: str
) -> None:
    async def cut() -> AsyncIterator[bytes | bytearray]:
        async for chunk in zeros(6):
            yield chunk
        proxy.poison(toxic, timeout=0)
        async for chunk in zeros(6):
            yield chunk

    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await proxied.put("cut", cut(), content_type="text/plain", metadata={})
    assert time.monotonic() - started < 9
    found = await client.list_objects_v2(Bucket=S3_BUCKET, Prefix=f"{prefix}/")
    assert "Contents" not in found


@pytest.mark.live
@pytest.mark.usefixtures("client")
async def test_a_slow_store_slows_the_sender_and_gets_everything(proxy: Proxy, proxied: S3Store) -> None:
    proxy.poison("bandwidth", "upstream", rate=10_000)  # KB/s of each connection
    asked: list[float] = []

    async def watched() -> AsyncIterator[bytes | bytearray]:
        async for chunk in zeros(10):
            asked.append(time.monotonic())
            yield chunk

    await proxied.put("slow", watched(), content_type="text/plain", metadata={})
    assert await proxied.head("slow") == 10 * PART
    assert asked[-1] - asked[5] > 0.5  # the first five fit into what may be in flight


@pytest.mark.live
@pytest.mark.usefixtures("client")
async def test_a_read_that_stands_still_ends(proxy: Proxy, proxied: S3Store) -> None:
    await put(proxied, "r", 3)
    proxy.poison("bandwidth", rate=2_000)
    chunks = proxied.read("r")
    assert await anext(chunks)
    # in a thread: toxiproxy waits until what is on its way is read
    silence = asyncio.create_task(asyncio.to_thread(proxy.poison, "timeout", timeout=0))
    started = time.monotonic()
    with pytest.raises(StoreUnavailable):
        _ = [chunk async for chunk in chunks]
    await silence
    assert time.monotonic() - started < 12


# ---------------------------------------------------------------------------------- answers no healthy server gives
@asynccontextmanager
async def scripted(*answers: str) -> AsyncIterator[tuple[str, list[str]]]:
    """Endpoint of an HTTP server that gives these answers in turn, the last for ever; `cut` closes without one."""
    requests: list[str] = []
    creator = ""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal creator
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        requests.append(head)
        answer = answers[min(len(requests), len(answers)) - 1]
        if answer != "cut":
            status, _, code = answer.partition(" ")
            body = f"<Error><Code>{code}</Code></Error>" if code and not head.startswith("HEAD") else ""
            if "inlake-creator: " in head:
                creator = head.split("inlake-creator: ")[1].split("\r\n")[0]
            writer.write(
                f'HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\nETag: "1"\r\n'
                f"Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nx-amz-meta-inlake-creator: {creator}\r\n"
                f"Connection: close\r\n\r\n{body}".encode()
            )
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", requests


def scripted_store(endpoint: str) -> S3Store:
    return S3Store("b", environment={**KEYS, "AWS_ENDPOINT_URL": endpoint}, timeout=5)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("507", OutOfSpace),
        ("507 InsufficientStorage", OutOfSpace),
        ("403 QuotaExceeded", OutOfSpace),
        ("500 InternalError", StoreUnavailable),
        ("503 SlowDown", StoreUnavailable),
        ("403 AccessDenied", StoreUnavailable),
        ("301 PermanentRedirect", StoreUnavailable),
        ("cut", StoreUnavailable),
    ],
)
async def test_an_answer_of_trouble_is_an_error_of_ours_soon(answer: str, error: type[Exception]) -> None:
    async with scripted(answer) as (endpoint, _):
        store = scripted_store(endpoint)
        calls = [store.create("a", b"x"), put(store, "a", 1, 9), put(store, "a", 2)]
        started = time.monotonic()
        failures = await asyncio.gather(*calls, return_exceptions=True)
        assert time.monotonic() - started < 5.5
        assert {type(failure) for failure in failures} == {error}


async def test_a_short_trouble_is_ridden_out() -> None:
    async with scripted("503 SlowDown", "500 InternalError", "200") as (endpoint, requests):
        assert await scripted_store(endpoint).create("a", b"x") is True
        assert len(requests) == 3


async def test_a_creator_whose_first_answer_was_lost_still_knows_that_it_won() -> None:
    async with scripted("500 InternalError", "412 PreconditionFailed", "200") as (endpoint, requests):
        assert await scripted_store(endpoint).create("a", b"x") is True
        assert [head.split(" ")[0] for head in requests] == ["PUT", "PUT", "HEAD"]


async def test_a_conflict_of_two_requests_is_tried_again() -> None:
    async with scripted("409 ConditionalRequestConflict", "200") as (endpoint, requests):
        assert await scripted_store(endpoint).create("a", b"x") is True
        assert len(requests) == 2


# ------------------------------------------------------------------------------------------------------- the settings
@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        ({"AWS_ACCESS_KEY_ID": "x"}, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_PROFILE": "nobody", "AWS_SHARED_CREDENTIALS_FILE": "/none"}, "AWS_PROFILE"),
        ({**KEYS, "AWS_CA_BUNDLE": "/none"}, "AWS_CA_BUNDLE"),
        ({**KEYS, "AWS_ENDPOINT_URL": "127.0.0.1:9000"}, "AWS_ENDPOINT_URL"),
    ],
)
def test_a_wrong_variable_is_named(environment: dict[str, str], variable: str) -> None:
    with pytest.raises(ValueError, match=variable):
        S3Store("b", environment=environment)


@pytest.mark.live
@pytest.mark.usefixtures("client")
async def test_keys_come_from_a_profile_of_the_shared_credentials_file(prefix: str, tmp_path: Path) -> None:
    lines = [f"aws_access_key_id = {AWS_ACCESS_KEY_ID}", f"aws_secret_access_key = {AWS_SECRET_ACCESS_KEY}"]
    (tmp_path / "credentials").write_text("\n".join(["[museum]", *lines]), encoding="utf-8")
    environment = {
        "AWS_PROFILE": "museum",
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_ENDPOINT_URL": S3_ENDPOINT,
    }
    await S3Store(S3_BUCKET, prefix, environment=environment).check()


async def asked(**variables: str) -> str:
    """The head of the first request for the object `a` in the bucket `b`, below `p`, as the variables want it."""
    async with scripted("404 NoSuchKey") as (endpoint, requests):
        place = {"AWS_ENDPOINT_URL_S3": endpoint, **KEYS}
        store = S3Store(
            "b", "p", environment=place | {n: v.replace("ENDPOINT", endpoint) for n, v in variables.items()}
        )
        assert await store.get("a") is None
    return requests[0].lower()


async def test_the_bucket_is_in_the_path_unless_virtual_hosts_are_asked_for() -> None:
    assert (await asked()).startswith("get /b/p/a ")
    virtual = await asked(AWS_VIRTUAL_HOSTED_STYLE_REQUEST="true")
    assert virtual.startswith("get /p/a "), "the endpoint is the bucket's own then"


async def test_an_endpoint_of_s3_alone_stands_above_the_general_one() -> None:
    assert (await asked(AWS_ENDPOINT_URL="http://127.0.0.1:1")).startswith("get /b/p/a ")
    assert (await asked(AWS_ENDPOINT_URL="ENDPOINT", AWS_ENDPOINT_URL_S3="")).startswith("get /b/p/a ")
    assert (await asked(AWS_ENDPOINT_URL_S3="ENDPOINT/")).startswith("get /b/p/a ")


async def test_a_session_token_and_the_region_are_part_of_the_signature() -> None:
    head = await asked(AWS_SESSION_TOKEN="temporary-1", AWS_REGION="eu-central-2")
    assert "x-amz-security-token: temporary-1\r\n" in head
    assert "/eu-central-2/s3/aws4_request" in head
    assert "/eu-west-9/" in await asked(AWS_DEFAULT_REGION="eu-west-9", AWS_REGION="")


async def test_a_profile_may_hold_a_session_token_and_variables_stand_above_it(tmp_path: Path) -> None:
    lines = ["aws_access_key_id = key-of-profile", "aws_secret_access_key = s%cret", "aws_session_token = temporary-2"]
    (tmp_path / "credentials").write_text("\n".join(["[default]", "x = y", "[museum]", *lines]), encoding="utf-8")
    profile = {"AWS_PROFILE": "museum", "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}
    head = await asked(**profile, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert "credential=key-of-profile/" in head
    assert "x-amz-security-token: temporary-2\r\n" in head
    head = await asked(**profile)
    assert f"credential={AWS_ACCESS_KEY_ID.lower()}/" in head
    assert "temporary-2" not in head


def test_a_profile_that_is_not_in_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = x\n", encoding="utf-8")
    profile = {"AWS_PROFILE": "museum", "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials")}
    with pytest.raises(ValueError, match=r"AWS_PROFILE: .* has no aws_access_key_id for 'museum'"):
        S3Store("b", environment=profile)
