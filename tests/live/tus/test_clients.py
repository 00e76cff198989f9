"""Clients of tus in four languages, as they are, upload to a gateway on S3, and a record can name what came in."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tusclient.client import TusClient

from tests import live_servers as live
from tests.command import Served, serving

pytestmark = [pytest.mark.live, pytest.mark.slow]
SIZE = 24_000_000
GO = Path(__file__).parents[2] / "go" / "tus"
SCHEMA = '{"type": "record", "name": "S", "fields": [{"name": "__resource_path__", "type": "string"}]}'
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
Upload = Callable[[str, Path], str]
"""From an endpoint and a file to the URL of the upload."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    live.require("The S3 server", live.S3_ENDPOINT)
    folder = tmp_path_factory.mktemp("gateway")
    store = f"s3://{live.S3_BUCKET}/t{uuid.uuid4().hex[:12]}"
    with serving(folder, INLAKE_STORE=store, **live.S3_VARIABLES) as served:
        (folder / "scan.avsc").write_text(SCHEMA)
        assert served.inlake("schemas", "add", "scan", folder / "scan.avsc").returncode == 0
        yield served


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "scan.obj"
    path.write_bytes(random.Random(13).randbytes(SIZE))
    return path


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """go-tus, in a program."""
    if not shutil.which("go"):
        pytest.skip("go is not installed: sudo apt install golang-go")
    run("go", "build", "-o", tmp_path / "tus", ".", cwd=GO)
    return tmp_path / "tus"


@pytest.fixture(params=["tuspy", "tus-js-client", "go", "java"])
def upload(request: pytest.FixtureRequest) -> Upload:
    match request.param:
        case "tuspy":
            return with_tuspy
        case "tus-js-client":
            folder: Path = request.getfixturevalue("node")
            return lambda endpoint, file: run("node", folder / "upload.mjs", endpoint, file)
        case "go":
            program: Path = request.getfixturevalue("go")
            return lambda endpoint, file: run(program, endpoint, file)
        case _:
            java: list[str] = request.getfixturevalue("java")
            return lambda endpoint, file: run(*java, "Tus", endpoint, file)


def with_tuspy(endpoint: str, file: Path) -> str:
    with file.open("rb") as stream:  # of a path it leaves files open
        uploader = TusClient(endpoint).uploader(file_stream=stream, chunk_size=5 << 20)
        uploader.upload()
    return str(uploader.url)


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def assert_a_record_names_it(gateway: Served, url: str, file: Path) -> None:
    record = {"__resource_path__": url.rpartition("/")[2]}
    answer = httpx2.post(f"{gateway.url}/ingress/record-json?schema=scan", json=record, timeout=60, trust_env=False)
    assert answer.status_code == 201, answer.text
    resource = answer.json()["resource"]
    assert (resource["size"], resource["sha256"]) == (SIZE, hashlib.sha256(file.read_bytes()).hexdigest())


def test_a_client_uploads_as_it_is(gateway: Served, upload: Upload, file: Path) -> None:
    assert_a_record_names_it(gateway, upload(f"{gateway.url}/uploads", file), file)


def test_tus_js_client_uploads_in_parallel(gateway: Served, node: Path, file: Path) -> None:
    url = run("node", node / "upload.mjs", f"{gateway.url}/uploads", file, "4")
    assert_a_record_names_it(gateway, url, file)


def test_uppy_in_a_browser_on_a_page_of_a_folder_uploads_in_parallel_and_goes_on_after_a_pause(
    gateway: Served, node: Path, file: Path
) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("a browser is needed for Uppy: sudo apt install chromium")
    told: dict[str, Any] = json.loads(run("node", "uppy.mjs", gateway.url, file, browser, cwd=node))
    assert told["failed"] == []
    assert 0.3 * SIZE < told["paused"] < SIZE
    partial = Counter(method for method, concat in told["asked"] if concat == "partial")
    assert partial["POST"] == 4
    assert 4 < partial["PATCH"] <= 8, "the pause fell into some of the four"
    assert 1 <= partial["HEAD"] <= 4
    last_method, last_concat = told["asked"][-1]
    assert last_method == "POST"
    assert last_concat.startswith("final;/uploads/")
    assert_a_record_names_it(gateway, told["url"], file)
