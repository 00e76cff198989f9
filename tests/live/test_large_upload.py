"""2 GiB through one request to a store that takes 40 MB/s: flat memory; a bad record stops the client at once."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests import live_servers as live
from tests.command import Served, serving
from tests.toxiproxy import proxy_to

pytestmark = [pytest.mark.live, pytest.mark.slow]
GIB, MIB = 1 << 30, 1 << 20
SIZE = int(os.environ.get("INLAKE_TEST_UPLOAD_BYTES", 2 * GIB))
SCHEMA = '{"type": "record", "name": "S", "fields": [{"name": "__resource_path__", "type": ["null", "string"], "default": null}]}'


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A gateway on the embedded bus, whose S3 server takes 40 MB/s."""
    for what, address in (("S3", live.S3_ENDPOINT), ("Toxiproxy", live.TOXIPROXY_URL)):
        live.require(what, address)
    with proxy_to(urlsplit(live.S3_ENDPOINT).netloc) as proxy:
        proxy.poison("bandwidth", "upstream", rate=10_000)  # KB/s for each of the four connections of an upload
        variables = {
            "INLAKE_STORE": f"s3://{live.S3_BUCKET}/{uuid.uuid4().hex[:12]}",
            "AWS_ENDPOINT_URL_S3": f"http://{proxy.address}",
            "AWS_REGION": live.S3_REGION,
            "AWS_ACCESS_KEY_ID": live.AWS_ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": live.AWS_SECRET_ACCESS_KEY,
        }
        with serving(tmp_path, **variables) as served:
            (tmp_path / "scan.avsc").write_text(SCHEMA)
            assert served.inlake("schemas", "add", "scan", tmp_path / "scan.avsc").returncode == 0
            yield served


def upload(served: Served, record: str, file: Path) -> subprocess.Popen[str]:
    url = f"{served.url}/ingress/record-json-and-binary?schema=scan"
    command = [
        "curl",
        "-sS",
        "-w",
        "\n%{http_code} %{size_upload}",
        "-F",
        f"record={record}",
        "-F",
        f"file=@{file}",
        url,
    ]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "scan.bin"
    with path.open("wb") as sparse:
        sparse.truncate(SIZE)
    return path


@pytest.mark.timeout(600)
def test_two_gibibytes_to_a_slow_store_keep_memory_flat(served: Served, file: Path) -> None:
    gateway = psutil.Process(served.process.pid)
    assert "201" in upload(served, "{}", served.folder / "scan.avsc").communicate()[0]
    idle = gateway.memory_info().rss
    client = upload(served, "{}", file)
    most = 0
    while client.poll() is None:
        most = max(most, gateway.memory_info().rss)
        time.sleep(0.2)
    out, err = client.communicate()
    assert out.splitlines()[-1].startswith("201 "), out + err
    assert f'"size":{SIZE}' in out
    print(f"idle {idle / MIB:.0f} MiB, most {most / MIB:.0f} MiB")
    assert most - idle < 100 * MIB


def test_a_bad_record_first_stores_nothing_and_stops_curl(served: Served, file: Path) -> None:
    began = time.monotonic()
    out, err = upload(served, '{"unknown": 1}', file).communicate(timeout=60)
    status, sent = out.splitlines()[-1].split()
    assert status == "422", out + err
    assert int(sent) < 64 * MIB + 8 * MIB
    assert time.monotonic() - began < 12
