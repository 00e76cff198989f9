"""The page about uploads straight to S3 is followed, command by command."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests import live_servers as live
from tests.docs.pages import ROOT, Reader

PAGE = "how-to/direct-to-s3.md"


@pytest.mark.live
def test_the_page_does_what_it_says_on_a_real_s3_server(tmp_path: Path) -> None:
    live.require("The S3 server", live.S3_ENDPOINT)
    settings = {
        "INLAKE_STORE": f"s3://{live.S3_BUCKET}/test-howto-{uuid.uuid4()}",
        "AWS_ENDPOINT_URL_S3": live.S3_ENDPOINT,
        "AWS_REGION": live.S3_REGION,
        "AWS_ACCESS_KEY_ID": live.AWS_ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": live.AWS_SECRET_ACCESS_KEY,
    }
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    Reader(tmp_path).follow((ROOT / "docs" / PAGE).read_text())
