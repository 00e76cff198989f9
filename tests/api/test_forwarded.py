"""What a trusted proxy says of scheme and host is what pages, cookies and the look at foreign pages go by."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.gateways import embedded

PUBLIC = {"x-forwarded-for": "198.51.100.7", "x-forwarded-proto": "https", "x-forwarded-host": "inlake.museum.example"}


async def test_cookies_are_secure_and_addresses_right_behind_a_proxy_that_does_tls(tmp_path: Path) -> None:
    digest = hashlib.sha256(b"key").hexdigest()
    (tmp_path / "keys").write_text(f"a:{digest}\n")
    for trusted, is_secure in ("127.0.0.0/8", True), ("10.0.0.0/8", False):
        async with embedded(tmp_path, api_keys=tmp_path / "keys", trusted_proxies=trusted) as gateway:
            page = await gateway.post("/console/sign-in", method="GET", content_type=None, headers=PUBLIC)
            assert ("Secure" in page.headers["set-cookie"]) is is_secure
    async with embedded(tmp_path, trusted_proxies="127.0.0.0/8", root_path="/inlake") as gateway:
        page = await gateway.post("/console/schemas/note", method="GET", content_type=None, headers=PUBLIC)
        assert "https://inlake.museum.example/inlake/ingress/record-json" in page.body.decode()


async def test_a_page_of_the_public_host_is_ours_and_another_is_not(tmp_path: Path) -> None:
    async with embedded(tmp_path, trusted_proxies="127.0.0.0/8") as gateway:
        record = b'{"title": "a"}'
        for origin, status in ("https://inlake.museum.example", 201), ("https://evil.example", 403):
            headers = {**PUBLIC, "host": "127.0.0.1:8000", "origin": origin}
            answer = await gateway.post("/ingress/record-json?schema=note", record, headers=headers)
            assert answer.status == status, answer.body
