"""Signing in to the console at an OpenID Connect issuer: who comes in, who does not, and how long for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from inlake.settings import SettingsError
from inlake.web.console import signing
from inlake.web.request import session
from tests.api.test_console import Browser
from tests.gateways import Answer, Gateway, embedded
from tests.issuer import AUDIENCE, CLIENT_ID, CLIENT_SECRET, Issuer, issuer

RIGHTS = """
[[rule]]
who = ["group:curators"]
may = ["ingest", "read", "administer"]
"""


@pytest.fixture(scope="module")
def made() -> Iterator[Issuer]:
    with issuer() as found:
        yield found


@pytest.fixture(autouse=True)
def as_it_was(made: Issuer) -> None:
    made.person, made.status, made.says_it_is = {}, 200, made.url


@asynccontextmanager
async def gateway_of(made: Issuer, folder: Path, **settings: object) -> AsyncIterator[Gateway]:
    given = {
        "oidc_issuer": made.url,
        "oidc_audience": AUDIENCE,
        "oidc_client_id": CLIENT_ID,
        "oidc_client_secret": CLIENT_SECRET,
        **settings,
    }
    async with embedded(folder, **given) as gateway:
        yield gateway


class Person(Browser):
    """Somebody whose browser follows the gateway to the issuer and back."""

    async def get(self, path: str) -> Answer:
        return await self._ask(path, b"", None, "GET")

    async def sign_in(self, made: Issuer, **changed: str) -> Answer:
        begun = await self.get("/console/sign-in/begin")
        assert begun.status == 303, begun.body
        back = urlsplit(await asyncio.to_thread(made.authorize, begun.headers["location"]))
        query = {**dict(parse_qsl(back.query)), **changed}
        return await self.get(f"{back.path}?{urlencode(query)}")


async def test_who_comes_back_from_the_issuer_is_signed_in_until_signing_out(made: Issuer, tmp_path: Path) -> None:
    async with gateway_of(made, tmp_path) as gateway:
        person = Person(gateway)
        page = (await person.get("/console/sign-in")).body.decode()
        assert f"Sign in at {urlsplit(made.url).netloc}" in page
        assert "API key" not in page
        answer = await person.sign_in(made)
        assert answer.status == 200
        assert "You are oidc:ann." in answer.body.decode()
        assert '<meta http-equiv="refresh" content="0;url=/">' in answer.body.decode()
        assert "oidc:ann" in (await person.get("/")).body.decode()
        assert (await person.submit("/console/sign-out")).status == 303
        assert (await person.get("/")).headers["location"] == "/console/sign-in"


async def test_groups_of_the_token_have_their_rights(made: Issuer, tmp_path: Path) -> None:
    rights = tmp_path / "rights.toml"
    rights.write_text(RIGHTS)
    async with gateway_of(made, tmp_path, rights=rights) as gateway:
        for groups, status in ((["curators", "staff"], 200), (["staff"], 403)):
            made.person = {"groups": groups, "sub": "bea"}
            person = Person(gateway)
            await person.sign_in(made)
            assert (await person.get("/console/schemas")).status == status


@pytest.mark.parametrize(
    ("person", "changed", "said"),
    [
        ({"nonce": "another"}, {}, "another sign-in"),
        ({"aud": "somebody else"}, {}, "not taken"),
        ({"aud": [CLIENT_ID, "x"], "azp": "x"}, {}, "another client"),
        ({"iss": "https://elsewhere.example"}, {}, "not taken"),
        ({"exp": 1}, {}, "not taken"),
        ({"sub": None}, {}, "no claim sub"),
        ({"groups": [f"group {n} of very many" for n in range(200)]}, {}, "more groups"),
        ({}, {"state": "x" * 43}, "did not ask to sign in"),
        ({}, {"code": "made up"}, "invalid_grant"),
        ({}, {"code": ""}, "gave no code"),
        ({}, {"error": "<script>access_denied"}, "&lt;script&gt;access_denied"),
        ({}, {"iss": "https://elsewhere.example"}, "Another issuer"),
    ],
)
async def test_who_is_not_let_in_is_told_why(
    made: Issuer, tmp_path: Path, person: dict[str, Any], changed: dict[str, str], said: str
) -> None:
    made.person = person
    async with gateway_of(made, tmp_path) as gateway:
        somebody = Person(gateway)
        answer = await somebody.sign_in(made, **changed)
        assert (answer.status, said in answer.body.decode()) == (401, True), answer.body.decode()
        assert session.SESSION not in somebody.cookies


async def test_an_answer_to_another_browser_signs_nobody_in(made: Issuer, tmp_path: Path) -> None:
    async with gateway_of(made, tmp_path) as gateway:
        begun = await Person(gateway).get("/console/sign-in/begin")
        back = urlsplit(made.authorize(begun.headers["location"]))
        victim = Person(gateway)
        assert (await victim.get(f"{back.path}?{back.query}")).status == 401
        await victim.get("/console/sign-in/begin")  # nor with a question of its own
        assert (await victim.get(f"{back.path}?{back.query}")).status == 401


async def test_a_session_is_signed_with_the_secret_and_ends(
    made: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway_of(made, tmp_path) as gateway:
        person = Person(gateway)
        await person.sign_in(made)
        good = person.cookies[session.SESSION]
    signature, end, _ = good.split(".")
    wrong = [
        f"{signature}.{end}.{session.name_of('bea', [])}",
        f"{signature}.{end}.oidc:AAAA",
        f"{signature}.{end}.oidc:",
    ]
    async with gateway_of(made, tmp_path) as gateway:  # another process
        for cookie, status in [(good, 200), *((each, 303) for each in wrong)]:
            person = Person(gateway)
            person.cookies[session.SESSION] = cookie
            assert (await person.get("/console/schemas")).status == status
        monkeypatch.setattr(session, "SESSION_SECONDS", -1)
        person = Person(gateway)
        assert (await person.sign_in(made)).status == 200
        assert (await person.get("/console/schemas")).status == 303
        monkeypatch.undo()
    async with gateway_of(made, tmp_path, oidc_client_secret="another secret of it") as gateway:
        person = Person(gateway)
        person.cookies[session.SESSION] = good
        assert (await person.get("/console/schemas")).status == 303


async def test_the_cookie_for_the_way_to_the_issuer_comes_back_with_it_and_no_other_does(
    made: Issuer, tmp_path: Path
) -> None:
    async with gateway_of(made, tmp_path, root_path="/gw", oidc_redirect="https://gw.example/gw/back") as gateway:
        begun = await gateway.post("/console/sign-in/begin", method="GET")
        cookie = begun.headers["set-cookie"]
        assert cookie.startswith(f"{signing.ASKED}=")
        assert "; Path=/gw/console/sign-in; Max-Age=600; HttpOnly; SameSite=Lax" in cookie
        query = dict(parse_qsl(urlsplit(begun.headers["location"]).query))
        assert query["redirect_uri"] == "https://gw.example/gw/back"
        assert query["scope"] == "openid profile"


async def test_an_issuer_that_is_away_is_said_on_the_page(made: Issuer, tmp_path: Path) -> None:
    made.status = 500
    async with gateway_of(made, tmp_path) as gateway:
        answer = await Person(gateway).get("/console/sign-in/begin")
        assert answer.status == 503
        assert made.url in answer.body.decode()


async def test_a_wrong_secret_is_the_operators_fault_and_not_the_persons(made: Issuer, tmp_path: Path) -> None:
    async with gateway_of(made, tmp_path, oidc_client_secret="not the secret at all") as gateway:
        answer = await Person(gateway).sign_in(made)
        assert answer.status == 503
        assert "INLAKE_OIDC_CLIENT_ID" in answer.body.decode()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"oidc_client_secret": ""}, "INLAKE_OIDC_CLIENT_SECRET"),
        ({"oidc_client_secret": "short"}, "16 characters"),
        ({"oidc_issuer": ""}, "INLAKE_OIDC_ISSUER"),
    ],
)
async def test_settings_that_do_not_fit_stop_the_start(
    made: Issuer, tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        async with gateway_of(made, tmp_path, **settings):
            pass


async def test_without_a_client_id_nobody_signs_in_there(made: Issuer, tmp_path: Path) -> None:
    async with gateway_of(made, tmp_path, oidc_client_id="") as gateway:
        person = Person(gateway)
        assert "no way to sign in here" in (await person.get("/console/sign-in")).body.decode()
        for path in ("begin", "return?code=x&state=y"):
            assert (await person.get(f"/console/sign-in/{path}")).status == 404
