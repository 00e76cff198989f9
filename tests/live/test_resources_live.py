"""`GET /resources/{puuid}` of an object in S3: sent by the gateway, or by the store itself behind a signed URL."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

from tests.gateways import embedded
from tests.live_servers import deployment

pytestmark = pytest.mark.live
PAGE = b"<script>alert(1)</script>"


@pytest.mark.parametrize("redirect", [False, True])
async def test_an_object_comes_as_a_download_from_the_gateway_or_from_the_store(tmp_path: Path, redirect: bool) -> None:
    servers = deployment(f"test-{uuid4().hex[:12]}")
    aws = {name: value for name, value in servers.items() if name.startswith("AWS_")}
    settings = {"store": servers["INLAKE_STORE"], "resource_redirect": str(redirect).lower(), **aws}
    digest = f"sha-256=:{b64encode(hashlib.sha256(PAGE).digest()).decode()}:"
    async with embedded(tmp_path, **settings) as gateway:
        sent = await gateway.post(
            "/ingress/binary?filename=p%C3%A1ge.html", PAGE, "text/html", headers={"repr-digest": digest}
        )
        puuid = sent.json()["puuid"]
        answer = await gateway.post(f"/resources/{puuid}", method="GET")
        if redirect:
            assert (answer.status, answer.body) == (307, b"")
            assert (await gateway.post(f"/resources/{puuid}", method="HEAD")).headers["repr-digest"] == digest
            stored = httpx2.get(answer.headers["location"], trust_env=False)
            body, headers = stored.content, dict(stored.headers)
        else:
            assert answer.headers["repr-digest"] == answer.headers["content-digest"] == digest
            body, headers = answer.body, answer.headers
        assert (body, headers["content-type"]) == (PAGE, "text/html")
        assert headers["content-disposition"] == ("attachment; filename=\"p_ge.html\"; filename*=UTF-8''p%C3%A1ge.html")
        assert (await gateway.post(f"/promises/{puuid}", method="DELETE")).status == 204
        assert await gateway.objects() == []
