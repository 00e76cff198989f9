"""The whole way of a curator at the console in Chromium: on an embedded gateway, and on real servers."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from PIL import Image

from tests import live_servers as live
from tests.command import free_port, serving
from tests.live.test_console import KEY, OBJ, add_schemas, chromium
from tests.live.test_tus import delete_objects

RIGHTS = """[[rule]]
who = ["token:curator", "oidc:ann"]
may = ["ingest", "read", "administer"]
"""
CLIENT, SECRET = "the gateway/1", "a secret of the gateway: 1+1"
SERVERS = ["embedded", pytest.param("real servers", marks=pytest.mark.live)]


@contextlib.contextmanager
def issuer(node: Path, gateway: int) -> Iterator[str]:
    """An OpenID Connect issuer, made by others, that knows the gateway at this port; its address."""
    port = str(free_port())
    back = f"http://127.0.0.1:{gateway}/console/sign-in/return"
    process = subprocess.Popen(
        ["node", "issuer.mjs", port, CLIENT, SECRET, back], cwd=node, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"listening"
        yield f"http://localhost:{port}"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("servers", SERVERS)
def test_a_curator_does_what_there_is_to_do(servers: str, node: Path, tmp_path: Path) -> None:
    browser, own, port = chromium(), f"t{uuid4().hex[:12]}", free_port()
    real = {} if servers == "embedded" else {**live.deployment(own), "INLAKE_REJECTS": f"rejects-{own}"}
    keys, rights, files = tmp_path / "keys", tmp_path / "rights.toml", tmp_path / "files"
    keys.write_text(f"curator:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
    rights.write_text(RIGHTS)
    files.mkdir()
    Image.new("RGB", (300, 200), "teal").save(files / "picture.png")
    Image.new("RGB", (2400, 1200), "teal").save(files / "page.pdf")
    (files / "form.obj").write_text(OBJ)
    with contextlib.ExitStack() as stack:
        if real:
            stack.callback(delete_objects, f"{own}/")
        variables = {
            "INLAKE_PORT": str(port),
            "INLAKE_URL": f"http://127.0.0.1:{port}",
            "INLAKE_API_KEYS": str(keys),
            "INLAKE_RIGHTS": str(rights),
            "INLAKE_OIDC_ISSUER": stack.enter_context(issuer(node, port)),
            "INLAKE_OIDC_AUDIENCE": "inlake",
            "INLAKE_OIDC_CLIENT_ID": CLIENT,
            "INLAKE_OIDC_CLIENT_SECRET": SECRET,
        }
        served = stack.enter_context(serving(tmp_path, **real, **variables))
        add_schemas(served)
        command = ["node", "curator.mjs", served.url, browser, KEY, str(files)]
        done = subprocess.run(command, cwd=node, capture_output=True, text=True, timeout=280, env={**os.environ})
        print(done.stdout)
        assert done.returncode == 0, done.stdout + done.stderr
