"""A page of another origin, in Chromium: records, tus, and files straight to the S3 server, as `INLAKE_CORS_ORIGINS` and
the bucket's documented rules allow."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests import live_servers as live
from tests.command import free_port, serving
from tests.foreign import events_of
from tests.gateways import NOTE
from tests.live.test_console import KEY, chromium
from tests.live.test_tus import client

pytestmark = pytest.mark.live
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "direct-to-s3.md"


def rules(origin: str) -> Any:
    """The bucket's rules of the page, for this origin."""
    documented = re.search(r'```json\n(\{"CORSRules".*?)```', PAGE.read_text(), re.DOTALL)
    assert documented
    return json.loads(documented[1].replace("https://app.example", origin))


@pytest.fixture
def bucket() -> Iterator[str]:
    """A bucket of the test's own, gone at the end with what is in it."""
    live.require("The S3 server", live.S3_ENDPOINT)
    name = f"origins-{uuid4().hex[:12]}"
    with client() as s3:
        s3.create_bucket(Bucket=name)
        yield name
        for each in s3.list_objects_v2(Bucket=name).get("Contents", []):
            s3.delete_object(Bucket=name, Key=each["Key"])
        s3.delete_bucket(Bucket=name)


def test_a_page_of_another_origin_uses_gateway_and_store_if_both_let_it_in(
    bucket: str, node: Path, tmp_path: Path
) -> None:
    browser, port = chromium(), free_port()
    origin = f"http://127.0.0.1:{port}"
    with client() as s3:
        s3.put_bucket_cors(Bucket=bucket, CORSConfiguration=rules(origin))
    (tmp_path / "keys").write_text(f"curator:{hashlib.sha256(KEY.encode()).hexdigest()}\n")
    (tmp_path / "note.avsc").write_text(json.dumps(NOTE))
    variables = {
        "INLAKE_STORE": f"s3://{bucket}",
        "INLAKE_API_KEYS": str(tmp_path / "keys"),
        "INLAKE_CORS_ORIGINS": origin,
        **live.S3_VARIABLES,
    }
    with serving(tmp_path, **variables) as served:
        assert served.inlake("schemas", "add", "note", "note.avsc").returncode == 0
        command = ["node", "origins.mjs", served.url, browser, str(port), KEY]
        done = subprocess.run(command, cwd=node, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        sizes = [each.headers.get("inlake_resource_size") for each in events_of(served, "inlake.note")]
        assert sizes == [None, "700000", "700000"]
