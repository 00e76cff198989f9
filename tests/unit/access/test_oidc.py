"""Tokens of an OpenID Connect issuer: which are taken, which are not, and what an issuer that fails costs."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator

import httpx2
import pytest
from joserfc.jwk import ECKey, RSAKey

from inlake.access import oidc
from inlake.access.oidc import Claims, Identity, Oidc
from inlake.errors import IssuerUnavailable, Unauthorized
from tests.issuer import AUDIENCE, Issuer, issuer


@pytest.fixture(scope="module")
def made() -> Iterator[Issuer]:
    with issuer() as found:
        yield found


@pytest.fixture
async def tokens(made: Issuer) -> AsyncIterator[Oidc]:
    made.status, made.says_it_is, made.others = 200, made.url, []
    found = Oidc(Claims(made.url, AUDIENCE), httpx2.AsyncClient())
    yield found
    await found.close()


def hmac_signed(made: Issuer, claims: object) -> str:
    """A token signed with HS256 whose secret is the public key, which everybody has."""
    text = unsigned({"alg": "HS256", "kid": "rsa"}, claims)
    key = made.keys["rsa"]
    assert isinstance(key, RSAKey)
    digest = hmac.digest(key.as_pem(private=False), text[:-1].encode(), "sha256")
    return text + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def unsigned(header: object, claims: object, signature: str = "") -> str:
    parts = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims))
    return ".".join([*parts, signature])


@pytest.mark.parametrize(
    ("kid", "alg"), [("rsa", "RS256"), ("rsa", "RS512"), ("rsa", "PS256"), ("ec", "ES256"), ("okp", "Ed25519")]
)
async def test_a_token_says_who_sends_and_which_groups_have_them(
    made: Issuer, tokens: Oidc, kid: str, alg: str
) -> None:
    found = await tokens.identity(made.token(kid, alg, groups=["curators", "staff"]))
    assert found == Identity("ann", frozenset({"curators", "staff"}))


@pytest.mark.parametrize(("groups", "read"), [("a b", {"a", "b"}), ([], set()), (None, set())])
async def test_groups_are_a_list_or_a_text(made: Issuer, tokens: Oidc, groups: object, read: set[str]) -> None:
    assert (await tokens.identity(made.token(groups=groups))).groups == read


async def test_an_audience_may_be_one_of_several(made: Issuer, tokens: Oidc) -> None:
    assert (await tokens.identity(made.token(aud=["other", AUDIENCE]))).subject == "ann"


@pytest.mark.parametrize("seconds", [-59, 59])
async def test_clocks_may_differ_by_a_minute(made: Issuer, tokens: Oidc, seconds: int) -> None:
    now = int(time.time())
    assert (
        await tokens.identity(made.token(exp=now + min(seconds, 0) + 3, nbf=now + max(seconds, 0) - 3))
    ).subject == "ann"


WRONG: dict[str, Callable[[Issuer], str]] = {
    "of another issuer": lambda i: i.token(iss="https://evil.example"),
    "without an issuer": lambda i: i.token(iss=None),
    "for another audience": lambda i: i.token(aud="other"),
    "for nobody": lambda i: i.token(aud=None),
    "for an audience that is a number": lambda i: i.token(aud=7),
    "expired": lambda i: i.token(exp=int(time.time()) - 61),
    "that never expires": lambda i: i.token(exp=None),
    "that expires with a word": lambda i: i.token(exp="tomorrow"),
    "not yet valid": lambda i: i.token(nbf=int(time.time()) + 70),
    "issued in the future": lambda i: i.token(iat=int(time.time()) + 70),
    "of nobody": lambda i: i.token(sub=None),
    "of a number": lambda i: i.token(sub=7),
    "of an empty name": lambda i: i.token(sub=""),
    "of a name with a newline": lambda i: i.token(sub="a\nb"),
    "of a name without end": lambda i: i.token(sub="a" * 256),
    "with groups that are numbers": lambda i: i.token(groups=[1]),
    "with groups that are an object": lambda i: i.token(groups={"a": 1}),
    "signed by another": lambda i: i.token(key=RSAKey.generate_key(2048)),
    "of a key that is not there": lambda i: i.token("gone", key=i.keys["rsa"]),
    "without a key id, where there are several": lambda i: i.token("", key=i.keys["rsa"]),
    "of a key of another type": lambda i: i.token("rsa", "ES256", key=ECKey.generate_key("P-256")),
    "not signed": lambda i: unsigned({"alg": "none", "kid": "rsa"}, {"iss": i.url, "aud": AUDIENCE, "sub": "ann"}),
    "not signed, in another case": lambda i: unsigned({"alg": "nOnE"}, {"iss": i.url}),
    "signed with the public key as a secret": lambda i: hmac_signed(i, {"iss": i.url, "aud": AUDIENCE, "sub": "ann", "exp": 9_999_999_999}),
    "whose key id is a number": lambda _: unsigned({"alg": "RS256", "kid": 7}, {}, "AAAA"),
    "whose signature is cut": lambda i: i.token()[:-9],
    "whose claims were changed": lambda i: ".".join([*i.token().split(".")[:1], i.token(sub="root").split(".")[1], i.token().split(".")[2]]),
    "with a critical header that nobody knows": lambda _: unsigned({"alg": "RS256", "kid": "rsa", "crit": ["x"]}, {}, "AAAA"),
    "whose header is a list": lambda _: unsigned(["RS256"], {}, "AAAA"),
    "whose header is nested": lambda _: "ey" + base64.urlsafe_b64encode(b"[" * 9_000).decode() + ".e30.AAAA",
    "that is not Base64": lambda _: "eyé.e30.AAAA",
    "of 100 KB": lambda i: i.token(note="x" * 100_000),
    "empty": lambda _: "..",
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
async def test_a_token_is_refused(made: Issuer, tokens: Oidc, wrong: Callable[[Issuer], str]) -> None:
    with pytest.raises(Unauthorized) as refused:
        await tokens.identity(wrong(made))
    assert refused.value.detail.endswith(".")
    assert refused.value.detail.isprintable()


async def test_a_token_that_was_verified_ends_in_time(
    made: Issuer, tokens: Oidc, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = made.token(exp=int(time.time()) + 5)
    await tokens.identity(token)
    late = time.time() + 5 + oidc.CLOCK_SKEW + 1
    monkeypatch.setattr(time, "time", lambda: late)
    with pytest.raises(Unauthorized, match="expired"):
        await tokens.identity(token)


async def test_keys_that_are_new_are_fetched_and_made_up_ones_do_not_load_the_issuer(
    made: Issuer, tokens: Oidc
) -> None:
    await tokens.identity(made.token())
    before = made.asked
    for n in range(50):
        with pytest.raises(Unauthorized):
            await tokens.identity(made.token(f"made-up-{n}", key=made.keys["rsa"]))
    assert made.asked == before, "within the pause"
    made.add("new", ECKey.generate_key("P-384"))
    tokens._tried -= oidc.PAUSE_SECONDS + 1
    assert (await tokens.identity(made.token("new", "ES384"))).subject == "ann"
    assert made.asked == before + 1
    del made.keys["new"]


async def test_an_issuer_that_fails_lets_in_whom_its_keys_let_in_before(made: Issuer, tokens: Oidc) -> None:
    await tokens.identity(made.token())
    made.status = 500
    tokens._fetched -= oidc.FRESH_SECONDS + 1
    tokens._tried -= oidc.FRESH_SECONDS + 1
    assert (await tokens.identity(made.token(note="another"))).subject == "ann"
    tokens._fetched -= oidc.STALE_SECONDS
    tokens._tried -= oidc.STALE_SECONDS
    with pytest.raises(IssuerUnavailable, match="gives no keys"):
        await tokens.identity(made.token(note="third"))
    made.status = 200
    tokens._tried -= oidc.PAUSE_SECONDS + 1
    assert (await tokens.identity(made.token(note="fourth"))).subject == "ann"


async def test_an_issuer_that_has_no_keys_is_asked_once_in_ten_seconds(made: Issuer, tokens: Oidc) -> None:
    made.says_it_is = "https://evil.example"
    before = made.documents
    for n in range(20):
        with pytest.raises(IssuerUnavailable):
            await tokens.identity(made.token(note=str(n)))
        with pytest.raises(IssuerUnavailable):
            await tokens.endpoint("token_endpoint")
    assert made.documents == before + 1
    tokens._tried -= oidc.PAUSE_SECONDS + 1
    made.says_it_is = made.url
    together = [tokens.identity(made.token(note=f"together {n}")) for n in range(5)]
    assert {found.subject for found in await asyncio.gather(*together)} == {"ann"}
    assert made.documents == before + 3


@pytest.mark.parametrize("says", ["https://evil.example", ""])
async def test_a_document_of_another_issuer_is_not_believed(made: Issuer, tokens: Oidc, says: str) -> None:
    made.says_it_is = says
    with pytest.raises(IssuerUnavailable):
        await tokens.identity(made.token())


async def test_an_issuer_that_is_not_there_is_a_503() -> None:
    url = "http://127.0.0.1:1"
    tokens = Oidc(Claims(url, AUDIENCE), httpx2.AsyncClient())
    with pytest.raises(IssuerUnavailable):
        await tokens.identity(unsigned({"alg": "RS256", "kid": "a"}, {}, "AAAA"))
    await tokens.close()


async def test_an_issuer_that_answers_byte_by_byte_is_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oidc, "FETCH_SECONDS", 0.3)

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            while not left.is_set():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)

    left = asyncio.Event()
    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        tokens = Oidc(Claims(url, AUDIENCE), httpx2.AsyncClient())
        with pytest.raises(IssuerUnavailable):
            await tokens.identity(unsigned({"alg": "RS256", "kid": "a"}, {}, "AAAA"))
        await tokens.close()
        left.set()
        await asyncio.sleep(0.1)


async def test_a_set_of_a_thousand_keys_and_what_is_not_understood_in_it(made: Issuer, tokens: Oidc) -> None:
    good = made.keys["ec"].as_dict(private=False)
    made.others = [{**good, "kid": f"old-{n}", "use": "sig"} for n in range(1_000)]
    made.others += [
        {"kty": "RSA", "kid": "broken", "n": "!", "e": "AQAB"},
        {"kty": "oct", "kid": "secret", "k": "AAAA"},
        7,
    ]
    began = time.monotonic()
    assert (await tokens.identity(made.token())).subject == "ann"
    assert time.monotonic() - began < 2
    for kid in ("broken", "secret"):
        with pytest.raises(Unauthorized):
            await tokens.identity(made.token(kid, key=made.keys["rsa"]))
