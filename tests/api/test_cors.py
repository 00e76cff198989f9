"""Pages of other origins: what their browsers are told, on answers, on errors, and when they ask first."""

from __future__ import annotations

from pathlib import Path

import pytest

from inlake.settings import SettingsError
from tests.gateways import embedded

APP, EVIL = "https://app.example", "https://evil.example"
ONE, RECORD = "/ingress/record-json?schema=note", b'{"title": "a"}'


async def test_a_page_that_may_use_the_gateway_sends_and_reads_answers_and_errors(tmp_path: Path) -> None:
    async with embedded(tmp_path, cors_origins=f"{APP}, http://localhost:3000") as gateway:
        for origin in APP, "http://localhost:3000":
            for body, status in (RECORD, 201), (b"{}", 422):
                answer = await gateway.post(ONE, body, headers={"origin": origin})
                assert answer.status == status
                assert answer.headers["access-control-allow-origin"] == origin
                assert answer.headers["vary"] == "Origin"
                assert "Retry-After" in answer.headers["access-control-expose-headers"]
                assert "access-control-allow-credentials" not in answer.headers
        refused = await gateway.post(ONE, RECORD, headers={"origin": EVIL})
        assert refused.status == 403
        assert "access-control-allow-origin" not in refused.headers
        assert "access-control-allow-origin" not in (await gateway.post(ONE, RECORD)).headers


@pytest.mark.parametrize("path", ["/ingress/record-json?schema=note", "/uploads", "/uploads/x", "/shipments/x/1"])
async def test_a_browser_that_asks_first_is_told_without_a_key(tmp_path: Path, path: str) -> None:
    (tmp_path / "keys").write_text(f"a:{'0' * 64}\n")
    async with embedded(tmp_path, cors_origins=APP, api_keys=tmp_path / "keys") as gateway:
        asked = {
            "origin": APP,
            "access-control-request-method": "PATCH",
            "access-control-request-headers": "authorization,tus-resumable,upload-offset",
        }
        answer = await gateway.post(path, b"", None, method="OPTIONS", headers=asked)
        assert answer.status == 204
        assert answer.headers["access-control-allow-origin"] == APP
        assert "PATCH" in answer.headers["access-control-allow-methods"]
        assert answer.headers["access-control-allow-headers"] == asked["access-control-request-headers"]
        other = await gateway.post(path, b"", None, method="OPTIONS", headers={**asked, "origin": EVIL})
        assert not [name for name in other.headers if name.startswith("access-control")]
        unknown = await gateway.post(ONE, RECORD, headers={"origin": APP})
        assert (unknown.status, unknown.headers["access-control-allow-origin"]) == (401, APP)


async def test_all_origins_may_be_let_in(tmp_path: Path) -> None:
    async with embedded(tmp_path, cors_origins="*") as gateway:
        answer = await gateway.post(ONE, RECORD, headers={"origin": EVIL})
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (201, EVIL)


@pytest.mark.parametrize("origins", ["app.example", "https://app.example/", "ftp://app.example"])
async def test_what_is_no_origin_is_refused_at_the_start(tmp_path: Path, origins: str) -> None:
    with pytest.raises(SettingsError, match="INLAKE_CORS_ORIGINS"):
        async with embedded(tmp_path, cors_origins=origins):
            pass
