"""Tokens of an OAuth server and of a file, and one sentence for each that cannot be had."""

from __future__ import annotations

import asyncio
import base64
import time
from pathlib import Path

import pytest

from inlake.bus.kafka.oauth.oidc import ClientCredentials, TokenFile, expiry
from inlake.bus.kafka.oauth.tokens import Token, TokenError
from tests.oauth_server import signed, token_endpoint


async def got(url: str, scope: str = "") -> Token:
    return await asyncio.to_thread(ClientCredentials(url, "gateway", "hidden", scope))


@pytest.mark.parametrize("scope", ["", "kafka write"])
async def test_the_gateway_asks_with_its_id_its_secret_and_its_scope(scope: str) -> None:
    async with token_endpoint(lambda: "opaque") as server:
        token = await got(server.url, scope)
    assert token.value == "opaque"
    assert token.expires == pytest.approx(time.time() + 600, abs=5)
    [asked] = server.asked
    assert b"authorization: basic " + base64.b64encode(b"gateway:hidden").lower() in asked.lower()
    assert asked.endswith(b"grant_type=client_credentials" + (b"&scope=kafka+write" if scope else b""))


async def test_without_a_time_in_the_answer_that_in_the_token_counts() -> None:
    async with token_endpoint(lambda: signed(300), seconds=None) as server:
        assert (await got(server.url)).expires == pytest.approx(time.time() + 300, abs=5)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        ("401 Unauthorized", b'{"error": "invalid_client"}', "it answers 401 invalid_client"),
        ("502 Bad Gateway", b"<html>", "it answers 502"),
        ("302 Found", b"", "it answers 302"),
        ("403 Forbidden", b'{"error": "\xe9"}', "it answers 403"),
        ("200 OK", b'{"access_token": "\xe9"}', "its answer has none"),
        ("200 OK", b"<html>", "its answer has none"),
        ("200 OK", b'{"access_token": 5}', "its answer has none"),
    ],
)
async def test_an_answer_without_a_token_is_told_without_the_secret(status: str, body: bytes, said: str) -> None:
    async with token_endpoint(str, status=status, body=body) as server:
        with pytest.raises(TokenError) as caught:
            await got(server.url)
    assert str(caught.value) == f"{server.url} gives no token: {said}"
    assert "hidden" not in repr(ClientCredentials(server.url, "gateway", "hidden"))


async def test_an_address_where_nobody_is_says_so() -> None:
    with pytest.raises(TokenError, match=r"127\.0\.0\.1:1/token gives no token: .*refused"):
        await got("http://127.0.0.1:1/token")


async def test_certificates_that_are_not_there_are_named() -> None:
    with pytest.raises(TokenError, match="No such file"):
        ClientCredentials("https://127.0.0.1:1", "a", "b", ca="/nowhere/ca.pem")()


def test_a_file_is_read_each_time_and_its_token_says_how_long_it_is_good(tmp_path: Path) -> None:
    source = TokenFile(tmp_path / "token")
    for seconds in (100, 200):
        source.path.write_text(signed(seconds) + "\n")
        token = source()
        assert token.value == source.path.read_text().strip()
        assert token.expires == pytest.approx(time.time() + seconds, abs=5)


@pytest.mark.parametrize(("content", "said"), [(None, "No such file"), (b"", "it is empty"), (b"\xff", "no text")])
def test_a_file_without_a_token_says_so(content: bytes | None, said: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(TokenError, match=said):
        TokenFile(tmp_path / "token")()


@pytest.mark.parametrize("token", ["opaque", "a.b", "a.!!!.c", "a.e30.c", "a.bnVsbA.c", ""])
def test_a_token_that_does_not_say_how_long_it_is_good_is_got_anew_soon(token: str) -> None:
    assert expiry(token) == pytest.approx(time.time() + 60, abs=5)
