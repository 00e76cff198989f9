"""tuspy and tus-js-client, as they are, upload through two gateways on S3 and Kafka, cut at random points and resumed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import httpx2
import pytest
from tusclient.client import TusClient

from tests import live_servers as live
from tests.command import Served, free_port, serving, start, wait_until_alive
from tests.cutting_proxy import CuttingProxy, cutting
from tests.foreign import events_of, read_object, topic_of

pytestmark = [pytest.mark.live, pytest.mark.slow]
SIZE = int(os.environ.get("INLAKE_TEST_TUS_BYTES", str(64 << 20)))
PIECE = 32 << 20
"""tuspy holds each in memory."""
CUTS = 20
TUS = {"Tus-Resumable": "1.0.0"}
PATCH = {"Content-Type": "application/offset+octet-stream"}
SCHEMA = '{"type": "record", "name": "S", "fields": [{"name": "__resource_path__", "type": "string"}]}'
Upload = Callable[[str, Path], str]
"""From an endpoint and a file to the URL of the upload."""


@pytest.fixture(scope="module")
def gateways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Served]]:
    """Two processes of one deployment."""
    own = f"t{uuid.uuid4().hex[:12]}"
    variables = live.deployment(own)
    with contextlib.ExitStack() as stack:
        stack.callback(delete_objects, f"{own}/")
        folders = [tmp_path_factory.mktemp(name) for name in ("one", "two")]
        one, two = [stack.enter_context(serving(folder, **variables)) for folder in folders]
        (folders[0] / "scan.avsc").write_text(SCHEMA)
        assert one.inlake("schemas", "add", "scan", folders[0] / "scan.avsc").returncode == 0
        yield one, two


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "第一章 scan.obj"
    piece = random.Random(1).randbytes(1 << 20)
    with path.open("wb") as out:
        for n in range(SIZE // len(piece)):
            out.write(n.to_bytes(8, "big") + piece[8:])
        out.write(piece[: SIZE % len(piece)])
    return path


def with_tuspy(endpoint: str, file: Path) -> str:
    metadata = {"filename": file.name, "filetype": "model/obj"}
    with file.open("rb") as stream:  # of a path it leaves files open
        uploader = TusClient(endpoint).uploader(
            file_stream=stream, metadata=metadata, chunk_size=PIECE, retries=30, retry_delay=0
        )
        uploader.upload()
    return str(uploader.url)


@pytest.fixture(params=["tuspy", "tus-js-client"])
def upload(request: pytest.FixtureRequest) -> Upload:
    if request.param == "tuspy":
        return with_tuspy
    folder: Path = request.getfixturevalue("node")

    def with_node(endpoint: str, file: Path) -> str:
        command = ["node", "upload.mjs", endpoint, str(file)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return with_node


@pytest.fixture
def proxy(gateways: tuple[Served, Served]) -> Iterator[CuttingProxy]:
    upstreams = [(parts.hostname or "", parts.port or 0) for parts in (urlsplit(each.url) for each in gateways)]
    with cutting(upstreams, cuts=CUTS, most=min(SIZE // (CUTS + 2), PIECE * 2 // 3), seed=6) as proxy:
        yield proxy


@pytest.mark.timeout(900)
def test_a_client_cut_twenty_times_resumes_and_one_event_names_the_whole_file(
    gateways: tuple[Served, Served], proxy: CuttingProxy, upload: Upload, file: Path
) -> None:
    url = upload(f"{proxy.url}/uploads", file)
    assert proxy.cuts_done == CUTS
    assert len(proxy.connections) == 2, "both gateways took a share"
    with file.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    puuid = url.rpartition("/")[2]
    claim = f"{proxy.url}/ingress/record-json?schema=scan"
    answer = httpx2.post(claim, json={"__resource_path__": puuid}, timeout=60)
    assert answer.status_code == 201, answer.text
    resource = answer.json()["resource"]
    assert (resource["sha256"], resource["size"], resource["filename"]) == (sha256, SIZE, file.name)
    assert httpx2.post(claim, json={"__resource_path__": puuid}, timeout=60).status_code == 409
    named = [e for e in events_of(gateways[0], topic_of(gateways[0], "scan")) if e.headers["inlake_puuid"] == puuid]
    assert [event.headers["inlake_resource_sha256"] for event in named] == [sha256]
    assert hashlib.sha256(read_object(gateways[0], resource["uri"])).hexdigest() == sha256


def client() -> Any:
    s3 = boto3.client(
        "s3",
        endpoint_url=live.S3_ENDPOINT,
        region_name=live.S3_REGION,
        aws_access_key_id=live.AWS_ACCESS_KEY_ID,
        aws_secret_access_key=live.AWS_SECRET_ACCESS_KEY,
    )
    return contextlib.closing(s3)


def delete_objects(prefix: str) -> None:
    """They are large."""
    with client() as s3:
        while found := s3.list_objects_v2(Bucket=live.S3_BUCKET, Prefix=prefix).get("Contents"):
            for each in found:
                s3.delete_object(Bucket=live.S3_BUCKET, Key=each["Key"])


def parts_in_store(puuid: str) -> int:
    """Parts of the unfinished upload, as boto3 sees them."""
    with client() as s3:
        uploads = s3.list_multipart_uploads(Bucket=live.S3_BUCKET).get("Uploads", [])
        (upload,) = [upload for upload in uploads if puuid in upload["Key"]]
        parts = s3.list_parts(Bucket=live.S3_BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
    return len(parts.get("Parts", []))


def test_what_a_killed_gateway_held_another_takes_over_at_once(gateways: tuple[Served, Served], tmp_path: Path) -> None:
    port = str(free_port())
    variables = {**gateways[0].variables, "INLAKE_PORT": port, "INLAKE_URL": f"http://127.0.0.1:{port}"}
    victim, survivor = start(tmp_path, **variables), gateways[0]
    wait_until_alive(victim)
    data = random.Random(2).randbytes(20 << 20)
    begun = httpx2.post(f"{victim.url}/uploads", headers={**TUS, "Upload-Length": str(len(data))})
    path = begun.headers["location"]
    host, headers = urlsplit(victim.url), {**TUS, **PATCH, "Upload-Offset": "0", "Content-Length": str(len(data))}
    with socket.create_connection((host.hostname, host.port)) as client:
        lines = [f"PATCH {path} HTTP/1.1", f"Host: {host.netloc}", *(f"{name}: {headers[name]}" for name in headers)]
        client.sendall("\r\n".join([*lines, "", ""]).encode() + data[: 17 << 20])
        while parts_in_store(path[-36:]) < 2:
            time.sleep(0.05)
        victim.process.kill()
        victim.process.wait()
    began = time.monotonic()
    head = httpx2.head(f"{survivor.url}{path}", headers=TUS)
    assert (head.status_code, time.monotonic() - began < 5) == (200, True)
    held = int(head.headers["upload-offset"])
    print(f"{held:,} of the {17 << 20:,} bytes sent are held, asked in {time.monotonic() - began:.2f} s")
    assert held % (8 << 20) == 0
    rest = httpx2.patch(
        f"{survivor.url}{path}", content=data[held:], headers={**TUS, **PATCH, "Upload-Offset": str(held)}, timeout=60
    )
    assert (rest.status_code, rest.headers["upload-offset"]) == (204, str(len(data)))
    claim = f"{survivor.url}/ingress/record-json?schema=scan"
    resource = httpx2.post(claim, json={"__resource_path__": path[-36:]}, timeout=60).json()["resource"]
    assert resource["sha256"] == hashlib.sha256(data).hexdigest()
