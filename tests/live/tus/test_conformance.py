"""The conformance suite of tus against a gateway on a folder and on S3. README.md tells where its files come from."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import uuid
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from tests import live_servers as live
from tests.command import Served, free_port, serving
from tests.live.tus.proxy import Proxy

pytestmark = [pytest.mark.live, pytest.mark.slow]
SUITE = os.environ.get("INLAKE_TEST_TUS_SUITE", "")
FILES = 121
"""Those of the core, and of the extensions that the gateway has, at the suite's commit 76aa29a."""


@pytest.fixture(params=["folder", "s3"])
def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    if not (SUITE and shutil.which("hurl")):
        pytest.skip("a clone of the suite in INLAKE_TEST_TUS_SUITE and hurl are needed: see tests/live/tus/README.md")
    variables: dict[str, str] = {}
    if request.param == "s3":
        live.require("The S3 server", live.S3_ENDPOINT)
        variables = {"INLAKE_STORE": f"s3://{live.S3_BUCKET}/t{uuid.uuid4().hex[:12]}", **live.S3_VARIABLES}
    with serving(tmp_path, **variables) as served:
        yield served


@pytest.fixture
def suites_address(gateway: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address that the suite is given: the proxy's."""
    monkeypatch.setattr(Proxy, "gateway", urlsplit(gateway.url).netloc)
    with ThreadingHTTPServer(("127.0.0.1", free_port()), Proxy) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/uploads"
        server.shutdown()
        thread.join()


@pytest.mark.timeout(600)
def test_every_file_for_what_the_gateway_has_passes(gateway: Served, suites_address: str, tmp_path: Path) -> None:
    has = httpx2.options(suites_address, trust_env=False).headers["tus-extension"].split(",")
    files = [file for file in sorted(Path(SUITE, "tests").rglob("*.hurl")) if _extension(file) in {"", *has}]
    assert len(files) == FILES
    variables = ["--variable", "tus_version=1.0.0", "--variable", f"base_url={suites_address}"]
    done = subprocess.run(["hurl", "--test", "--no-color", *variables, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-20_000:]


def _extension(file: Path) -> str:
    """The extension whose prerequisite the suite names: a server without it is not asked."""
    return file.parent.name if file.parent.parent.name == "extensions" else ""
