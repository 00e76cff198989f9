"""API keys: who sends, and who may not."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import pytest

from inlake.logs import SECONDS
from inlake.settings import SettingsError
from tests.gateways import Gateway, embedded, form

RECORD = b'{"title": "a"}'
PATH = "/ingress/record-json?schema=note"


def keys_file(folder: Path, **keys: str) -> Path:
    lines = [f"{name}:{hashlib.sha256(key.encode()).hexdigest()}" for name, key in keys.items()]
    path = folder / "keys"
    path.write_text("# name:sha256\n\n" + "\n".join(lines) + "\n")
    return path


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def test_without_keys_everybody_is_anonymous(gateway: Gateway) -> None:
    assert (await gateway.post(PATH, RECORD, headers=bearer("anything"))).status == 201
    (event,) = await gateway.events()
    assert dict(event.headers)["inlake_principal"] == b"anonymous"


async def test_a_key_names_its_principal_in_the_event(tmp_path: Path) -> None:
    async with embedded(tmp_path, api_keys=keys_file(tmp_path, museum="s3cret")) as gateway:
        assert (await gateway.post(PATH, RECORD, headers=bearer("s3cret"))).status == 201
        (event,) = await gateway.events()
        assert dict(event.headers)["inlake_principal"] == b"token%3Amuseum"


@pytest.mark.parametrize("headers", [{}, bearer("wrong"), bearer(""), {"authorization": "Basic czNjcmV0"}, bearer("é")])
async def test_without_a_known_key_every_route_but_the_open_ones_is_401(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    async with embedded(tmp_path, api_keys=keys_file(tmp_path, museum="s3cret")) as gateway:
        for method, path in (("POST", PATH), ("GET", "/schemas"), ("GET", "/resources/x"), ("GET", "/nothing")):
            answer = await gateway.post(path, RECORD, method=method, headers=headers)
            assert (answer.status, answer.json()["code"]) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
        for path in ("/health/live", "/health/ready", "/metrics", "/docs", "/docs/errors", "/openapi.json"):
            assert (await gateway.post(path, method="GET", headers=headers)).status == 200
        assert await gateway.events() == []


async def test_an_object_is_its_principal_s_alone(tmp_path: Path) -> None:
    async with embedded(tmp_path, api_keys=keys_file(tmp_path, museum="one", lab="two")) as gateway:
        body, kind = form(("record", RECORD, None, None), ("file", b"bytes", "a.txt", "text/plain"))
        path = "/ingress/record-json-and-binary?schema=note"
        puuid = (await gateway.post(path, body, kind, headers=bearer("one"))).json()["resource"]["puuid"]
        mine = await gateway.post(f"/resources/{puuid}", method="GET", headers=bearer("one"))
        assert (mine.status, mine.body) == (200, b"bytes")
        theirs = await gateway.post(f"/resources/{puuid}", method="GET", headers=bearer("two"))
        assert (theirs.status, theirs.json()["code"]) == (404, "promise_not_found")
        named = f'{{"title": "a", "__resource_path__": "{puuid}"}}'.encode()
        assert (await gateway.post(PATH, named, headers=bearer("two"))).status == 404
        assert (await gateway.post(PATH, named, headers=bearer("one"))).json()["code"] == "promise_used"


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://evil.example", 403), ("null", 403), ("http://127.0.0.1:9999", 403), ("http://127.0.0.1:8000", 201)],
)
async def test_a_page_of_another_origin_may_not_use_an_anonymous_gateway(
    gateway: Gateway, origin: str, status: int
) -> None:
    headers = {"origin": origin, "host": "127.0.0.1:8000"}
    assert (await gateway.post(PATH, RECORD, headers=headers)).status == status
    assert len(await gateway.events()) == (status == 201)


@pytest.mark.parametrize(
    ("host", "status"),
    [("evil.example:8000", 403), ("localhost:8000", 201), ("127.0.0.1", 201), ("[::1]:8000", 201), ("LOCALHOST", 201)],
)
async def test_a_name_that_leads_to_this_machine_may_not_use_a_gateway_for_this_machine(
    gateway: Gateway, tmp_path: Path, host: str, status: int
) -> None:
    headers = {"origin": f"http://{host}", "host": host}
    assert (await gateway.post(PATH, RECORD, headers=headers)).status == status
    async with embedded(tmp_path / "allowed", allow_anonymous="true") as open_to_all:
        assert (await open_to_all.post(PATH, RECORD, headers=headers)).status == 201


async def test_a_page_with_a_key_may(tmp_path: Path) -> None:
    async with embedded(tmp_path, api_keys=keys_file(tmp_path, museum="s3cret")) as gateway:
        headers = {"origin": "https://museum.example", "host": "127.0.0.1:8000", **bearer("s3cret")}
        assert (await gateway.post(PATH, RECORD, headers=headers)).status == 201


async def test_what_a_client_puts_into_a_path_stays_on_its_log_line(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO", "inlake.web")
    await gateway.post("/a\nFAKE line\x1b[31m/0f3c0d3a-4a0e-4d9f-8f43-2a3c7b1de0aa", method="GET")
    await asyncio.sleep(2 * SECONDS)  # lines wait for others
    (line,) = capsys.readouterr().err.splitlines()
    assert "FAKE" in line
    assert line.isprintable()
    assert "4d9f" not in line, "a puuid is logged by its first digits"


@pytest.mark.parametrize("text", ["museum", "museum:abc", "a b:" + "0" * 64, ":" + "0" * 64])
async def test_a_broken_file_of_keys_stops_the_start(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(SettingsError, match=r"INLAKE_API_KEYS.*line 1"):
        async with embedded(tmp_path, api_keys=tmp_path / "keys"):
            pass
    with pytest.raises(SettingsError, match="INLAKE_API_KEYS"):
        async with embedded(tmp_path, api_keys=tmp_path / "absent"):
            pass
